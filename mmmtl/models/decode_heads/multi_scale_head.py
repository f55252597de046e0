"""A plain decoder for maps of several scales: each task aggregates them to its prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor

from mmmtl.models.layers import ModuleMap
from mmmtl.registry import MODELS
from mmmtl.tasks import Task

from .aggregation import Aggregation
from .base import DecodeHead, HeadOutput

Features = Sequence[Tensor] | Mapping[str, Sequence[Tensor]]


@MODELS.register_module()
class MultiScaleHead(DecodeHead):
    """For each task: all scales at the size of the finest, 1x1 convolution, norm, ReLU, 1x1 convolution.

    This is HRNet's own decoder for segmentation, once for each task. The single-task and multi-task baselines use it,
    and other methods put it behind their features.

    Args:
        hidden_channels: width of the hidden layer, see `Aggregation`; by default all scales together, as in HRNet.
        upsample_first: see `Aggregation`.

    Reference: Sun et al., High-Resolution Representations for Labeling Pixels and Regions, arXiv 1904.04514, section 3.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        hidden_channels: int | Literal['input'] | None = 'input',
        upsample_first: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.feature_channels = self.in_channels = list(in_channels)
        options: dict[str, Any] = dict(
            hidden_channels=hidden_channels, upsample_first=upsample_first, norm_cfg=norm_cfg
        )
        self.aggregation = ModuleMap(
            {name: Aggregation(in_channels, task.out_channels, **options) for name, task in tasks.items()}
        )

    def forward(self, features: Features) -> HeadOutput:
        """Predict all tasks from maps (N, in_channels[i], h_i, w_i), finest first, shared or {task: maps}."""
        own = {name: features[name] if isinstance(features, Mapping) else features for name in self.aggregation}
        for maps in own.values():
            self.check_maps(maps)
        return HeadOutput({name: aggregate(own[name]) for name, aggregate in self.aggregation.items()}, own)
