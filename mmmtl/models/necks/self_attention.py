"""Self-attention of SCA-MTL beside the convolutional features of every scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.models.layers import Padding, SwinStage
from mmmtl.registry import MODELS
from mmmtl.tasks import Task


@MODELS.register_module()
class SelfAttentionNeck(BaseModule):
    """Swin attention of each map, followed by the map itself: twice the channels, shared by all tasks.

    "To preserve the local details of the convolutional feature maps while capturing long range dependencies, we employ
    the attention module of swin transformer [...] applied twice on each scale": once in windows, once in shifted ones.
    The paper gives neither heads nor window; 6 and 7 are from the released code.

    Args:
        depth: how often attention is applied.
        num_heads: number of heads of each attention; must divide every width.
        window: side of a window.
        padding: padding of maps that are not a multiple of the window: 'mask' excludes it from attention, 'zero'
            includes it (released code, Swin for dense prediction). The paper does not say.
        drop_path: probability that a sample skips the last attention in training, rising linearly from 0 at the first.
            The paper has none, the released code 0.2.

    Reference: SCA-MTL, section 2.1 ('ATT' in figure 1).
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        depth: int = 2,
        num_heads: int = 6,
        window: int = 7,
        padding: Padding = 'mask',
        drop_path: float = 0.0,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.stages = nn.ModuleList(
            SwinStage(width, depth=depth, num_heads=num_heads, window=window, padding=padding, drop_path=drop_path)
            for width in in_channels
        )
        self.feature_channels = tuple(2 * width for width in in_channels)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return maps (N, 2 * C, h, w), attention first, of maps (N, C, h, w)."""
        if len(features) != len(self.stages):
            raise ValueError(f'{len(features)} maps for a neck that was built for {len(self.stages)}')
        return tuple(torch.cat([stage(f), f], dim=1) for stage, f in zip(self.stages, features, strict=True))
