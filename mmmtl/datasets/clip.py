"""The three frames of a clip, as frame arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal


@dataclass(frozen=True)
class Clip:
    """The clips of a video data set: last key frame, last non-key frame, current frame.

    Args:
        interval: K, every K-th frame is a key frame.
        offsets: frames between the last key frame and the current one. 'all' makes an item of each of 0 to K - 1 for
            every labelled frame, a list makes those, 'random' draws one whenever a labelled frame is used.
        missing: what to do if a frame of the clip does not exist: 'repeat' takes the next existing frame towards the
            current one; 'skip' leaves out the labelled frame at every offset, so that all offsets are scored on the
            same frames; 'error' raises.
        still: the data set has single images, of which the transform `StillToClip` makes clips.
        single: take the current frame alone, from the labelled frames that have clips.
        no_history: probability that the current frame stands for the last non-key frame, as at the start of a video.
        key_frames: probability of offset 0 where offsets are drawn; None draws all offsets alike, so 1 / K.
    """

    interval: int = 5
    offsets: Literal['all', 'random'] | Sequence[int] = 'random'
    missing: Literal['repeat', 'skip', 'error'] = 'error'
    still: bool = False
    single: bool = False
    no_history: float = 0.0
    key_frames: float | None = None

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ValueError(f'key_frame_interval (clip.interval) must be at least 1, not {self.interval}')
        if self.missing not in ('repeat', 'skip', 'error'):
            raise ValueError(f"clip.missing must be 'repeat', 'skip' or 'error', not {self.missing!r}")
        if isinstance(self.offsets, str):
            known = self.offsets in ('all', 'random')
        else:
            known = all(isinstance(offset, Integral) for offset in self.offsets)
        if not known:
            raise ValueError(f"clip.offsets must be 'all', 'random' or a list of whole numbers, not {self.offsets!r}")
        if not 0 <= self.no_history < 1:
            raise ValueError(f'clip.no_history is a probability below 1, not {self.no_history}')
        if self.key_frames is not None and not (self.offsets == 'random' and self.interval > 1):
            raise ValueError("clip.key_frames needs clip.offsets='random' and a key_frame_interval above 1")
        if self.key_frames is not None and not 0 <= self.key_frames <= 1:
            raise ValueError(f'clip.key_frames is a probability, not {self.key_frames}')
        offsets = self.possible_offsets
        if not offsets or len(set(offsets)) != len(offsets):
            raise ValueError(f'clip.offsets must name at least one offset, and each only once, not {offsets}')
        if outside := [o for o in offsets if not 0 <= o < self.interval]:
            raise ValueError(
                f'clip.offsets {outside} are not in 0..{self.interval - 1} (key_frame_interval is {self.interval})'
            )

    @property
    def possible_offsets(self) -> list[int]:
        """Every offset that an item may have."""
        return list(range(self.interval)) if isinstance(self.offsets, str) else [int(o) for o in self.offsets]

    @property
    def length(self) -> int:
        """The number of frames from the oldest that any clip needs to the current one."""
        return 1 - min(slot or 0 for offset in self.possible_offsets for slot in self.slots(offset))

    def slots(self, offset: int) -> tuple[int | None, int, int]:
        """Return the times of (last key frame, last non-key frame, current frame), relative to the current one.

        None is an empty slot: a key frame reads no earlier key frame. The frame before the first non-key frame of an
        interval is the key frame, so its last non-key frame is 2 back. With an interval of 1 all are key frames, and
        the current one stands for the last non-key frame.

        Examples:
            >>> [Clip(interval=3).slots(offset) for offset in range(3)]
            [(None, -1, 0), (-1, -2, 0), (-2, -1, 0)]
        """
        last_key = -offset if offset else None
        last_non_key = 0 if self.interval == 1 else (-2 if offset == 1 else -1)
        return last_key, last_non_key, 0
