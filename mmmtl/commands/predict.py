"""Predict every task of images and videos: drawings side by side, as pictures and videos.

An input is an image, a URL of one, a folder of images, a pattern such as 'photos/*.jpg', a video, a stream's URL, a
pipe, a device, or the number of a camera (ctrl-C ends). What cannot be read is left out, and the last line says why.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.progress import track

from mmmtl._output import counted
from mmmtl.apis import MultiTaskInferencer, StreamRunner
from mmmtl.apis.streaming import StreamRecord, StreamSink, speed_report
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
from mmmtl.cli.values import choices, positive, positive_number
from mmmtl.io import MapWriter, check_outputs, source_name
from mmmtl.io.image_sources import is_url
from mmmtl.io.outputs import holds_something
from mmmtl.io.signals import stopped_by_signals

from .inputs import Input, find_inputs, why_left_out
from .progress import ProgressSink
from .results import RECORDING, SAVES, drawings_of, map_folders, video_sinks, write_panel
from .streams import add_stream_arguments, check_stream_arguments, page_of, stream_options

OF_VIDEOS = ('fps', 'at_once', 'max_frames', 'every_frame', 'reconnect', 'on_resize', 'serve', 'host', 'resume')
"""Arguments that do nothing to images."""

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
    add_shown_range_argument(parser)
    parser.add_argument('--out', required=True, type=Path, metavar='DIR', help='folder of the results')
    parser.add_argument(
        '--save',
        type=choices(*SAVES),
        metavar='LIST',
        help=f'what to write: one or more of {",".join(SAVES)} (default: video for a video, panels for images). '
        'raw writes the maps as PNG files to DIR/raw/videos (a VideoFolder) and DIR/raw/images (an ImageFolder); npy '
        'writes .npy files to DIR/npy in the same way. With video, the images of a folder become the frames of one '
        'video. rerun records all videos in DIR/videos.rrd',
    )
    parser.add_argument(
        '--fps', type=positive_number, help="frames per second of videos (default: the video's own times)"
    )
    parser.add_argument(
        '--at-once', type=positive, default=1, metavar='N', help='predict N videos at the same time, in one batch'
    )
    add_stream_arguments(parser)
    args = parser.parse_args(arguments)
    args.of_videos = [name for name in OF_VIDEOS if getattr(args, name) != parser.get_default(name)]
    return args


@readable_errors()
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the command; exit with 1 if nothing is predicted, a video cannot be read to its end, or a signal stops it."""
    args = parse_args(arguments, prog)
    cfg = config_of(args)
    inputs, others = find_inputs(args.inputs, folders_are_videos='video' in (args.save or ()))
    check(args, inputs, cfg.filename)
    options = inferencer_options(args)
    check_stream_arguments(args, options['weights'])
    inferencer = MultiTaskInferencer(cfg, size=chosen_size(args), **options)
    skipped = [f'{source_name(path)} ({why_left_out(path)})' for path in others]
    start = time.perf_counter()
    going_on = goes_on(args)
    stills = [one for one in inputs if not one.is_video]
    images = [one for one in stills if not (going_on and is_done(args, one))]
    if kept := len(stills) - len(images):
        print(f'kept the results of {counted(kept, "image")} from the stopped run')
    videos = [one for one in inputs if one.is_video]
    stop = threading.Event()
    # What cannot be run is refused before images are written.
    run = video_runner(videos, inferencer, args) if videos else None
    with stopped_by_signals(stop.set):
        frames = predict_images(images, inferencer, args, skipped, stop) if images else 0
    if stop.is_set():
        skipped += [f'{video} (stopped)' for video in videos]
        videos = []
    records = predict_videos(videos, *run) if videos and run else {}
    frames += sum(record.frames for record in records.values())
    skipped += [line for video in videos for line in losses(video, records[video.name], args.resume)]
    failed = stop.is_set() or any(record.error or record.stopped for record in records.values())
    seconds = time.perf_counter() - start
    print(summary(frames, seconds, args.out, skipped))
    if failed or not (frames or going_on):
        sys.exit(1)


def check(args: argparse.Namespace, inputs: Sequence[Input], config: str) -> None:
    """Refuse outputs that are inputs or results of another run, and settings of videos where all are images."""
    if args.save == ['video'] and (images := [one for one in inputs if not one.is_video]):
        raise ValueError(f'{images[0]}: --save video writes nothing for an image; use --save panels')
    if args.of_videos and not any(one.is_video for one in inputs):
        option = f'--{args.of_videos[0].replace("_", "-")}'
        raise ValueError(
            f'{option} is for videos, but {inputs[0]} is an image; leave it out. To make the images of a folder one '
            'video, give --save video'
        )
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f'--out {args.out}: is a file, not a folder')
    files = [one.source for one in inputs if not is_url(one.source)]
    # Other images in the folder of an input are safe, too.
    folders = {Path(one.source).parent for one in inputs if not one.is_video and not is_url(one.source)}
    check_outputs([args.out], [*folders, *files])
    outputs = [path for one in inputs for path in drawings(args, one)]
    check_outputs([*outputs, args.resume], [*files, config, args.checkpoint])
    if goes_on(args):
        return
    for path in outputs:
        check_new(path)
    for is_video in {one.is_video for one in inputs}:
        for maps in map_folders(args.out, args.save or (), is_video=is_video).values():
            check_outputs([maps], files)
            check_new(maps)
    if 'rerun' in (args.save or ()):
        check_new(args.out / RECORDING)


