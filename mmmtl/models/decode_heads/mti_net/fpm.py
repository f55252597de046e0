"""FPM: MTI-Net's feature propagation, in which convolutions make the mask."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from mmmtl.models.layers import BasicBlock
from mmmtl.registry import MODELS

from ..feature_propagation import Axis, FeaturePropagation


@MODELS.register_module()
class FPM(FeaturePropagation):
    """MTI-Net's feature propagation module: the stage is a bottleneck of convolutions.

    The stage has two residual blocks of a quarter of the input's width and a 1x1 convolution back. This depth and width
    are the released code's; the paper speaks of a non-linear function. `FeaturePropagation` explains the arguments.

    Reference: Vandenhende et al., MTI-Net, ECCV 2020, section 3.3.
    """

    def __init__(
        self,
        *,
        tasks: Collection[str],
        channels: int,
        mask_axis: Axis = 'task',
        reduction: int = 16,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        def stage(width: int) -> nn.Module:
            narrow = max(width // 4, 1)
            return nn.Sequential(
                BasicBlock(width, narrow, norm_cfg=norm_cfg),
                BasicBlock(narrow, narrow, norm_cfg=norm_cfg),
                nn.Conv2d(narrow, width, 1),
            )

        super().__init__(
            tasks=tasks,
            channels=channels,
            stage=stage,
            mask_axis=mask_axis,
            reduction=reduction,
            norm_cfg=norm_cfg,
            init_cfg=init_cfg,
        )
