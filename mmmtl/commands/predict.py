"""Predict every task of images and videos: drawings side by side, as pictures and videos.

An input is an image, a URL of one, a folder of images, a pattern such as 'photos/*.jpg', a video, a stream's URL, a
pipe, a device, or the number of a camera (ctrl-C ends). What cannot be read is left out, and the last line says why.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

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
    readable_errors,
)
from mmmtl.io import MapWriter, check_new_folder, check_outputs
from mmmtl.io.image_sources import is_url
from mmmtl.io.video import DEFAULT_FPS

from .inputs import Input, find_inputs
from .results import SAVES, Outputs, ResultWriter, outputs_of, raw_folder
from .run_video import PredictedFrame, VideoRun, run_video, speed_report

SHOWN = 10
"""The largest number of inputs that are said to be left out by name."""


def parse_args(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('inputs', nargs='+', metavar='INPUT', help='what to predict')
    add_config_arguments(parser, option='--model')
    add_inferencer_arguments(parser, weights='--weights')
    add_fit_argument(parser)
    parser.add_argument('--out', required=True, type=Path, metavar='DIR', help='folder of the results')
    parser.add_argument(
        '--save',
        type=choices(*SAVES),
        metavar='LIST',
        help=f'what to write, of {",".join(SAVES)} (default: a video of a video, panels of images); raw and npy are '
        'the maps as PNG or .npy files in DIR/raw, which VideoFolder and ImageFolder read; with video, the images of a '
        'folder are the frames of one video',
    )
    parser.add_argument('--fps', type=float, help="frames per second of videos (default: the video's own times)")
    parser.add_argument('--max-frames', type=positive, metavar='N', help='stop after N frames of each video')
    return parser.parse_args(arguments)


@readable_errors()
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the command; exit with 1 if nothing is predicted, or a video cannot be read to its end."""
    args = parse_args(arguments, prog)
    cfg = config_of(args)
    inputs, others = find_inputs(args.inputs, folders_are_videos='video' in (args.save or ()))
    check(args, inputs, cfg.filename)
    inferencer = MultiTaskInferencer(cfg, size=args.size or args.fit, **inferencer_options(args))
    skipped = [f'{path} (no image by its name)' for path in others]
    start = time.perf_counter()
    images = [one for one in inputs if not one.is_video]
    videos = [one for one in inputs if one.is_video]
    with ExitStack() as stack:
        raw = open_raw(stack, args, inferencer, is_video=False) if images else None
        frames = predict_images(images, inferencer, args, skipped, raw)
        raw = open_raw(stack, args, inferencer, is_video=True) if videos else None
        failed = False
        for video in videos:
            run = predict_video(video, inferencer, args, skipped, raw)
            frames, failed = frames + run.frames, failed or bool(run.error)
            if run.stopped:
                break
    seconds = time.perf_counter() - start
    print(summary(frames, seconds, args.out, skipped))
    if failed or not frames:
        sys.exit(1)


def check(args: argparse.Namespace, inputs: Sequence[Input], config: str) -> None:
    """Refuse outputs that are inputs or hold the frames of another run, and `--save video` of a single image."""
    if args.save == ['video'] and (images := [one.source for one in inputs if not one.is_video]):
        raise ValueError(f'{images[0]}: an image, of which --save video makes nothing; give --save panels')
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f'--out {args.out}: is a file, not a folder')
    files = [one.source for one in inputs if not is_url(one.source)]
    # Other images in the folder of an input are safe, too.
    folders = {Path(one.source).parent for one in inputs if not one.is_video and not is_url(one.source)}
    check_outputs([args.out], [*folders, *files])
    outputs = [path for one in inputs for path in outputs_for(args, one) if path is not None]
    check_outputs(outputs, [*files, config, args.checkpoint])
    if full := next((path for path in outputs if path.is_dir() and any(path.iterdir())), None):
        raise ValueError(f'{full}: holds frames already; delete it, or choose another --out')
    for is_video in {one.is_video for one in inputs}:
        if (raw := raw_folder(args.out, args.save or (), is_video=is_video)) is not None:
            check_outputs([raw], files)
            check_new_folder(raw)


def open_raw(
    stack: ExitStack, args: argparse.Namespace, inferencer: MultiTaskInferencer, *, is_video: bool
) -> MapWriter | None:
    """Return an open writer of the maps of all images or of all videos, if they are wanted."""
    folder = raw_folder(args.out, args.save or (), is_video=is_video)
    if folder is None:
        return None
    return stack.enter_context(MapWriter(folder, inferencer.tasks, stills=not is_video, npy='npy' in args.save))


def outputs_for(args: argparse.Namespace, one: Input) -> Outputs:
    """Return where the results of an input go."""
    save = args.save or ('video' if one.is_video else 'panels',)
    return outputs_of(args.out, one.name, save, is_video=one.is_video)


def predict_images(
    images: Sequence[Input],
    inferencer: MultiTaskInferencer,
    args: argparse.Namespace,
    skipped: list[str],
    raw: MapWriter | None,
) -> int:
    """Predict images, add to `skipped` those that cannot be read, and return how many could."""
    done = 0
    results = inferencer.predict_each([one.source for one in images]) if images else []
    for one, result in zip(images, track(results, 'images', total=len(images), disable=not images), strict=True):
        if result.image is None or result.maps is None:
            skipped.append(f'{result.name} ({result.error})')
            continue
        writer = ResultWriter(inferencer, result.name, outputs_for(args, one), maps=raw, name=one.name)
        writer.write(PredictedFrame(0, 0.0, result.image, result.maps))
        done += 1
    return done


def predict_video(
    video: Input,
    inferencer: MultiTaskInferencer,
    args: argparse.Namespace,
    skipped: list[str],
    raw: MapWriter | None,
) -> VideoRun:
    """Predict a video, and add to `skipped` what is lost of it."""
    try:
        reader = VideoReader(video.source, one_size=True)
    except (FileNotFoundError, ValueError) as error:
        skipped.append(str(error))
        return VideoRun(0, {}, False, str(error))
    outputs = outputs_for(args, video)
    with ExitStack() as stack:
        stack.enter_context(reader)
        film = None
        if outputs.video is not None:
            film = stack.enter_context(VideoWriter(outputs.video, args.fps or reader.fps or DEFAULT_FPS))
        writer = ResultWriter(
            inferencer,
            video.source,
            outputs,
            is_video=True,
            video=film,
            keep_times=args.fps is None,
            maps=raw,
            name=video.name,
        )
        run = run_video(inferencer, reader, writer.write, max_frames=args.max_frames)
    if run.seconds:
        print(f'{video.source}: {reader.summary()}\n{speed_report(run.seconds)}')
    if run.stopped:
        skipped.append(f'the rest of {video.source} (stopped by ctrl-C)')
    elif run.error:
        skipped.append(run.error)
    elif not reader.is_whole:
        skipped.append(f'parts of {video.source} ({reader.summary()})')
    return run


def summary(frames: int, seconds: float, out: Path, skipped: Sequence[str]) -> str:
    """Return the last line: frames, seconds, where the results are, and what was left out and why."""
    line = f'{frames} frames in {seconds:.1f} s: {out}'
    if not skipped:
        return line
    more = [f'and {len(skipped) - SHOWN} more'] if len(skipped) > SHOWN else []
    return f'{line}; left out {len(skipped)}: {", ".join([*skipped[:SHOWN], *more])}'
