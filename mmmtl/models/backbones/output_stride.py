"""Finer maps from a trained backbone: dilation in place of the last strides."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from mmmtl.convolutions import LOST_STRIDE


def set_output_stride(layers: Iterable[nn.Module], *, stem_stride: int, output_stride: int) -> None:
    """Let a backbone end at `output_stride`: strides that would pass it become 1, and the kernels after them dilate.

    Every kernel then sees what it saw before, so trained weights keep their meaning: away from the border, every second
    or fourth pixel of the finer map is a pixel of the coarser one. The kernel that loses its stride is not dilated.
    mmseg's argument `dilations` dilates it in MobileNetV2, and leaves kernels after it undilated in MobileNetV2 and in
    the BasicBlocks of ResNet-18 and 34.

    Args:
        layers: The layers after the stem, in order, with their strides at output stride 32. A layer strides at most
            once, on its main path and perhaps on a 1x1 shortcut. Its convolutions are registered in the order in which
            they run. They are changed in place.
        stem_stride: Stride of the maps that enter the first layer.
        output_stride: Stride of the maps that leave the last one.

    Raises:
        ValueError: If no choice of strides ends at `output_stride`.
    """
    stride, dilation = stem_stride, 1
    for layer in layers:
        convolutions = [module for module in layer.modules() if isinstance(module, nn.Conv2d)]
        step = max(conv.stride[0] for conv in convolutions)
        lost = stride * step > output_stride
        if not lost:
            stride *= step
        within = dilation
        for conv in convolutions:
            # A 1x1 kernel stays as it is: dilation would not change its result, but PyTorch computes it slowly then.
            conv.dilation = tuple(within if size > 1 else 1 for size in conv.kernel_size)
            conv.padding = tuple(within * (size // 2) for size in conv.kernel_size)
            if lost and conv.stride[0] > 1:
                conv.stride = (1, 1)
                setattr(conv, LOST_STRIDE, True)
                within = dilation * step
        dilation = within
    if stride != output_stride:
        raise ValueError(f'output_stride={output_stride}: the strides of this backbone allow {stride} at the nearest')
