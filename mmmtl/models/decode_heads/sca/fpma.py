"""FPMA: feature propagation in which self-attention makes the mask."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mmmtl.models.layers import Padding, SwinStage
from mmmtl.registry import MODELS

from ..feature_propagation import Axis, FeaturePropagation


@MODELS.register_module()
class FPMA(FeaturePropagation):
    """Feature propagation module with attention: the stage is one of Swin attention.

    It is MTI-Net's module (`FPM`) with self-attention instead of convolutions. The paper gives no more detail; the
    layers are the released code's. `FeaturePropagation` explains the other arguments.

    Args:
        depth: depth of the stage.
        num_heads: number of heads of its attention; divides M * C.
        window: side of its windows.
        padding: see `SelfAttentionNeck`: 'mask', or 'zero' as in the released code.

    Reference: SCA-MTL, section 2.3; Vandenhende et al., MTI-Net, ECCV 2020, section 3.3.
    """

    def __init__(
        self,
        *,
        tasks: Collection[str],
        channels: int,
        mask_axis: Axis = 'task',
        depth: int = 1,
        num_heads: int = 4,
        window: int = 7,
        padding: Padding = 'mask',
        reduction: int = 16,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            tasks=tasks,
            channels=channels,
            stage=lambda width: SwinStage(width, depth=depth, num_heads=num_heads, window=window, padding=padding),
            mask_axis=mask_axis,
            reduction=reduction,
            norm_cfg=norm_cfg,
            init_cfg=init_cfg,
        )
