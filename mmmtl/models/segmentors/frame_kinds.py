"""Kinds of frames: what each reads of earlier frames, and the core that computes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from mmmtl.models.decode_heads import HeadOutput
from mmmtl.models.necks import PropagatingNeck
from mmmtl.structures import Logits, Memory
from mmmtl.structures.rows import select_rows

if TYPE_CHECKING:
    from .multi_task_segmentor import MultiTaskSegmentor

IMAGE, KEY, NON_KEY, AVERAGE = 'image', 'key', 'non_key', 'average'
"""Names of the kinds of frames in the steady state of a stream, and of their average."""

ReadMemories = tuple[Memory | None, Memory | None]
"""What frames read of the last key frames and of the last non-key frames; None where they read nothing."""


class FrameKind(NamedTuple):
    """How a frame is computed: whether it is a key frame, and which of the memories it reads."""

    is_key: bool
    reads_key: bool
    reads_non_key: bool


class Memories(NamedTuple):
    """What is remembered of the last key frames and of the last non-key frames of a batch."""

    key: Memory
    non_key: Memory

    def read_by(self, kind: FrameKind, rows: Sequence[int]) -> ReadMemories:
        """Return what the frames of one kind, those in `rows`, read."""
        return (
            select_rows(self.key, rows) if kind.reads_key else None,
            select_rows(self.non_key, rows) if kind.reads_non_key else None,
        )


class FrameOutput(NamedTuple):
    """Logits of frames, and what is to be remembered of them."""

    logits: Logits
    memory: Memory


class ClipOutput(NamedTuple):
    """What the head makes of the current frames of clips, and the fast features of those that are not key frames."""

    head: HeadOutput
    fast_features: Tensor

    @property
    def logits(self) -> Logits:
        """Return {task: logits} of the current frames."""
        return self.head.logits


class Core(NamedTuple):
    """The tensor-only core of a model: what computes frames of one kind and, for a video model, clips."""

    frames: Callable[..., FrameOutput]
    clips: Callable[..., ClipOutput] | None = None


def frame_runs(model: MultiTaskSegmentor, images: Tensor) -> dict[str, Callable[[], FrameOutput]]:
    """Return what computes each kind of frame that a model has, in the steady state of streams of `images`.

    Args:
        model: any.
        images: (N, 3, H, W), as the data preprocessor gives them; the same for every frame.
    """
    return {
        kind: partial(model.core.frames, images, *read, is_key=kind == KEY)
        for kind, read in model.steady_memories(images).items()
    }


def average_frame(values: Mapping[str, float], interval: int | None) -> float | None:
    """Return the mean of what key frames and other frames cost, over an interval; None where there is none."""
    if interval is None or KEY not in values:
        return None
    return (values[KEY] + (interval - 1) * values.get(NON_KEY, 0)) / interval


def kinds_of_rows(
    neck: PropagatingNeck, is_key: Iterable[bool], has_key: Iterable[bool], has_non_key: Iterable[bool]
) -> list[FrameKind]:
    """Return the kind of the frame in each row: of the memories that there are, it reads those the neck asks for."""
    return [
        FrameKind(key, last_key and neck.reads_key(key), last_non_key and neck.reads_non_key(key))
        for key, last_key, last_non_key in zip(is_key, has_key, has_non_key, strict=True)
    ]


def group_rows(kinds: Iterable[FrameKind]) -> dict[FrameKind, list[int]]:
    """Return the rows of each kind, in ascending order."""
    groups: dict[FrameKind, list[int]] = defaultdict(list)
    for row, kind in enumerate(kinds):
        groups[kind].append(row)
    return groups
