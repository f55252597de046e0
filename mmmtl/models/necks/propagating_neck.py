"""What a video model asks of its neck, whichever way features travel between frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from mmmtl.structures import Memory


@runtime_checkable
class PropagatingNeck(Protocol):
    """A module that remembers frames and turns them into slots of features for a later frame.

    What it remembers of a frame depends on that frame alone: nothing recurs, so a stream equals its clips.
    """

    @property
    def num_slots(self) -> int:
        """Slots of each task, empty ones included: itself, from the last key frame, from the last non-key frame."""

    def remember(self, features: Tensor, images: Tensor) -> Memory:
        """What later frames need of frames with `features` (N, C, h, w), pictures (N, 3, H, W); N may be 0."""

    def reads_key(self, is_key_frame: bool) -> bool:
        """Whether such a frame receives features of the last key frame."""

    def reads_non_key(self, is_key_frame: bool) -> bool:
        """Whether such a frame receives features of the last non-key frame."""

    def __call__(
        self, current: Memory, key: Memory | None, non_key: Memory | None
    ) -> Mapping[str, Sequence[Tensor | None]]:
        """{task: slots}, each (N, C, h, w), or None where the memory is None.

        In training a row without a memory is a row of zeros, and what comes of it is set to zero.
        """
