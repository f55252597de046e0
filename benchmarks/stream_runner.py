"""Measure `StreamRunner`: what it adds to the model's own time, several streams at once, and memory over a long run.

    python benchmarks/stream_runner.py --model mila-indoor --threads 1 --json stream_runner.json

- `overhead`: a file of 640x480, read, predicted and handed to a function. The model's own time is that of a plain loop
  over the same frames, read and resized before; `serial` is the loop that reads and predicts in turn; `film` is the
  runner that also draws the maps and writes them as a video. They take turns; of each the fastest round counts, since
  other programs only slow down. `busy` is the share of the runner's time in which the model computed.
- `streams`: 1, 2, 4, 8 copies of the file in one batch: frames/s of all together, as fast as they can; then as many
  cameras at `--rate` frames/s, of which late frames are dropped: latency from the decoded frame to its maps.
- `memory`: the resident memory along `--long` frames, the file over and over, drawn and written as a video; its growth
  is the slope of a line through the second half.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from common import add_run_arguments, write_results
from prettytable import PrettyTable
from rich.progress import track

from mmmtl.apis import MultiTaskInferencer, StreamRunner, zoo_weights
from mmmtl.apis.streaming import StreamFrame, VideoSink
from mmmtl.cli.arguments import add_config_arguments, config_of
from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import positive
from mmmtl.datasets.synthetic import make_scene, render
from mmmtl.io import VideoReader, VideoWriter, source_name
from mmmtl.structures import Array
from mmmtl.visualization.curves import Curve, draw_panels

SIZE = (480, 640)
STREAMS = (1, 2, 4, 8)
MEASUREMENTS = ('overhead', 'streams', 'memory')
SAMPLES = 200
"""Number of samples of the memory."""

GOAL = 0.1
"""The most that the runner may add to the model's own time."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser, option='--model')
    parser.add_argument('--weights', help='checkpoint (default: those of the named model, or random ones)')
    parser.add_argument('--optimize', choices=('fuse', 'compile'), default='fuse')
    parser.add_argument('--video', type=Path, help='file (default: a synthetic scene of 640x480)')
    parser.add_argument('--frames', type=positive, default=100, help='frames of the file that are used (default: 100)')
    parser.add_argument('--rounds', type=positive, default=3)
    parser.add_argument('--rate', type=float, default=5.0, help='frames/s of each camera (default: 5)')
    parser.add_argument('--long', type=positive, default=10_000, help='frames of the memory test (default: 10000)')
    parser.add_argument('--only', nargs='+', choices=MEASUREMENTS, default=MEASUREMENTS, help='(default: all three)')
    parser.add_argument('--curve', metavar='FILE.svg', help='draw the memory')
    add_run_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    weights = args.weights or zoo_weights(args.config)
    inferencer = MultiTaskInferencer(config_of(args), weights, device=args.device, optimize=args.optimize)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        video = args.video or write_video(Path(folder) / 'scene.mp4', args.frames)
        if 'overhead' in args.only:
            results['overhead'] = measure_overhead(inferencer, video, args.frames, args.rounds)
            print(results['overhead'])
        if 'streams' in args.only:
            results['streams'] = [measure_streams(inferencer, video, n, args.frames, args.rate) for n in STREAMS]
            show(results['streams'])
        if 'memory' in args.only:
            results['memory'] = measure_memory(inferencer, video, args.long, Path(folder) / 'long.mp4', args.curve)
            print({key: value for key, value in results['memory'].items() if key != 'samples'})
    settings = {key: value for key, value in vars(args).items() if key not in ('json', 'curve', 'clock')}
    # The names of files, not their places.
    files = ('weights', 'video')
    settings |= {key: Path(source_name(settings[key])).name for key in files if settings[key] is not None}
    write_results(args, settings=settings, **results)


