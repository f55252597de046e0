"""The interface between a video model and its neck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from mmmtl.structures import Memory


@runtime_checkable
class PropagatingNeck(Protocol):
    """A module that remembers frames and turns them into slots of features for a later frame.

    The memory of a frame depends on that frame alone. Nothing recurs, so a stream equals its clips.
    """

    @property
    def num_slots(self) -> int:
        """The slots of each task, empty ones included: itself, last key frame, last non-key frame."""

    def remember(self, features: Tensor, images: Tensor) -> Memory:
        """Return the memory of frames with `features` (N, C, h, w), `images` (N, 3, H, W); N may be 0."""

    def reads_key(self, is_key_frame: bool) -> bool:
        """Return whether such a frame receives features of the last key frame; a key frame cannot."""

    def reads_non_key(self, is_key_frame: bool) -> bool:
        """Return whether such a frame receives features of the last non-key frame."""

    def __call__(
        self, current: Memory, key: Memory | None, non_key: Memory | None
    ) -> Mapping[str, Sequence[Tensor | None]]:
        """Return {task: slots}, each (N, C, h, w), or None where the memory is None.

        In training, a row without a memory is a row of zeros, and its slot is set to zero.
        """
