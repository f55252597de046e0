"""Predict every task of your own video, frame by frame, and write a video of the maps side by side."""

from __future__ import annotations

import argparse

from mmmtl.apis import MultiTaskInferencer, VideoReader, VideoWriter
from mmmtl.cli import (
    add_config_arguments,
    add_fit_argument,
    add_inferencer_arguments,
    config_of,
    inferencer_options,
    positive,
    readable_errors,
)
from mmmtl.commands.results import Outputs, ResultWriter
from mmmtl.commands.run_video import run_video, speed_report
from mmmtl.io import check_outputs
from mmmtl.io.video import DEFAULT_FPS


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
    parser.add_argument('--fps', type=float, help="frames per second of the output (default: the video's own times)")
    parser.add_argument('--max-frames', type=positive, metavar='N', help='stop after N frames')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    check_outputs([args.out], [args.video, args.config, args.checkpoint])
    reader = VideoReader(args.video, one_size=True)
    writer = VideoWriter(args.out, args.fps or reader.fps or DEFAULT_FPS)
    inferencer = MultiTaskInferencer(config_of(args), size=args.size or args.fit, **inferencer_options(args))
    with reader, writer:
        outputs = Outputs(video=writer.path)
        results = ResultWriter(inferencer, args.video, outputs, is_video=True, video=writer, keep_times=not args.fps)
        run = run_video(inferencer, reader, results.write, max_frames=args.max_frames)
    if run.seconds:
        print(speed_report(run.seconds))
        print(f'video: {args.out}; read {reader.summary()}')
    if run.seconds and not reader.is_whole:
        print(f'warning: {reader.name} is damaged or incomplete')
    if run.stopped:
        print('stopped')
    if run.error:
        raise SystemExit(run.error)


if __name__ == '__main__':
    with readable_errors():
        main()
