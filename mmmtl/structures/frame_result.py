"""What one step of a model over its streams gives."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from .stream_state import StreamState

Logits = dict[str, Tensor]
"""{task: (N, C, h, w)} at feature resolution."""


class FrameResult(NamedTuple):
    """The predictions for one frame of each of N streams.

    Args:
        logits: {task: (N, C, h, w)} at feature resolution; the model's `decode` makes maps of them.
        is_key: (N,) bool, CPU, which of the frames are key frames; an image model has none.
        state: of the streams after these frames.
    """

    logits: Logits
    is_key: Tensor
    state: StreamState
