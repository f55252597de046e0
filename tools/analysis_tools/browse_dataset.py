"""Draw the samples of a data set after the pipeline, as a model gets them, with the labels of every task.

Training samples come in the order, and with the augmentation, of a training run. A clip is shown as a strip of its
three frames; empty slots are grey.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import strftime
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.visualization import Visualizer
from rich.progress import track

from mmmtl.cli.arguments import add_config_arguments, check_cli_outputs, config_of
from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import positive
from mmmtl.config import resolve
from mmmtl.config.components import check_components
from mmmtl.io import check_new_folder, write_png
from mmmtl.registry import DATA_SAMPLERS, DATASETS
from mmmtl.structures import Array, MultiTaskDataSample
from mmmtl.tasks import Task, build_tasks
from mmmtl.visualization import Painter, Tile, frame_title, grid

GREY = 128


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train', help='which data loader (train)')
    parser.add_argument('--number', type=positive, default=20, metavar='N', help='how many samples (20)')
    parser.add_argument('--output-dir', metavar='DIR', help='new folder for PNG panels (work_dirs/browse/TIME)')
    parser.add_argument('--show', action='store_true', help='show them in a window; press space for the next')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = resolve(config_of(args))
    # Panels are written unless --show is given alone.
    new = args.output_dir or (None if args.show else strftime('work_dirs/browse/%Y%m%d_%H%M%S'))
    folder = None if new is None else Path(new)
    check_cli_outputs(cfg, [folder])
    if folder is not None:
        check_new_folder(folder)  # panels of several configs could not be told apart
    init_default_scope(cfg.get('default_scope', 'mmmtl'))
    loader = cfg.get(f'{args.split}_dataloader')
    if not loader:
        raise SystemExit(f'{args.config}: no {args.split}_dataloader; choose another --split')
    check_components(Config(dict(loader=loader)))
    tasks = build_tasks(cfg.tasks, 'the config')
    window = open_window() if args.show else None
    dataset, order = draw_samples(loader, cfg.get('randomness', {}).get('seed') or 0)
    number = min(args.number, len(dataset))
    for position, index in enumerate(track(itertools.islice(order, number), args.split, total=number)):
        item = dataset[index]
        sample = item['data_samples']
        panel = sample_panel(item['inputs'].numpy(), sample, tasks)
        name = f'{args.split}_{position:04d}_{sample.video}_{sample.time:06d}'.replace('/', '-')
        if folder is not None:
            write_png(folder / f'{name}.png', panel[..., ::-1])
        if window is not None:
            window.show(panel, win_name=name)
    if folder is not None:
        print(f'{number} panels: {folder}')


def open_window() -> Visualizer:
    """Open a window; without a display mmengine would wait forever."""
    if plt.get_backend().lower() == 'agg':
        raise SystemExit('--show: no display here; write panels with --output-dir DIR instead')
    return Visualizer()


def draw_samples(loader: Mapping[str, Any], seed: int) -> tuple[Any, Iterator[int]]:
    """Return the data set and its indices in the order of a run, numbered for the augmentation."""
    dataset = DATASETS.build(loader['dataset'])
    sampler = DATA_SAMPLERS.build({'seed': seed, **loader['sampler'], 'dataset': dataset})
    return dataset, iter(sampler)


def sample_panel(inputs: Array, sample: MultiTaskDataSample, tasks: Mapping[str, Task]) -> Array:
    """Draw the labels of every task beside the image, or below the frames of the clip: (H, W, 3) uint8 RGB.

    Args:
        inputs: (3, H, W) or (3, 3, H, W) uint8 BGR.
        sample: has `gt`, and `offset` and `slots` if it is a clip.
        tasks: {name: task}.
    """
    frames = [np.ascontiguousarray(frame[::-1].transpose(1, 2, 0)) for frame in inputs.reshape(-1, *inputs.shape[-3:])]
    title = frame_title(sample.get('video', ''), sample.get('time'), since_key=sample.get('offset'))
    labels = Painter(tasks).tiles(frames[-1], {'label': {name: m.numpy() for name, m in sample.gt.items()}})[0]
    if 'offset' not in sample:
        return grid([[Tile('input', frames[-1]), *labels]], title=title)
    strip = []
    names = ('last key', 'last non-key', 'current')
    for name, time, frame in zip(names, sample.slots, frames, strict=True):
        if time is None:
            strip.append(Tile(f'{name}: none', np.full_like(frame, GREY)))
        else:
            strip.append(Tile(name if name == 'current' else f'{name} t{time:+d}', frame))
    return grid([strip, labels], title=title, mark=sample.offset == 0)


if __name__ == '__main__':
    with readable_errors():
        main()
