"""The residual block of a 3x3 convolution between two 1x1 convolutions."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """A 1x1 convolution to a quarter of the width, 3x3, 1x1, and a 1x1 convolution beside them where the widths differ.

    Args:
        in_channels: of the input.
        out_channels: of the result.
        norm_cfg: normalisation.

    Reference: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, figure 5, right.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm_cfg: dict[str, Any] | None = None) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type='BN')
        hidden = max(out_channels // 4, 1)
        self.layers = nn.Sequential(
            ConvModule(in_channels, hidden, 1, norm_cfg=norm_cfg),
            ConvModule(hidden, hidden, 3, padding=1, norm_cfg=norm_cfg),
            ConvModule(hidden, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None),
        )
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = ConvModule(in_channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)

    def forward(self, features: Tensor) -> Tensor:
        """(N, out_channels, H, W), not negative, of (N, in_channels, H, W)."""
        return F.relu(self.layers(features) + self.shortcut(features))
