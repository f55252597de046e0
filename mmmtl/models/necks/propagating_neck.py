"""The base of all propagating necks, and their interface to a video model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.models.layers import SqueezeExcitation
from mmmtl.structures import Memory
from mmmtl.tasks import Task

SHARED = 'shared'


class PropagatingNeck(BaseModule):
    """Base of the necks that remember each task's features and turn them into slots of features for later frames.

    The memory of a frame depends on that frame alone. Nothing recurs, so a stream equals its clips. The slots of a task
    are (itself, from the last key frame, from the last non-key frame); without `multi_frame` the third is missing.

    A subclass computes features that come from a frame in `propagate`, and adds what this needs in `remember`. A branch
    is a set of parameters and features: one for each task, or one that all tasks share.

    Args:
        in_channels: (C,) of the shared features; by default those of the backbone.
        multi_frame: also propagate from the last non-key frame, to key frames too.
        task_specific: a branch for each task; otherwise all tasks share one.
        reduction: reduction of the SE block of each branch; None leaves it out.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        init_cfg: dict[str, Any] | None = None,
        *,
        multi_frame: bool = False,
        task_specific: bool = False,
        reduction: int | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.sources = 2 if multi_frame else 1
        self.feature_channels = tuple(in_channels[-1:])
        self.branch_of = {name: name if task_specific else SHARED for name in tasks}
        self.excite = nn.ModuleDict(
            {
                branch: nn.Identity() if reduction is None else SqueezeExcitation(in_channels[-1], reduction=reduction)
                for branch in dict.fromkeys(self.branch_of.values())
            }
        )

    @property
    def num_slots(self) -> int:
        """The slots of each task, empty ones included."""
        return 1 + self.sources

    def reads_key(self, is_key_frame: bool) -> bool:
        """Return whether such a frame receives features of the last key frame; a key frame cannot."""
        return self.sources > 0 and not is_key_frame

    def reads_non_key(self, is_key_frame: bool) -> bool:
        """Return whether such a frame receives features of the last non-key frame."""
        return self.sources == 2

    def remember(self, features: Tensor, images: Tensor) -> Memory:
        """Return the memory of frames with `features` (N, C, h, w) and `images` (N, 3, H, W); N may be 0.

        It holds `<branch>.features` (N, C, h, w), and what a subclass adds.
        """
        return {f'{branch}.features': excite(features) for branch, excite in self.excite.items()}

    @abstractmethod
    def propagate(self, current: Memory, source: Memory) -> dict[str, Tensor]:
        """Return {branch: features (N, C, h, w)} that come to the current frames from their source frames."""

    def forward(
        self, current: Memory, key: Memory | None, non_key: Memory | None
    ) -> dict[str, tuple[Tensor | None, ...]]:
        """Return {task: slots}, each (N, C, h, w), or None where the memory is None.

        In training, a row without a memory is a row of zeros, and its slot is set to zero.
        """
        sources = (key, non_key)[: self.sources]
        carried = [None if source is None else self.propagate(current, source) for source in sources]
        return {
            task: (current[f'{branch}.features'], *(None if maps is None else maps[branch] for maps in carried))
            for task, branch in self.branch_of.items()
        }
