"""Frames: their kinds, what each reads from earlier frames, and the core that computes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from mmmtl.models.decode_heads import HeadOutput
from mmmtl.models.necks import PropagatingNeck
from mmmtl.structures import Logits, Memory
from mmmtl.structures.rows import select_rows

if TYPE_CHECKING:
    from .multi_task_segmentor import MultiTaskSegmentor

IMAGE, KEY, NON_KEY = 'image', 'key', 'non_key'
"""Kinds of frames in the steady state of a stream."""

KIND_NAMES = {IMAGE: 'frame', KEY: 'key frame', NON_KEY: 'non-key frame'}
"""Names of the kinds in reports."""

ReadMemories = tuple[Memory | None, Memory | None]
"""Memories of the last key frames and of the last non-key frames; None for those that are not read."""


class FramePlan(NamedTuple):
    """A plan for one frame: whether it is a key frame, and which memories it reads."""

    is_key: bool
    reads_key: bool
    reads_non_key: bool


class Memories(NamedTuple):
    """Memories of the last key frames and of the last non-key frames of a batch."""

    key: Memory
    non_key: Memory

    def read_by(self, plan: FramePlan, rows: Sequence[int]) -> ReadMemories:
        """Return the memories that these rows read by their plan."""
        return (
            select_rows(self.key, rows) if plan.reads_key else None,
            select_rows(self.non_key, rows) if plan.reads_non_key else None,
        )


class FrameOutput(NamedTuple):
    """Logits of frames, and their memory."""

    logits: Logits
    memory: Memory


class ClipOutput(NamedTuple):
    """Head output for the current frames of clips, and fast features of those that are non-key frames."""

    head: HeadOutput
    fast_features: Tensor

    @property
    def logits(self) -> Logits:
        return self.head.logits


class Core(NamedTuple):
    """The tensor-only core of a model: it computes frames of one kind and, in a video model, clips."""

    frames: Callable[..., FrameOutput]
    clips: Callable[..., ClipOutput] | None = None


def frame_kind(model: MultiTaskSegmentor, is_key: bool) -> str:
    """Return the kind of a frame, where `is_key` is that of the model's `step`; an image model has one kind."""
    if not model.has_key_frames:
        return IMAGE
    return KEY if is_key else NON_KEY


def frame_runs(model: MultiTaskSegmentor, images: Tensor) -> dict[str, Callable[[], FrameOutput]]:
    """Return a function for each kind of frame that computes it in the steady state of streams of `images`.

    The images are (N, 3, H, W), as the data preprocessor gives them, and the same for every frame.
    """
    return {
        kind: partial(model.core.frames, images, *read, is_key=kind == KEY)
        for kind, read in model.steady_memories(images).items()
    }


def plan_rows(neck: PropagatingNeck, is_key: Iterable[bool], has_non_key: Iterable[bool]) -> list[FramePlan]:
    """Return the plan of the frame in each row: it reads the existing memories that the neck asks for.

    A non-key frame always has a last key frame.
    """
    return [
        FramePlan(key, neck.reads_key(key), known and neck.reads_non_key(key))
        for key, known in zip(is_key, has_non_key, strict=True)
    ]


def group_rows(plans: Iterable[FramePlan]) -> dict[FramePlan, list[int]]:
    """Return the rows of each plan, in ascending order."""
    groups: dict[FramePlan, list[int]] = defaultdict(list)
    for row, plan in enumerate(plans):
        groups[plan].append(row)
    return groups
