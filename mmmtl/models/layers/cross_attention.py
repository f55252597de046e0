"""Cross-attention of one map to others, in linear form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .conv_module import PlainConvModule
from .linear_attention import linear_attention


class CrossAttention(nn.Module):
    """CA of SCA-MTL's cross attention module (CAM): attention of a target map to source maps.

    Query and key are 1x1 convolution, norm, softplus (so not negative), the value is 1x1 convolution, norm, ReLU, all
    as wide as the maps, with one head. The caller concatenates the result with the target, which makes it the CAM.
    Convolutions start with Xavier's weights, as in the released code.

    Args:
        channels: C of target and source, d_k and d_v.
        query_convs: 1x1 convolutions that make the query, and as many for the key: 1 in the paper, 2 in its released
            code with norm and ReLU between them.

    Reference: SCA-MTL, section 2.2, equations 1 and 2, after ATRC (Bruggemann et al., ICCV 2021).
    """

    def __init__(self, channels: int, *, query_convs: int = 1, norm_cfg: dict[str, Any] | None = None) -> None:
        super().__init__()
        if query_convs < 1:
            raise ValueError(f'query_convs must be at least 1, not {query_convs}')
        norm_cfg = norm_cfg or dict(type='BN')
        self.query = _non_negative(channels, query_convs, norm_cfg)
        self.key = _non_negative(channels, query_convs, norm_cfg)
        self.value = PlainConvModule(channels, channels, 1, norm_cfg=norm_cfg)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, target: Tensor, sources: Sequence[Tensor]) -> list[Tensor]:
        """Return one map (N, C, H, W) for each source (N, C, h, w), of any size; the target is (N, C, H, W)."""
        query = self.query(target).flatten(2)
        return [
            torch.unflatten(
                linear_attention(query, self.key(source).flatten(2), self.value(source).flatten(2)), 2, target.shape[2:]
            )
            for source in sources
        ]


def _non_negative(channels: int, convs: int, norm_cfg: dict[str, Any]) -> nn.Sequential:
    hidden = [PlainConvModule(channels, channels, 1, norm_cfg=norm_cfg) for _ in range(convs - 1)]
    return nn.Sequential(
        *hidden, PlainConvModule(channels, channels, 1, norm_cfg=norm_cfg, act_cfg=None), nn.Softplus()
    )
