"""CTAM: what the features of a task find in those of the other tasks of the same scale."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.models.layers import BasicBlock, CrossAttention, ModuleMap
from mmmtl.registry import MODELS
from mmmtl.tasks.order import TaskOrder

Fusion = Literal['conv1x1', 'basic_block']


@MODELS.register_module()
class CTAM(BaseModule):
    """Cross task attention module: F_i + conv(concat over j != i of [F_i, CA(F_i, F_j)]).

    Each ordered pair of tasks has a cross-attention of its own. Sources are concatenated in the order that belongs to
    the weights (`TaskOrder`). With one task there is nothing to look at, and its features pass.

    Args:
        tasks: their names.
        channels: C of the features of each task.
        fusion: 'conv1x1' is the paper's 1x1 convolution, 'basic_block' the code's residual block of 3x3 convolutions.
        shared_fusion: one for all targets, as in the code; the paper does not say. With three tasks or more, targets
            then see their sources in different places.
        query_convs: of the cross-attentions: 1 in the paper, 2 in the code.
        norm_cfg: normalisation.
        init_cfg: by default Xavier's for the convolutions, as in the code.

    Raises:
        ValueError: an unknown `fusion`.

    Reference: SCA-MTL, section 2.2, equation 3.
    """

    def __init__(
        self,
        *,
        tasks: Collection[str],
        channels: int,
        fusion: Fusion = 'conv1x1',
        shared_fusion: bool = False,
        query_convs: int = 1,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Xavier', layer='Conv2d', distribution='uniform'))
        if fusion not in get_args(Fusion):
            raise ValueError(f'fusion must be one of {get_args(Fusion)}, not {fusion!r}')
        self.order = TaskOrder(tasks)
        targets = tasks if len(tasks) > 1 else ()
        self.attend = ModuleMap(
            {
                t: ModuleMap(
                    {s: CrossAttention(channels, query_convs=query_convs, norm_cfg=norm_cfg) for s in tasks if s != t}
                )
                for t in targets
            }
        )
        width = 2 * channels * (len(tasks) - 1)

        def fuse() -> nn.Module:
            if fusion == 'basic_block':
                return BasicBlock(width, channels, norm_cfg=norm_cfg)
            return nn.Conv2d(width, channels, 1)

        self.shared_fuse = fuse() if shared_fusion and targets else None
        self.fuse = nn.ModuleDict({target: fuse() for target in (() if shared_fusion else targets)})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return {task: (N, C, h, w)} of {task: (N, C, h, w)}."""
        augmented = dict(features)
        for name, pairs in self.attend.items():
            target = features[name]
            found = [pairs[source](target, [features[source]])[0] for source in self.order if source != name]
            fuse = self.fuse[name] if self.shared_fuse is None else self.shared_fuse
            augmented[name] = target + fuse(torch.cat([part for ca in found for part in (target, ca)], dim=1))
        return augmented
