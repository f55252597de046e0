"""The kinds of frames that a model computes, each in the steady state of a video."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from mmmtl.models import MultiTaskSegmentor, VideoMultiTaskSegmentor
from mmmtl.structures import Memory

IMAGE, KEY, NON_KEY, AVERAGE = 'image', 'key', 'non_key', 'average'


def key_frame_interval(model: MultiTaskSegmentor) -> int | None:
    """Frames from key frame to key frame; None for an image model, or where a policy has none."""
    return getattr(model.key_frame_policy, 'interval', None) if isinstance(model, VideoMultiTaskSegmentor) else None


def frame_kinds(model: MultiTaskSegmentor, pictures: Tensor) -> dict[str, Callable[[], Any]]:
    """What computes the logits of each kind of frame: 'image', or 'key' and, unless K is 1, 'non_key'.

    For a video model the frames at the beginning of a video are run for it: every memory that a frame reads is there.

    Args:
        model: any.
        pictures: (N, 3, H, W), as the data preprocessor gives them; the same for every frame.
    """
    if not isinstance(model, VideoMultiTaskSegmentor):
        return {IMAGE: partial(model.logits, pictures)}
    return {
        kind: partial(model.frame_logits, pictures, *memories, is_key=kind == KEY)
        for kind, memories in frame_memories(model, pictures).items()
    }


def frame_memories(model: VideoMultiTaskSegmentor, pictures: Tensor) -> dict[str, tuple[Memory | None, Memory | None]]:
    """What each kind of frame reads of the last key frame and of the last non-key frame, in the steady state."""
    reads_key, reads_non_key = model.neck.reads_key, model.neck.reads_non_key
    key = model.frame_logits(pictures, None, None, is_key=True)[1]
    if key_frame_interval(model) == 1:  # there are no other frames, so none is remembered either
        return {KEY: (None, None)}
    non_key = model.frame_logits(pictures, key if reads_key(False) else None, None, is_key=False)[1]
    return {
        kind: (key if reads_key(is_key) else None, non_key if reads_non_key(is_key) else None)
        for kind, is_key in ((KEY, True), (NON_KEY, False))
    }
