"""Predict every task of your own video, frame by frame, and write a video of the maps side by side."""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from rich.progress import track
from torch import Tensor

from mmmtl.apis import MultiTaskInferencer
from mmmtl.cli import add_config_arguments, add_inferencer_arguments, config_of, inferencer_options
from mmmtl.io import VideoWriter, read_frames
from mmmtl.io.images import IMAGE_SUFFIXES
from mmmtl.models import VideoMultiTaskSegmentor
from mmmtl.models.segmentors import KeyFramePolicy
from mmmtl.structures import Memory, StreamState

DEFAULT_FPS = 15.0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('video', help='video file, folder of frames, URL, or the number of a camera (ctrl-C ends it)')
    add_config_arguments(parser)
    add_inferencer_arguments(parser)
    parser.add_argument('--out', required=True, metavar='FILE.mp4', help='write the video there')
    parser.add_argument(
        '--fps', type=float, help=f"frames per second of what is written (default: the video's, or {DEFAULT_FPS:g})"
    )
    parser.add_argument('--max-frames', type=int, metavar='N', help='stop after N frames')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    video, frames, fps = open_video(args.video)
    options = inferencer_options(args)
    inferencer = MultiTaskInferencer(config_of(args), args.checkpoint, size=args.size or 'config', **options)
    clock = Clock(inferencer)
    total = min(frames or np.inf, args.max_frames or np.inf)
    source = clock.start(itertools.islice(read_frames(video), args.max_frames))
    stream = track(clock.stop(inferencer.stream(source)), 'frames', total=None if np.isinf(total) else int(total))
    with VideoWriter(args.out, args.fps or fps) as writer:
        try:
            for frame, maps in stream:
                writer.write(inferencer.panel(frame, maps))
        except KeyboardInterrupt:
            print('stopped')
    if not clock.seconds:
        raise SystemExit(f'{args.video}: no frame could be read')
    print(clock.report())
    print(f'video: {args.out}')


def open_video(name: str) -> tuple[str | int, int | None, float]:
    """What `read_frames` takes, the number of frames if known, and frames per second."""
    path = Path(name)
    if path.is_dir():
        return name, sum(file.suffix.lower() in IMAGE_SUFFIXES for file in path.iterdir()), DEFAULT_FPS
    if not path.is_file():
        return int(name) if name.isdigit() else name, None, DEFAULT_FPS
    capture = cv2.VideoCapture(name)
    count, fps = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return name, count if count > 0 else None, fps if fps > 0 else DEFAULT_FPS


class Clock:
    """Seconds that the model takes for each kind of frame; reading, drawing and writing are not counted.

    Args:
        inferencer: its key-frame policy is listened to.
    """

    def __init__(self, inferencer: MultiTaskInferencer) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self._since = 0.0
        self._listener = None
        if isinstance(inferencer.model, VideoMultiTaskSegmentor):
            self._listener = Listener(inferencer.model.key_frame_policy)
            inferencer.model.key_frame_policy = self._listener

    def start(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The frames; time runs from when one is handed out."""
        for frame in frames:
            self._since = perf_counter()
            yield frame

    def stop(self, results: Iterable[tuple[np.ndarray, dict]]) -> Iterator[tuple[np.ndarray, dict]]:
        """The results; time stops when one arrives."""
        for result in results:
            kind = 'frames' if self._listener is None else self._listener.kind
            self.seconds[kind].append(perf_counter() - self._since)
            yield result

    def report(self) -> str:
        """Frames per second of each kind and of all; the first frame of each kind is slow and left out."""
        # Where there is but one it must do.
        counted = {kind: times[1:] or times for kind, times in sorted(self.seconds.items())}
        lines = [
            f'{kind}: {len(self.seconds[kind])}, {len(times) / sum(times):.1f} frames/s'
            for kind, times in counted.items()
        ]
        if len(counted) > 1:
            # As often as they came in the video.
            number = sum(map(len, self.seconds.values()))
            seconds = sum(len(self.seconds[kind]) * sum(times) / len(times) for kind, times in counted.items())
            lines.append(f'all frames: {number}, {number / seconds:.1f} frames/s')
        return '\n'.join(lines)


class Listener(KeyFramePolicy):
    """A key-frame policy that does as another does and notes what it said."""

    kind = ''

    def __init__(self, policy: KeyFramePolicy) -> None:
        self.policy = policy

    def is_key_frame(self, state: StreamState, frames: Tensor) -> Tensor:
        return self.policy.is_key_frame(state, frames)

    def remember(self, state: StreamState, frames: Tensor, is_key: Tensor) -> Memory:
        self.kind = 'key frames' if is_key.all() else 'non-key frames'
        return self.policy.remember(state, frames, is_key)


if __name__ == '__main__':
    main()
