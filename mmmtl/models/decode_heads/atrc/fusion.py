"""The fusion of a task's features with its contexts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmmtl.models.layers import PlainConvModule


class ContextFusion(nn.Module):
    """relu(norm(conv([F, norm(conv(contexts))]))) with 1x1 convolutions, then dropout of whole channels.

    The norm of the contexts starts with weight zero, so they have no effect at first. Without contexts, F passes
    through the outer convolution alone.

    Args:
        channels: C of the task's features F and of the result.
        context_channels: D of each context.
        dropout: probability of dropping a channel.

    Reference: ATRC, figure 2; the layers are those of its released code.
    """

    def __init__(
        self,
        channels: int,
        context_channels: int,
        *,
        num_contexts: int,
        dropout: float = 0.05,
        norm_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type='BN')
        self.project = None
        if num_contexts:
            self.project = PlainConvModule(
                num_contexts * context_channels, channels, 1, norm_cfg=norm_cfg, act_cfg=None
            )
            nn.init.zeros_(self.project.norm.weight)
        self.merge = PlainConvModule((2 if num_contexts else 1) * channels, channels, 1, norm_cfg=norm_cfg)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Tensor, contexts: Sequence[Tensor]) -> Tensor:
        """Return (N, C, H, W) from F (N, C, H, W) and contexts (N, D, H, W)."""
        if self.project is not None:
            features = torch.cat([features, self.project(torch.cat([*contexts], dim=1))], dim=1)
        fused: Tensor = self.dropout(self.merge(features))
        return fused
