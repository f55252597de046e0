"""Features of earlier frames as they are, and none at all: what propagation must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mmmtl.registry import MODELS
from mmmtl.structures import Memory
from mmmtl.tasks import Task

from .task_memory_neck import TaskMemoryNeck


@MODELS.register_module()
class ConcatNeck(TaskMemoryNeck):
    """Features of two frames side by side, without motion: the decoder concatenates them.

    It is how MILA's tables have MultiNet++: the last key frame's features beside those of a non-key frame.

    Args:
        tasks: given by the segmentor.
        in_channels: (C,) of the shared features; by default those of the backbone.
        multi_frame: also the features of the last non-key frame, for key frames too.
        task_specific: an own SE for each task; otherwise all tasks share one.
        reduction: of the SE blocks; None leaves them out, as MultiNet++ does.

    Reference: Chennupati et al., MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy for
        Multi-Task Learning, CVPR Workshops 2019; MILA, section 4.2.
    """

    def propagate(self, current: Memory, source: Memory) -> dict[str, Tensor]:
        """See `TaskMemoryNeck`."""
        return {branch: source[f'{branch}.features'] for branch in self.excite}


@MODELS.register_module()
class NoPropagationNeck(TaskMemoryNeck):
    """Features of each task and nothing from other frames: the slow and the fast network, each on its own frames.

    Args:
        tasks: given by the segmentor.
        in_channels: (C,) of the shared features; by default those of the backbone.
        task_specific: an own SE for each task; otherwise all tasks share one.
        reduction: of the SE blocks; None leaves them out.
    """

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
        """Nothing, and there are no sources to ask about."""
        return {}
