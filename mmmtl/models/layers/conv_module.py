"""Convolution, norm and activation, with PyTorch's initial weights."""

from __future__ import annotations

from mmcv.cnn import ConvModule


class PlainConvModule(ConvModule):
    """mmcv's `ConvModule` whose convolution keeps PyTorch's initial weights.

    Their standard deviation is 1 / sqrt(3 * fan_in). Most layers of the released codes of SCA-MTL, MTI-Net, PAD-Net and
    ATRC start like this. mmcv would start them with sqrt(2 / fan_out), which is 2.4 times as much in a 3x3 convolution
    that keeps the width.
    """

    def init_weights(self) -> None:
        """Keep the weights; mmcv calls this when the module is built."""
