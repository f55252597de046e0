"""Ways to deploy a model on a CPU, side by side: milliseconds of each kind of frame, and accuracy on labelled images.

PyTorch eager, fused, compiled and with bfloat16; ONNX Runtime with float32 and int8.
All take turns at every frame of a video. Accuracy is that of the test set: each labelled image is the first frame of a
stream and, for a video model, once more the second one, so that both networks are scored.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from common import write_results
from mmengine.config import Config
from prettytable import PrettyTable
from rich.progress import track

from mmmtl.apis import MultiTaskInferencer, optimize_for_inference, read_frames, zoo_weights
from mmmtl.cli.arguments import add_config_arguments, config_of
from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import positive
from mmmtl.commands.export import synthetic_video
from mmmtl.config import resolve
from mmmtl.export import OnnxStream, export_model
from mmmtl.export.compare import Stream, TorchStream, compare
from mmmtl.export.quantizing import quantize
from mmmtl.io import source_name
from mmmtl.models import MultiTaskSegmentor
from mmmtl.registry import DATASETS
from mmmtl.structures import Array

CONTENDERS = ('fuse', 'compile', 'bfloat16', 'onnx', 'onnx int8')
EAGER = 'PyTorch'
CHECKED = 3
"""Frames with which the exported graphs are checked; `compare` checks them with all."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', nargs='?', help='weights (default: those of the named model)')
    parser.add_argument('--frames', metavar='VIDEO', help='to time with, and to calibrate int8 (default: synthetic)')
    parser.add_argument('--calibration', metavar='VIDEO', help='to calibrate int8 (default: as --frames)')
    parser.add_argument('--max-frames', type=positive, default=100, metavar='N', help='of a video (default: 100)')
    parser.add_argument('--labelled', type=int, default=0, metavar='N', help='images of the test set (default: none)')
    parser.add_argument('--threads', type=positive, nargs='+', default=[1, 2], help='(default: 1 2)')
    parser.add_argument('--only', nargs='+', choices=CONTENDERS, default=CONTENDERS, help='contenders (default: all)')
    clock = 'cpu: process time with one thread, fairer on a shared machine; more threads are always timed by the wall'
    parser.add_argument('--clock', default='wall', choices=('wall', 'cpu'), help=clock)
    parser.add_argument('--json', type=Path, help='also write the results there')
    parser.set_defaults(device='cpu')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = config_of(args)
    inferencer = MultiTaskInferencer(cfg, args.checkpoint or zoo_weights(args.config), device='cpu')
    model, size = inferencer.model, inferencer.model_size
    samples = list(itertools.islice(labelled(cfg), args.labelled)) if args.labelled else []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / 'exported'
        export_model(inferencer, folder, frames_of(args.frames, CHECKED, size), name=Path(args.config).stem)
        stretched = OnnxStream(folder, stretch=True)
        frames, calibration = (
            [stretched.prepare(frame[..., ::-1])[0] for frame in frames_of(video, args.max_frames, size)]
            for video in (args.frames, args.calibration or args.frames)
        )
        if 'onnx int8' in args.only:
            (folder / 'int8').mkdir()
            quantize(folder, folder / 'int8', calibration)
        rows: list[dict[str, Any]] = []
        for threads in args.threads:
            torch.set_num_threads(threads)
            streams = make_streams(model, folder, args.only, threads)
            clock = time.process_time if args.clock == 'cpu' and threads == 1 else time.perf_counter
            found = compare(
                model, streams, track(frames, f'{threads} threads', disable=not sys.stdout.isatty()), clock=clock
            )
            rows += [{'name': name, 'threads': threads, **one._asdict()} for name, one in found.items()]
        show_times(rows)
        torch.set_num_threads(max(args.threads))
        scores = {}
        if samples:
            scores = accuracy(model, {EAGER: TorchStream(model), **streams}, samples)
            show_accuracy(scores)
    settings = {key: value for key, value in vars(args).items() if key not in ('json', 'cfg_options')}
    # The names of files, not their places.
    files = 'checkpoint', 'frames', 'calibration'
    settings |= {key: Path(source_name(settings[key])).name for key in files if settings[key] is not None}
    write_results(args, settings=settings, rows=rows, accuracy=scores)


