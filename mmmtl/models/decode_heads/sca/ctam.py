"""CTAM: attention of a task's features to those of the other tasks at the same scale."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.models.layers import BasicBlock, CrossAttention, ModuleMap
from mmmtl.registry import MODELS
from mmmtl.tasks.order import Concatenating, TaskOrder

Fusion = Literal['conv1x1', 'basic_block']


@MODELS.register_module()
class CTAM(Concatenating, BaseModule):
    """Cross task attention module: F_i + conv(concat over j != i of [F_i, CA(F_i, F_j)]).

    Each ordered pair of tasks has its own cross-attention. Sources are concatenated in the order that belongs to the
    weights (`TaskOrder`). With one task its features pass unchanged.

    Args:
        channels: C of the features of each task.
        targets: the tasks that receive from the others, by default all; the rest pass unchanged.
        fusion: 'conv1x1', the paper's 1x1 convolution, or 'basic_block', the released code's residual block (3x3).
        shared_fusion: one fusion for all targets, as in the released code; the paper does not say. With three tasks or
            more, targets then see their sources in different places.
        query_convs: number of query convolutions, and of key convolutions, in a cross-attention: 1 in the paper, 2 in
            the released code.
        fusion_norm_cfg: norm behind the 3x3 convolutions of 'basic_block'; by default `norm_cfg`. The released code
            has batch norm with momentum 0.01 there.

    Reference: SCA-MTL, section 2.2, equation 3.
    """

    def __init__(
        self,
        *,
        tasks: Collection[str],
        channels: int,
        targets: Collection[str] | None = None,
        fusion: Fusion = 'conv1x1',
        shared_fusion: bool = False,
        query_convs: int = 1,
        fusion_norm_cfg: dict[str, Any] | None = None,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if fusion not in get_args(Fusion):
            raise ValueError(f'fusion must be one of {get_args(Fusion)}, not {fusion!r}')
        self.order = TaskOrder(tasks)
        targets = () if len(tasks) == 1 else tasks if targets is None else targets
        width = 2 * channels * (len(tasks) - 1)

        def attend() -> CrossAttention:
            return CrossAttention(channels, query_convs=query_convs, norm_cfg=norm_cfg)

        def fuse() -> nn.Module:
            if fusion == 'basic_block':
                return BasicBlock(width, channels, norm_cfg=fusion_norm_cfg or norm_cfg, shortcut_norm_cfg=norm_cfg)
            return nn.Conv2d(width, channels, 1)

        self.attend = ModuleMap({t: ModuleMap({s: attend() for s in tasks if s != t}) for t in targets})
        self.shared_fuse = fuse() if shared_fusion and targets else None
        self.fuse = nn.ModuleDict({target: fuse() for target in (() if shared_fusion else targets)})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return {task: (N, C, h, w)}, shaped like the input."""
        augmented = dict(features)
        for name, pairs in self.attend.items():
            target = features[name]
            found = [pairs[source](target, [features[source]])[0] for source in self.order if source != name]
            fuse = self.fuse[name] if self.shared_fuse is None else self.shared_fuse
            augmented[name] = target + fuse(torch.cat([part for ca in found for part in (target, ca)], dim=1))
        return augmented
