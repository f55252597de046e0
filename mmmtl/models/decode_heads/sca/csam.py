"""CSAM: attention of a task's features to its own features at coarser scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmmtl.models.layers import CrossAttention, ModuleRow, PlainConvModule
from mmmtl.registry import MODELS

Source = Literal['refined', 'ctam']


@MODELS.register_module()
class CSAM(BaseModule):
    """Cross scale attention module of one task: concat over coarser scales l of [F_k, CA(F_k, conv(F_l))].

    The coarsest features pass unchanged. A convolution (1x1 and norm, as in the released code) brings each source to
    the target's width. Sources are not upsampled: attention takes maps of any size, and so upsamples them "with the
    guidance of the fine features". All sources of a target share one cross-attention, as in the released code; the
    paper does not say.

    Args:
        channels: channels of the features of each scale, finest first.
        source: 'refined' attends to the results of this module at coarser scales, coarsest first: "the task-augmented
            features are then progressively refined", and the coarsest is "initialized" with the output of the CTAM.
            'ctam' attends to that output at every scale, as the released code does.
        query_convs: number of query convolutions, and of key convolutions, in a cross-attention: 1 in the paper, 2 in
            the released code.

    Attributes:
        out_channels: channels of the results, finest first: 2 * C_k for each coarser scale, C_K for the coarsest.

    Reference: SCA-MTL, section 2.2, equation 4.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int],
        source: Source = 'refined',
        query_convs: int = 1,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if source not in get_args(Source):
            raise ValueError(f'source must be one of {get_args(Source)}, not {source!r}')
        self.source = source
        norm_cfg = norm_cfg or dict(type='BN')
        coarser = len(channels) - 1
        self.out_channels = (*(2 * c * (coarser - k) for k, c in enumerate(channels[:-1])), channels[-1])
        widths = self.out_channels if source == 'refined' else channels
        self.project = ModuleRow(
            ModuleRow(PlainConvModule(width, c, 1, norm_cfg=norm_cfg, act_cfg=None) for width in widths[k + 1 :])
            for k, c in enumerate(channels[:-1])
        )
        self.attend = ModuleRow(CrossAttention(c, query_convs=query_convs, norm_cfg=norm_cfg) for c in channels[:-1])

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return maps (N, out_channels[k], h_k, w_k) of maps (N, channels[k], h_k, w_k), finest first."""
        refined = list(features)
        for k in reversed(range(len(features) - 1)):
            target = features[k]
            coarser = (refined if self.source == 'refined' else features)[k + 1 :]
            sources = [project(map_) for project, map_ in zip(self.project[k], coarser, strict=True)]
            found = self.attend[k](target, sources)
            refined[k] = torch.cat([part for ca in found for part in (target, ca)], dim=1)
        return refined
