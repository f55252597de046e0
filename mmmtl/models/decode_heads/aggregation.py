"""Feature aggregation: the features of all scales of a task to its prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.models.layers import resize


class Aggregation(BaseModule):
    """A 1x1 convolution of all scales, upsampled to the finest and concatenated.

    It ends the decoders of SCA-MTL and MTI-Net. With a hidden layer it is HRNet's own decoder.

    A 1x1 convolution and bilinear upsampling may change places without changing the result. By default each scale is
    therefore convolved at its own size, which saves 16 of the 22.4 GMAC that the hidden layer of SCA-MTL's released
    code costs for a task at 480 x 640.

    Args:
        channels: channels of each scale, finest first.
        hidden_channels: width of a hidden layer (1x1 convolution, norm, ReLU) before the prediction. None omits it
            (equation 5); 'input' makes it as wide as the concatenated scales (1080 in the released code).
        upsample_first: compute in the order of equation 5 and of the released code, at a higher cost.

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
        """Return logits (N, out_channels, h, w) in the size of the first of the maps (N, channels[k], h_k, w_k)."""
        size = features[0].shape[-2:]
        if self.upsample_first:
            total: Tensor = self.conv(torch.cat([resize(f, size) for f in features], dim=1))
        else:
            weights = torch.split(self.conv.weight, self.channels, dim=1)
            # The bias is added once; upsampling does not change it.
            total = F.conv2d(features[0], weights[0], self.conv.bias)
            for map_, weight in zip(features[1:], weights[1:], strict=True):
                total += resize(F.conv2d(map_, weight), size)
        logits: Tensor = self.predict(total)
        return logits
