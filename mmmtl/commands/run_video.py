"""A model run over a video, frame by frame, and how fast it was."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rich.progress import track

from mmmtl.apis import MultiTaskInferencer, VideoReader
from mmmtl.apis.inferencer import TaskMaps
from mmmtl.structures import Array


class PredictedFrame(NamedTuple):
    """A frame with its maps.

    Args:
        number: of the frame, from 0.
        time: in seconds from the first frame.
        image: (H, W, 3) uint8 BGR at the size of the maps.
        maps: {task: (M, H, W)}.
        since_key: frames since the last key frame, 0 for a key frame; None if the model has no key frames.
    """

    number: int
    time: float
    image: Array
    maps: TaskMaps
    since_key: int | None = None


class VideoRun(NamedTuple):
    """The record of a run over a video.

    Args:
        frames: how many were predicted.
        seconds: of the model for each frame of each kind, without reading and writing.
        stopped: whether ctrl-C ended it.
        error: what ended it too early, such as a frame of another size; empty if nothing did.
    """

    frames: int
    seconds: dict[str, list[float]]
    stopped: bool
    error: str


def run_video(
    inferencer: MultiTaskInferencer,
    reader: VideoReader,
    write: Callable[[PredictedFrame], None],
    *,
    max_frames: int | None = None,
) -> VideoRun:
    """Predict every frame of an open video, hand each to `write`, and show the progress.

    What `reader` and the model refuse ends the run and is returned, since what was predicted before is written.
    """
    total = min((count for count in (reader.declared, max_frames) if count), default=None)
    seconds: dict[str, list[float]] = defaultdict(list)
    has_key_frames = inferencer.model.has_key_frames
    state, number, since_key, stopped, end = None, 0, 0, False, ''
    try:
        for frame, moment in track(itertools.islice(reader, max_frames), 'frames', total=total):
            start = time.perf_counter()
            image, maps, is_key, state = inferencer.step(frame, state)
            kind = ('key frames' if is_key else 'non-key frames') if has_key_frames else 'frames'
            seconds[kind].append(time.perf_counter() - start)
            since_key = 0 if is_key else since_key + 1
            write(PredictedFrame(number, moment, image, maps, since_key if has_key_frames else None))
            number += 1
    except KeyboardInterrupt:
        stopped = True
    except ValueError as error:
        end = str(error)
    return VideoRun(number, dict(seconds), stopped, end)


def speed_report(seconds: Mapping[str, Sequence[float]]) -> str:
    """Return frames per second of each kind and of all; the first frame of each kind is slow and does not count.

    Args:
        seconds: of a `VideoRun`.
    """
    # A single frame counts nevertheless.
    counted = {kind: times[1:] or times for kind, times in sorted(seconds.items())}
    lines = [f'{kind}: {len(seconds[kind])}, {len(times) / sum(times):.1f} frames/s' for kind, times in counted.items()]
    if len(counted) > 1:
        # Weight each kind by its number of frames.
        number = sum(map(len, seconds.values()))
        total = sum(len(seconds[kind]) * sum(times) / len(times) for kind, times in counted.items())
        lines.append(f'all frames: {number}, {number / total:.1f} frames/s')
    return '\n'.join(lines)
