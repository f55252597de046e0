"""Residual blocks, with a 1x1 convolution and a norm on the shortcut where the widths differ."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .conv_module import PlainConvModule


class BasicBlock(nn.Module):
    """relu(norm(conv3x3(relu(norm(conv3x3(x))))) + shortcut(x)).

    Args:
        shortcut_norm_cfg: norm of the shortcut, if it has one; by default that of the other convolutions.

    Reference: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 3.3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        norm_cfg: dict[str, Any] | None = None,
        shortcut_norm_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type='BN')
        self.conv1 = PlainConvModule(in_channels, out_channels, 3, padding=1, norm_cfg=norm_cfg)
        self.conv2 = PlainConvModule(out_channels, out_channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=None)
        self.shortcut = _shortcut(in_channels, out_channels, shortcut_norm_cfg or norm_cfg)

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, out_channels, H, W), not negative, from (N, in_channels, H, W)."""
        return F.relu(self.conv2(self.conv1(features)) + self.shortcut(features), inplace=True)


class Bottleneck(nn.Module):
    """A 1x1 convolution to a quarter of `out_channels`, 3x3 and 1x1, and the shortcut beside them.

    Reference: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, figure 5, right.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm_cfg: dict[str, Any] | None = None) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type='BN')
        hidden = max(out_channels // 4, 1)
        self.layers = nn.Sequential(
            PlainConvModule(in_channels, hidden, 1, norm_cfg=norm_cfg),
            PlainConvModule(hidden, hidden, 3, padding=1, norm_cfg=norm_cfg),
            PlainConvModule(hidden, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None),
        )
        self.shortcut = _shortcut(in_channels, out_channels, norm_cfg)

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, out_channels, H, W), not negative, from (N, in_channels, H, W)."""
        return F.relu(self.layers(features) + self.shortcut(features))


def _shortcut(in_channels: int, out_channels: int, norm_cfg: dict[str, Any]) -> nn.Module:
    same = in_channels == out_channels
    return nn.Identity() if same else PlainConvModule(in_channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