def frames_of(video: str | None, count: int, size: tuple[int, int] | None) -> Iterable[Array]:
    """Return frames (H, W, 3) uint8 BGR."""
    return synthetic_video(count, size) if video is None else itertools.islice(read_frames(video), count)


def make_streams(model: MultiTaskSegmentor, folder: Path, names: Iterable[str], threads: int) -> dict[str, Stream]:
    """Return the contenders but for PyTorch eager."""
    streams: dict[str, Stream] = {}
    for name in names:
        if name in ('fuse', 'compile'):
            faster = optimize_for_inference(copy.deepcopy(model), name)  # type: ignore[arg-type]
            streams[name] = TorchStream(faster)
        elif name == 'bfloat16':
            streams[name] = TorchStream(model, torch.bfloat16)
        else:
            streams[name] = OnnxStream(folder / 'int8' if name == 'onnx int8' else folder, threads=threads)
    return streams


def labelled(cfg: Config) -> Iterator[Any]:
    """Yield the labelled images of the test set, each alone."""
    settings = copy.deepcopy(resolve(cfg).test_dataloader.dataset)
    settings.clip = None
    settings.pipeline = [one for one in settings.pipeline if one.type != 'StillToClip']
    dataset = DATASETS.build(settings)
    return (dataset[number] for number in range(len(dataset)))


def accuracy(
    model: MultiTaskSegmentor, streams: Mapping[str, Stream], samples: Iterable[Any]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return {stream: {kind of frame: {metric: value}}} of labelled images."""
    kinds, tasks = model.frame_kinds, model.main_tasks
    totals: dict[tuple[str, str, str], torch.Tensor] = {}
    for sample in samples:
        inputs = model.data_preprocessor({'inputs': [sample['inputs']]})['inputs']
        labels, shown = sample['data_samples'].gt, tuple(sample['inputs'].shape[-2:])
        for name, stream in streams.items():
            state = None
            for kind in kinds:
                logits, _, state = stream.advance(inputs.numpy(), state)
                raw = {task: torch.from_numpy(array) for task, array in logits.items()}
                maps = model.decode(raw, inputs.shape[-2:], [shown], [labels.shape])[0]
                for task, one in tasks.items():
                    measured = one.measure(maps.get(task), labels.get(task))
                    key = name, kind, task
                    totals[key] = totals.get(key, torch.zeros_like(measured)) + measured
    scores: dict[str, dict[str, dict[str, float]]] = {name: {kind: {} for kind in kinds} for name in streams}
    for (name, kind, task), total in totals.items():
        metric = tasks[task].primary_metric
        scores[name][kind][f'{task}/{metric}'] = tasks[task].summarize(total)[metric]
    return scores


def show_times(rows: list[dict[str, Any]]) -> None:
    """Print milliseconds of each kind of frame."""
    kinds = list(rows[0]['milliseconds'])
    table = PrettyTable(['', 'threads', *(f'{kind} ms' for kind in kinds)], align='r')
    for row in rows:
        table.add_row([row['name'], row['threads'], *(f'{row["milliseconds"][kind]:.1f}' for kind in kinds)])
    print(table, flush=True)


def show_accuracy(scores: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Print the primary metric of each task and kind of frame."""
    metrics = [(kind, metric) for kind, found in next(iter(scores.values())).items() for metric in found]
    table = PrettyTable(['', *(f'{kind} {metric}' for kind, metric in metrics)], align='r')
    for name, found in scores.items():
        table.add_row([name, *(f'{found[kind][metric]:.3f}' for kind, metric in metrics)])
    print(table)


if __name__ == '__main__':
    with readable_errors():
        main()
