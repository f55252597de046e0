"""Predict every task of your own video, frame by frame, and write a video of the maps side by side."""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

from rich.progress import track

from mmmtl.apis import MultiTaskInferencer, VideoReader, VideoWriter
from mmmtl.cli import (
    add_config_arguments,
    add_fit_argument,
    add_inferencer_arguments,
    choices,
    config_of,
    inferencer_options,
    positive,
)
from mmmtl.io import MapWriter, check_new_folder, check_outputs
from mmmtl.io.video import DEFAULT_FPS
from mmmtl.visualization import Painter, frame_title


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'video',
        help='video file, folder of frames, URL, pipe, device, GStreamer pipeline, or number of a camera (ctrl-C ends)',
    )
    add_config_arguments(parser)
    add_inferencer_arguments(parser)
    add_fit_argument(parser)
    parser.add_argument('--out', required=True, metavar='FILE.mp4', help='write the video there (.mp4, .webm, .mkv)')
    parser.add_argument(
        '--save',
        type=choices('video', 'raw', 'npy'),
        default=['video'],
        metavar='KINDS',
        help='what to write: the video, and the maps as PNG (raw) or .npy files (npy) in a VideoFolder beside it, '
        "<name of the video>_raw, such as 'video,raw' (default: video)",
    )
    parser.add_argument('--fps', type=float, help="frames per second of the output (default: the video's own times)")
    parser.add_argument('--max-frames', type=positive, metavar='N', help='stop after N frames')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        check_outputs([args.out], [args.video, args.config, args.checkpoint])
        reader = VideoReader(args.video, one_size=True)
        writer = VideoWriter(args.out, args.fps or reader.fps or DEFAULT_FPS)
        raw = writer.path.with_name(f'{writer.path.stem}_raw') if {'raw', 'npy'} & set(args.save) else None
        if raw:
            check_outputs([raw], [args.video])
            check_new_folder(raw)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from None
    options = inferencer_options(args)
    inferencer = MultiTaskInferencer(config_of(args), args.checkpoint, size=args.size or args.fit, **options)
    total = min((count for count in (reader.declared, args.max_frames) if count), default=None)
    seconds: dict[str, list[float]] = defaultdict(list)
    painter = Painter(inferencer.tasks, video=True)
    name, since_key = Path(args.video).name, 0
    state, end = None, ''
    with ExitStack() as stack:
        stack.enter_context(reader)
        if 'video' in args.save:
            stack.enter_context(writer)
        if raw:
            maps_writer = stack.enter_context(MapWriter(raw, inferencer.tasks, npy='npy' in args.save))
        try:
            frames = itertools.islice(reader, args.max_frames)
            for number, (frame, time) in enumerate(track(frames, 'frames', total=total)):
                start = perf_counter()
                image, maps, is_key, state = inferencer.step(frame, state)
                kind = ('key frames' if is_key else 'non-key frames') if inferencer.model.has_key_frames else 'frames'
                seconds[kind].append(perf_counter() - start)
                since_key = 0 if is_key else since_key + 1
                title = frame_title(name, number, since_key=since_key if inferencer.model.has_key_frames else None)
                mark = is_key and inferencer.model.has_key_frames
                if raw:
                    maps_writer.write(writer.path.stem, number, image, maps)
                if 'video' in args.save:
                    panel = inferencer.panel(image, maps, title=title, mark=mark, painter=painter)
                    writer.write(panel, None if args.fps else time)
        except KeyboardInterrupt:
            print('stopped')
        except ValueError as error:
            # What was predicted before is written.
            end = str(error)
    if seconds:
        print(report(seconds))
        written = {'video': args.out} if 'video' in args.save else {}
        written |= {'maps': raw} if raw else {}
        print(f'{", ".join(f"{kind}: {path}" for kind, path in written.items())}; read {reader.summary()}')
    if seconds and not reader.is_whole:
        print(f'warning: {reader.name} is damaged or incomplete')
    if end:
        raise SystemExit(end)


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
