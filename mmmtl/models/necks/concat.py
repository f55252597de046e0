"""Necks without motion: earlier features unchanged, or none. They are what propagation must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mmmtl.registry import MODELS
from mmmtl.structures import Memory
from mmmtl.tasks import Task

from .propagating_neck import PropagatingNeck


@MODELS.register_module()
class ConcatNeck(PropagatingNeck):
    """A neck that puts the features of two frames side by side, without motion; the decoder concatenates them.

    This is MultiNet++ in MILA's tables: features of the last key frame beside those of a non-key frame. MultiNet++ has
    no SE blocks (`reduction=None`).

    Reference: Chennupati et al., MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy for
        Multi-Task Learning, CVPR Workshops 2019; MILA, section 4.2.
    """

    def propagate(self, current: Memory, source: Memory) -> dict[str, Tensor]:
        return {branch: source[f'{branch}.features'] for branch in self.excite}


@MODELS.register_module()
class NoPropagationNeck(PropagatingNeck):
    """A neck that takes nothing from other frames: each network uses only its own frames."""

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        task_specific: bool = False,
        reduction: int | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(tasks, in_channels, task_specific=task_specific, reduction=reduction, init_cfg=init_cfg)
        self.sources = 0

    def propagate(self, current: Memory, source: Memory) -> dict[str, Tensor]:
        return {}
