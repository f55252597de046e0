"""The frames that a `StreamRunner` hands to its sinks, with their maps and their stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from mmmtl.apis.inferencer import TaskMaps
from mmmtl.structures import Array


class StreamInfo(NamedTuple):
    """A stream, as it was opened.

    Args:
        name: name of the stream.
        fps: frames per second, on average; None if the source does not say.
        declared: number of frames that the source says it has; None if it does not.
        live: whether frames are made while they are read.
        start: number of the first frame of this run; above 0 where a stopped run goes on.
    """

    name: str
    fps: float | None
    declared: int | None
    live: bool
    start: int


@dataclass(frozen=True, eq=False)
class StreamFrame:
    """A frame of a stream with its maps. All sinks share its arrays, which are read-only.

    Args:
        stream: the stream that it belongs to.
        number: its number among the predicted frames of the stream, from 0, without gaps.
        dropped: frames of the stream that were left out before this one, since a newer one had come.
        time: seconds from the first frame of the stream.
        image: (H, W, 3) uint8 BGR at the size of the maps.
        maps: {task: (M, H, W)}.
        kind: 'key' or 'non_key', or 'image' if the model has no key frames.
        since_key: frames since the last key frame, 0 for a key frame; None if the model has no key frames.
        seconds: seconds of each stage before the sinks: 'decode' to read the frame and bring it to the model's size,
            'wait' for the model, and 'infer', its share of the batch.
        draw: makes `panel`.
    """

    stream: StreamInfo
    number: int
    dropped: int
    time: float
    image: Array
    maps: TaskMaps
    kind: str
    since_key: int | None
    seconds: dict[str, float]
    draw: Callable[[StreamFrame], Array] = field(repr=False)

    @cached_property
    def panel(self) -> Array:
        """The drawing of the frame and all its maps, (H', W', 3) uint8 RGB, drawn when a sink first asks for it."""
        drawn = self.draw(self)
        drawn.setflags(write=False)
        return drawn
