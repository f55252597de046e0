"""The residual block of two 3x3 convolutions."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """relu(norm(conv3x3(relu(norm(conv3x3(x))))) + x), with a 1x1 convolution and a norm on x where the widths differ.

    Args:
        in_channels: of the input.
        out_channels: of the result.
        norm_cfg: normalisation.

    Reference: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 3.3.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm_cfg: dict[str, Any] | None = None) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type='BN')
        self.conv1 = ConvModule(in_channels, out_channels, 3, padding=1, norm_cfg=norm_cfg)
        self.conv2 = ConvModule(out_channels, out_channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=None)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = ConvModule(in_channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)

    def forward(self, features: Tensor) -> Tensor:
        """(N, out_channels, H, W), not negative, of (N, in_channels, H, W)."""
        return F.relu(self.conv2(self.conv1(features)) + self.shortcut(features), inplace=True)
