"""Feature aggregation: the features of all scales of a task to its prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn


class Aggregation(BaseModule):
    """A 1x1 convolution of the scales, upsampled to the finest and concatenated.

    It ends the decoders of SCA-MTL and MTI-Net, and with a hidden layer it is HRNet's own.

    A 1x1 convolution and bilinear upsampling can change places without changing the result. By default the scales are
    convolved first, at their own sizes: of 22.4 GMAC that the code's hidden layer costs for a task at 480 x 640, 16
    are saved.

    Args:
        channels: of each scale, finest first.
        out_channels: of the prediction.
        hidden_channels: width of a hidden layer (1x1 convolution, norm, ReLU) before the prediction. None has none, as
            equation 5; 'input' is as wide as all scales together, as in the code (1080).
        upsample_first: compute in the order of equation 5, and of the code.
        norm_cfg: normalisation.

    Reference: SCA-MTL, section 2.4, equation 5.
    """

    def __init__(
        self,
        channels: Sequence[int],
        out_channels: int,
        *,
        hidden_channels: int | Literal['input'] | None = None,
        upsample_first: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.channels = list(channels)
        self.upsample_first = upsample_first
        width = sum(channels)
        hidden = width if hidden_channels == 'input' else hidden_channels
        self.conv = nn.Conv2d(width, out_channels if hidden is None else hidden, 1)
        self.predict: nn.Module = nn.Identity()
        if hidden is not None:
            norm = build_norm_layer(norm_cfg or dict(type='BN'), hidden)[1]
            self.predict = nn.Sequential(norm, nn.ReLU(inplace=True), nn.Conv2d(hidden, out_channels, 1))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Logits (N, out_channels, h, w) of maps (N, channels[k], h_k, w_k), in the size of the first."""
        size = features[0].shape[-2:]
        if self.upsample_first:
            return self.predict(self.conv(torch.cat([resize(f, size) for f in features], dim=1)))
        weights = self.conv.weight.split(self.channels, dim=1)
        # The bias, which upsampling does not change, once.
        total = F.conv2d(features[0], weights[0], self.conv.bias)
        for map_, weight in zip(features[1:], weights[1:], strict=True):
            total += resize(F.conv2d(map_, weight), size)
        return self.predict(total)


def resize(features: Tensor, size: Sequence[int]) -> Tensor:
    """(N, C, h, w) to the given (h, w), bilinear."""
    return features if features.shape[-2:] == tuple(size) else F.interpolate(features, tuple(size), mode='bilinear')
