"""Predict every task of your own video, frame by frame, and write a video of the maps side by side."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from mmmtl._output import counted
from mmmtl.apis import MultiTaskInferencer, StreamRunner
from mmmtl.apis.streaming import VideoSink, speed_report
from mmmtl.cli.arguments import (
    add_config_arguments,
    add_fit_argument,
    add_inferencer_arguments,
    add_shown_range_argument,
    chosen_size,
    config_of,
    inferencer_options,
)
from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import positive_number
from mmmtl.commands.progress import ProgressSink
from mmmtl.commands.streams import add_stream_arguments, check_stream_arguments, page_of, stream_options
from mmmtl.io import check_outputs, source_name


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'video',
        help='video file, folder of frames, URL, pipe, device, GStreamer pipeline, or number of a camera (ctrl-C ends)',
    )
    add_config_arguments(parser)
    add_inferencer_arguments(parser)
    add_fit_argument(parser)
    add_shown_range_argument(parser)
    parser.add_argument('--out', required=True, metavar='FILE.mp4', help='write the video there (.mp4, .webm, .mkv)')
    parser.add_argument(
        '--fps', type=positive_number, help="frames per second of the output (default: the video's own times)"
    )
    add_stream_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if Path(args.out).is_dir() or not Path(args.out).suffix:
        raise SystemExit(f'--out {args.out}: give a file, such as {Path(args.out) / "maps.mp4"}')
    check_outputs([args.out], [args.video, args.config, args.checkpoint])
    film = VideoSink(args.out, fps=args.fps)
    options = inferencer_options(args)
    check_stream_arguments(args, options['weights'])
    inferencer = MultiTaskInferencer(config_of(args), size=chosen_size(args), **options)
    runner = StreamRunner(inferencer, {Path(args.out).stem: args.video}, **stream_options(args))
    sinks = [film, *page_of(args), ProgressSink(args.max_frames)]
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(sink)
        (record,) = runner.run(*sinks, check=False).values()
    if record.frames:
        print(speed_report(record.model))
        files = ', '.join(map(str, film.files))
        print(f'video: {files}; predicted {counted(record.frames, "frame")}; read {record.summary}')
    if record.frames and not record.whole:
        print(f'warning: {source_name(args.video)} is damaged or incomplete')
    if record.dropped:
        print(f'dropped: {counted(record.dropped, "frame")}, as newer ones had come')
    if record.stopped:
        print('stopped' + (f'; the same command goes on from {args.resume}' if args.resume else ''))
    if record.failure is not None:
        raise record.failure


if __name__ == '__main__':
    with readable_errors():
        main()
