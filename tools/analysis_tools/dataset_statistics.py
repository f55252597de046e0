"""Describe the labels of a data set: how much is labelled, ranges of values, and how often each class occurs.

python tools/analysis_tools/dataset_statistics.py CONFIG --split train --out statistics.json

It reads the labels as the data set returns them, before any augmentation.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.registry import init_default_scope
from prettytable import PrettyTable
from rich.progress import track

from mmmtl.cli.arguments import add_config_arguments, check_cli_outputs, config_of
from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import positive
from mmmtl.config import dataset_configs, resolve
from mmmtl.datasets.samplers import evenly_spread
from mmmtl.io import write_text
from mmmtl.registry import DATASETS
from mmmtl.structures import Array
from mmmtl.tasks import Task, build_tasks

LABELS = [dict(type='LoadFrames'), dict(type='LoadMaps')]


class Statistics:
    """Sums over the maps of one task."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.maps = 0
        self.pixels = 0
        self.labelled = 0
        self.sums = np.zeros(0)
        self.least = np.zeros(0)
        self.most = np.zeros(0)
        self.classes: Counter[str] = Counter()
        self.images: Counter[str] = Counter()

    def add(self, array: Array) -> None:
        """Add a map (H, W) or (H, W, 3)."""
        planes = array.reshape(*array.shape[:2], -1)
        known = planes[(planes != self.task.fill).any(axis=-1)]
        self.maps += 1
        self.pixels += planes.shape[0] * planes.shape[1]
        if not len(known):
            return
        low, high = known.min(axis=0).astype(float), known.max(axis=0).astype(float)
        self.least = np.minimum(self.least, low) if self.labelled else low
        self.most = np.maximum(self.most, high) if self.labelled else high
        self.sums = known.sum(axis=0, dtype=np.float64) + (self.sums if self.labelled else 0)
        self.labelled += len(known)
        # Maps of numbers have no classes, and it takes seconds to measure edges.
        if not self.task.dtype.is_floating_point:
            # A label that is scored against itself counts its classes.
            tensor = torch.from_numpy(np.ascontiguousarray(planes.transpose(2, 0, 1))).to(self.task.dtype)
            for name, row in self.task.confusion(self.task.measure(tensor, tensor)).items():
                self.classes[name] += row[name]
                self.images[name] += row[name] > 0

    def summary(self) -> dict[str, Any]:
        """Return plain values for JSON: shares in percent, and classes or ranges of values."""
        found: dict[str, Any] = dict(maps=self.maps, labelled=100 * self.labelled / max(1, self.pixels))
        if self.classes:
            found['classes'] = {
                name: dict(pixels=100 * count / self.labelled, images=100 * self.images[name] / self.maps)
                for name, count in self.classes.items()
            }
        elif self.labelled:
            mean = (self.sums / self.labelled).tolist()
            found['values'] = dict(least=self.least.tolist(), mean=mean, most=self.most.tolist())
        return found


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument('--split', choices=('train', 'val', 'test'), default='train', help='default: train')
    parser.add_argument('--samples', type=positive, help='number of samples to read, evenly spread (default: all)')
    parser.add_argument('--out', metavar='FILE', help='write the numbers there, as .json')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = config_of(args)
    check_cli_outputs(cfg, [args.out])
    cfg = resolve(cfg)
    loader = cfg.get(f'{args.split}_dataloader')
    if loader is None:
        raise SystemExit(f'{args.config}: no {args.split}_dataloader; choose another --split')
    for dataset in dataset_configs(loader.dataset):
        dataset.pipeline = LABELS
        if dataset.get('clip') is not None:
            dataset.clip.single = True
    init_default_scope(cfg.get('default_scope', 'mmmtl'))
    dataset = DATASETS.build(loader.dataset)
    tasks = build_tasks(cfg.tasks, 'the config')
    statistics = {name: Statistics(task) for name, task in tasks.items()}
    sizes: Counter[str] = Counter()
    count = 0
    for maps in label_maps(dataset, args.samples):
        count += 1
        sizes['x'.join(map(str, next(iter(maps.values())).shape[:2]))] += 1
        for name, array in maps.items():
            if name in statistics:
                statistics[name].add(array)
    result = dict(split=args.split, samples=len(dataset), read=count, sizes=dict(sizes.most_common()))
    result['tasks'] = {name: found.summary() for name, found in statistics.items()}
    if args.out:
        write_text(args.out, json.dumps({**result, 'config': args.config}, indent=2) + '\n')
        print(f'written: {args.out}')
    print(f'{args.split}: {len(dataset)} samples, {count} read; sizes: {most(sizes)}')
    for name, found in result['tasks'].items():
        print(table(name, found))


def label_maps(dataset: Any, samples: int | None) -> Iterator[dict[str, Array]]:
    """Yield {task: map} of all samples, or of so many of them."""
    count = len(dataset)
    for i in track(evenly_spread(count, count if samples is None else samples), 'reading labels', transient=True):
        yield dataset[i]['gt_maps']


def most(sizes: Counter[str], limit: int = 5) -> str:
    """Return the most frequent sizes as text."""
    shown = ', '.join(f'{size} ({count})' for size, count in sizes.most_common(limit))
    return shown + (f' and {len(sizes) - limit} more' if len(sizes) > limit else '')


def table(name: str, found: dict[str, Any]) -> str:
    """Format what is known of a task."""
    head = f'{name}: {found["maps"]} maps, {found["labelled"]:.1f} % of their pixels labelled'
    if 'classes' in found:
        shown = PrettyTable(['class', '% of labelled pixels', '% of maps'], align='r')
        shown.align['class'] = 'l'
        for label, share in found['classes'].items():
            shown.add_row([label, f'{share["pixels"]:.3g}', f'{share["images"]:.3g}'])
    elif 'values' in found:
        shown = PrettyTable(['channel', 'least', 'mean', 'most'], align='r')
        columns = (found['values'][key] for key in ('least', 'mean', 'most'))
        for channel, values in enumerate(zip(*columns, strict=True)):
            shown.add_row([channel, *(f'{value:.4g}' for value in values)])
    else:
        return head
    return f'\n{head}\n{shown}'


if __name__ == '__main__':
    with readable_errors():
        main()
