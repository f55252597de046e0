"""Predict every task of your own video, frame by frame, and write a video of the maps side by side."""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from rich.progress import track

from mmmtl.apis import MultiTaskInferencer
from mmmtl.cli import add_config_arguments, add_inferencer_arguments, config_of, inferencer_options
from mmmtl.io import VideoWriter, read_frames
from mmmtl.io.images import IMAGE_SUFFIXES

DEFAULT_FPS = 15.0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('video', help='video file, folder of frames, URL, or the number of a camera (ctrl-C ends it)')
    add_config_arguments(parser)
    add_inferencer_arguments(parser)
    parser.add_argument('--out', required=True, metavar='FILE.mp4', help='write the video there')
    parser.add_argument(
        '--fps', type=float, help=f"frames per second of the output (default: the video's, or {DEFAULT_FPS:g})"
    )
    parser.add_argument('--max-frames', type=int, metavar='N', help='stop after N frames')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    video, frames, fps = open_video(args.video)
    options = inferencer_options(args)
    inferencer = MultiTaskInferencer(config_of(args), args.checkpoint, size=args.size or 'config', **options)
    total = min(frames or np.inf, args.max_frames or np.inf)
    source = itertools.islice(read_frames(video), args.max_frames)
    seconds: dict[str, list[float]] = defaultdict(list)
    state = None
    with VideoWriter(args.out, args.fps or fps) as writer:
        try:
            for frame in track(source, 'frames', total=None if np.isinf(total) else int(total)):
                start = perf_counter()
                image, maps, is_key, state = inferencer.step(frame, state)
                kind = ('key frames' if is_key else 'non-key frames') if inferencer.model.has_key_frames else 'frames'
                seconds[kind].append(perf_counter() - start)
                writer.write(inferencer.panel(image, maps))
        except KeyboardInterrupt:
            print('stopped')
    if not seconds:
        raise SystemExit(f'{args.video}: no frame could be read')
    print(report(seconds))
    print(f'video: {args.out}')


def open_video(name: str) -> tuple[str | int, int | None, float]:
    """Return the source for `read_frames`, the number of frames if known, and frames per second."""
    path = Path(name)
    if path.is_dir():
        return name, sum(file.suffix.lower() in IMAGE_SUFFIXES for file in path.iterdir()), DEFAULT_FPS
    if not path.is_file():
        return int(name) if name.isdigit() else name, None, DEFAULT_FPS
    capture = cv2.VideoCapture(name)
    count, fps = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return name, count if count > 0 else None, fps if fps > 0 else DEFAULT_FPS


def report(seconds: Mapping[str, Sequence[float]]) -> str:
    """Return frames per second of each kind and of all; the first frame of each kind is slow and does not count.

    Args:
        seconds: of the model for each frame of each kind, without reading, drawing and writing.
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


if __name__ == '__main__':
    main()