def check_new(path: Path) -> None:
    """Refuse a result of an earlier run; an empty folder is none."""
    if holds_something(path):
        raise ValueError(f'{path}: is there already; delete it, or choose another --out')


def goes_on(args: argparse.Namespace) -> bool:
    """Return whether a stopped run goes on, to whose results the new ones are added."""
    return args.resume is not None and args.resume.exists()


def drawings(args: argparse.Namespace, one: Input) -> list[Path]:
    """Return where the drawings of an input go."""
    save = args.save or ('video' if one.is_video else 'panels',)
    return drawings_of(args.out, one.name, save, is_video=one.is_video)


def is_done(args: argparse.Namespace, image: Input) -> bool:
    """Return whether all results of an image are there."""
    folders = map_folders(args.out, args.save or (), is_video=False).values()
    stills = [folder / 'images' / f'{image.name}.png' for folder in folders]
    return all(path.exists() for path in [*drawings(args, image), *stills])


def predict_images(
    images: Sequence[Input],
    inferencer: MultiTaskInferencer,
    args: argparse.Namespace,
    skipped: list[str],
    stop: threading.Event,
) -> int:
    """Predict images until `stop` is set, add to `skipped` those that are left out, and return how many are not."""
    done = 0
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                MapWriter(folder, inferencer.tasks, stills=True, npy=kind == 'npy', append=goes_on(args))
            )
            for kind, folder in map_folders(args.out, args.save or (), is_video=False).items()
        ]
        results = track(inferencer.predict_each([one.source for one in images]), 'images', total=len(images))
        for number, (one, result) in enumerate(zip(images, results, strict=True)):
            if stop.is_set():
                skipped.append(f'the last {len(images) - number} of {len(images)} images (stopped)')
                break
            if result.image is None or result.maps is None:
                skipped.append(f'{result.name} ({result.error})')
                continue
            for writer in writers:
                writer.write(one.name, 0, result.image, result.maps)
            for path in drawings(args, one):
                write_panel(path, inferencer, result)
            done += 1
    return done


def video_runner(
    videos: Sequence[Input], inferencer: MultiTaskInferencer, args: argparse.Namespace
) -> tuple[StreamRunner, list[StreamSink]]:
    """Return the run of videos, and the sinks of what is wanted of them, which write nothing yet."""
    runner = StreamRunner(
        inferencer, {one.name: one.source for one in videos}, at_once=args.at_once, **stream_options(args)
    )
    args.out.mkdir(parents=True, exist_ok=True)
    sinks = video_sinks(args.out, inferencer, args.save or ('video',), fps=args.fps, append=goes_on(args))
    return runner, [*sinks, *page_of(args), ProgressSink(args.max_frames)]


def predict_videos(
    videos: Sequence[Input], runner: StreamRunner, sinks: Sequence[StreamSink]
) -> dict[str, StreamRecord]:
    """Predict videos, print what came of each and how fast the model was, and return the records."""
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(sink)
        records = runner.run(*sinks, check=False)
    for one in videos:
        if (record := records[one.name]).frames or is_flawed(record):
            # The source is read ahead, and from its beginning where a run goes on.
            counts = f'{one}: predicted {counted(record.frames, "frame")}; read {record.summary}'
            print('\n'.join(filter(None, [counts, speed_report(record.model)])))
    return records


def is_flawed(record: StreamRecord) -> bool:
    """Return whether a video was read to its end, but not all of it came."""
    return not (record.error or record.stopped or record.whole)


def losses(video: Input, record: StreamRecord, resume: Path | None) -> list[str]:
    """Return what is lost of a video, and why."""
    if record.error:
        return [record.error]
    lost = []
    if record.stopped:
        lost.append(f'the rest of {video} (stopped' + ('; the same command goes on there)' if resume else ')'))
    if record.missing:
        lost.append(f'parts of {video} ({record.missing})')
    if record.dropped:
        lost.append(f'{counted(record.dropped, "frame")} of {video} (newer ones had come)')
    return lost


def summary(frames: int, seconds: float, out: Path, skipped: Sequence[str]) -> str:
    """Return the last line: frames, seconds, where the results are, and what was left out and why."""
    line = f'{counted(frames, "frame")} in {seconds:.1f} s: {out}'
    if not skipped:
        return line
    more = [f'and {len(skipped) - SHOWN} more'] if len(skipped) > SHOWN else []
    return f'{line}; left out {len(skipped)}: {", ".join([*skipped[:SHOWN], *more])}'