def write_video(path: Path, count: int) -> Path:
    """Write a synthetic scene, rendered at a quarter of the size."""
    scene = make_scene(0)
    with VideoWriter(path, 30) as writer:
        for number in track(range(count), 'rendering'):
            image = render(scene, number % 60, SIZE[0] // 4, SIZE[1] // 4).image
            writer.write(np.ascontiguousarray(cv2.resize(image, SIZE[::-1])[..., ::-1]))
    return path


def measure_overhead(inferencer: MultiTaskInferencer, video: Path, count: int, rounds: int) -> dict[str, Any]:
    """Return milliseconds per frame of the model alone, of reading and predicting in turn, and of the runner."""
    with VideoReader(video) as reader:
        fitted = [inferencer.fit(frame.image) for frame, _ in zip(reader, range(count), strict=False)]

    def alone() -> None:
        state = None
        for one in fitted:
            state = inferencer.step_fitted([one], state).state

    def serial() -> None:
        state = None
        with VideoReader(video) as reader:
            for frame, _ in zip(reader, range(count), strict=False):
                state = inferencer.step(frame.image, state).state

    stages: dict[str, float] = {}
    busy: list[float] = []

    def run() -> None:
        start = time.perf_counter()
        (record,) = StreamRunner(inferencer, video, max_frames=count).run(lambda frame: None).values()
        assert record.frames == len(fitted)
        busy.append(record.stages['infer'].total / (time.perf_counter() - start))
        stages.update({name: 1e3 * times.mean for name, times in record.stages.items()})

    def film() -> None:
        with tempfile.TemporaryDirectory() as folder, VideoSink(Path(folder) / 'film.mp4') as sink:
            StreamRunner(inferencer, video, max_frames=count).run(sink)

    ways: dict[str, Callable[[], None]] = {'model': alone, 'serial': serial, 'runner': run, 'film': film}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    alone()
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    found = {f'{name}_ms': 1e3 * min(times) / len(fitted) for name, times in seconds.items()}
    added = found['runner_ms'] / found['model_ms'] - 1
    rounds_ms = {name: [1e3 * one / len(fitted) for one in times] for name, times in seconds.items()}
    return {
        **found,
        'added': added,
        'reached': added < GOAL,
        'busy': max(busy),
        'stages_ms': stages,
        'rounds_ms': rounds_ms,
    }


def measure_streams(
    inferencer: MultiTaskInferencer, video: Path, number: int, count: int, rate: float
) -> dict[str, float]:
    """Return frames/s of several copies of a file, and latency and losses of as many cameras."""
    names = [f's{index}' for index in range(number)]
    start = time.perf_counter()
    records = StreamRunner(inferencer, dict.fromkeys(names, video), max_frames=count).run()
    seconds = time.perf_counter() - start
    frames = sum(record.frames for record in records.values())

    with VideoReader(video) as reader:
        images = [frame.image for frame, _ in zip(reader, range(30), strict=False)]

    def camera(offset: float) -> Iterator[Array]:
        begun = time.perf_counter() + offset / rate
        for index in range(count):
            time.sleep(max(0.0, begun + index / rate - time.perf_counter()))
            yield images[index % len(images)]

    live = StreamRunner(inferencer, {name: camera(i / number) for i, name in enumerate(names)}, latest=True).run()
    delays = [record.stages['latency'] for record in live.values()]
    shown, dropped = (sum(getattr(record, what) for record in live.values()) for what in ('frames', 'dropped'))
    return {
        'streams': number,
        'frames_per_second': frames / seconds,
        'latency_ms': 1e3 * statistics.median(delay.quantile(0.5) for delay in delays),
        'latency_95_ms': 1e3 * max(delay.quantile(0.95) for delay in delays),
        'dropped': dropped / (shown + dropped),
    }


def measure_memory(
    inferencer: MultiTaskInferencer, video: Path, count: int, path: Path, curve: str | None
) -> dict[str, Any]:
    """Return the resident memory along a long run, which reads the video again whenever it has ended."""
    samples: list[tuple[int, float]] = []

    def images() -> Iterator[Array]:
        while True:
            with VideoReader(video) as reader:
                yield from (frame.image for frame in reader)

    def sample(frame: StreamFrame) -> None:
        if frame.number % max(1, count // SAMPLES) == 0:
            pages = int(Path('/proc/self/statm').read_text().split()[1])
            samples.append((frame.number, pages * 4096 / 1e6))

    progress = track(itertools.islice(images(), count), 'frames', total=count)
    with VideoSink(path) as film:
        (record,) = StreamRunner(inferencer, progress).run(sample, film).values()
    assert record.frames == count
    half = np.array(samples[len(samples) // 2 :])
    slope = float(np.polyfit(half[:, 0], half[:, 1], 1)[0])
    if curve is not None:
        x, y = zip(*samples, strict=True)
        draw_panels({'memory of a long stream': [Curve('resident memory, MB', x, y)]}, 'frame', curve)
    return {
        'frames': count,
        'first_mb': samples[1][1],
        'half_mb': float(half[0, 1]),
        'last_mb': float(half[-1, 1]),
        'growth_mb_per_1000_frames': 1000 * slope,
        'samples': samples,
    }


def show(rows: list[dict[str, float]]) -> None:
    """Print a row for each number of streams."""
    table = PrettyTable(['streams', 'files: frames/s', 'cameras: median ms', '95 % ms', 'dropped'])
    table.align = 'r'
    for row in rows:
        latency = [f'{row[key]:.0f}' for key in ('latency_ms', 'latency_95_ms')]
        table.add_row(
            [int(row['streams']), f'{row["frames_per_second"]:.1f}', *latency, f'{100 * row["dropped"]:.0f} %']
        )
    print(table)


if __name__ == '__main__':
    with readable_errors():
        main()
