"""Decode heads whose last features are open to losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class TwoStepHead(Protocol):
    """A head that can be asked for the features of each task before their prediction.

    `head(features)` is `head.task_logits(maps) | preliminary` with `maps, preliminary = head.task_features(features)`.
    """

    @property
    def feature_channels(self) -> Sequence[int]:
        """Of the maps of every task, finest first."""

    def task_features(self, features: Any) -> tuple[dict[str, Sequence[Tensor]], dict[str, Tensor]]:
        """{task: maps (N, feature_channels[i], h_i, w_i)}, and preliminary predictions as the head returns them.

        Args:
            features: what the head is given.
        """

    def task_logits(self, maps: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
        """{task: logits (N, task.out_channels, h, w)} of the maps of each task."""
