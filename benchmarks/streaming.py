"""Compare MILA with networks that run on every frame, in one run: measured times and counted costs.

    python benchmarks/streaming.py --threads 1 --clock cpu --json benchmarks/results/streaming_cpu.json

All have random weights (speed does not depend on them), the same optimisation and the same input, and take turns, so
that a busy machine disturbs all alike. Times are medians of the way from normalised pixels to decoded maps. A saving is
1 - MILA's average frame / the alternative's frame, in time and in counted MACs; their ratio tells how much of a counted
saving is real. "Slow only" is MILA's slow network with the same decoder on every frame (the multi-task baseline).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import add_run_arguments, write_results
from prettytable import PrettyTable
from rich.progress import track

from mmmtl.apis import MultiTaskInferencer
from mmmtl.cli.arguments import add_shape_argument, start_clock
from mmmtl.models.segmentors.frame_kinds import IMAGE, KEY, NON_KEY
from mmmtl.profiling import count_cost
from mmmtl.profiling.average import average_frame
from mmmtl.profiling.latency import Latency, average_milliseconds, measure_latency, prediction_steps

CONFIGS = Path(__file__).parents[1] / 'configs'
MILA, SLOW_ONLY = 'MILA', 'D101-MultiTask (slow only)'
CONTENDERS = {
    MILA: 'mila/mila_d101-d18-k5_1xb4-50e_cityscapes-256x512.py',
    SLOW_ONLY: 'baselines/multi-task_d101_1xb4-50e_cityscapes-256x512.py',
    'Cross-Stitch': 'cross_stitch/cross-stitch_d101_1xb4-50e_cityscapes-256x512.py',
    'MTAN': 'mtan/mtan_d101_1xb4-50e_cityscapes-256x512.py',
}
SAVING_GOAL = 0.9  # of the counted saving
KEY_GOAL = 1.1  # times the counted ratio of a key frame to slow only


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_arguments(parser)
    parser.add_argument('--optimize', default='compile', choices=('none', 'fuse', 'compile'), help='for all models')
    parser.add_argument('--dtype', choices=('bfloat16', 'float16'), help='(default: float32)')
    add_shape_argument(parser, '--shape', 'height and width of the images (default: 256 512, of the configs)')
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--warmup', type=int, default=2, help='rounds before those that count')
    args = parser.parse_args()
    if args.dtype and args.optimize == 'none':
        parser.error('--dtype needs --optimize fuse or compile')
    return args


def main() -> None:
    args = parse_args()
    clock = start_clock(args)
    options = dict(
        device=args.device,
        optimize=None if args.optimize == 'none' else args.optimize,
        dtype=args.dtype and getattr(torch, args.dtype),
    )
    steps: dict[tuple[str, str], Callable[[], object]] = {}
    costs: dict[str, dict[str, float]] = {}
    interval = 0
    for name, config in CONTENDERS.items():
        plain = MultiTaskInferencer(CONFIGS / config, device='cpu')
        size = args.shape or plain.model_size
        if size is None:
            raise SystemExit(f'{config}: its test pipeline has no Resize that sets the size')
        cost = count_cost(plain.model.to('meta'), size)
        costs[name] = {kind: macs / 1e9 for kind, macs in cost.total().macs.items()}
        interval = cost.interval or interval
        model = MultiTaskInferencer(CONFIGS / config, **options).model
        steps |= {(name, kind): step for kind, step in prediction_steps(model, size).items()}
    found = measure_latency(
        steps,
        device=args.device,
        rounds=args.rounds,
        warmup=args.warmup,
        clock=clock,
        track=partial(track, description='rounds', disable=not sys.stdout.isatty()),
    )
    rows = compare(found, costs, interval)
    show(rows, interval)
    settings = {key: value for key, value in vars(args).items() if key != 'json'}
    frames = {f'{name}: {kind}': one.to_dict() for (name, kind), one in found.items()}
    write_results(args, settings=settings, size=size, rows=rows, frames=frames)


def compare(
    found: dict[tuple[str, str], Latency], costs: dict[str, dict[str, float]], interval: int
) -> dict[str, dict[str, Any]]:
    """Return milliseconds and GMAC of each contender, and the savings of MILA."""
    rows: dict[str, dict[str, Any]] = {}
    for name, macs in costs.items():
        times = {kind: one for (owner, kind), one in found.items() if owner == name}
        row: dict[str, Any] = {f'{kind}_ms': one.milliseconds() for kind, one in times.items()}
        row |= {f'{kind}_gmac': value for kind, value in macs.items()}
        row['ms'] = times[IMAGE].milliseconds() if IMAGE in times else average_milliseconds(times, interval)
        row['gmac'] = macs[IMAGE] if IMAGE in macs else average_frame(macs, interval)
        peaks = [one.peak for one in times.values() if one.peak is not None]  # none if the system does not report it
        row['peak_mb'] = max(peaks) / 1e6 if peaks else None
        rows[name] = row
    mila = rows[MILA]
    for name, row in rows.items():
        if name != MILA:
            row['saving_ms'], row['saving_gmac'] = 1 - mila['ms'] / row['ms'], 1 - mila['gmac'] / row['gmac']
            row['saving_arrived'] = row['saving_ms'] / row['saving_gmac']
            row['reached'] = row['saving_arrived'] >= SAVING_GOAL
    slow = rows[SLOW_ONLY]
    mila['key_over_slow_ms'], mila['key_over_slow_gmac'] = mila['key_ms'] / slow['ms'], mila['key_gmac'] / slow['gmac']
    mila['reached'] = mila['key_over_slow_ms'] <= KEY_GOAL * mila['key_over_slow_gmac']
    return rows


def show(rows: dict[str, dict[str, Any]], interval: int) -> None:
    """Print the table, and whether MILA's key frames reach their goal."""
    columns = ['ms', 'GMAC', 'ms per GMAC', 'peak MB', "MILA's saving of ms", 'of GMAC', f'ratio, goal {SAVING_GOAL}']
    table = PrettyTable(['frame', *columns])
    table.align = 'r'
    table.align['frame'] = 'l'
    mila = rows[MILA]
    for kind in (KEY, NON_KEY):
        values = mila[f'{kind}_ms'], mila[f'{kind}_gmac']
        rate = values[0] / values[1]
        table.add_row([f'MILA, {kind.replace("_", "-")}', *(f'{v:.1f}' for v in values), f'{rate:.2f}', '', '', '', ''])
    for name, row in rows.items():
        label = f'MILA, average (K = {interval})' if name == MILA else name
        peak = '' if row['peak_mb'] is None else f'{row["peak_mb"]:.0f}'
        cells = [f'{row["ms"]:.1f}', f'{row["gmac"]:.1f}', f'{row["ms"] / row["gmac"]:.2f}', peak]
        saved = [f'{100 * row[f"saving_{unit}"]:.1f} %' for unit in ('ms', 'gmac')] if name != MILA else ['', '']
        verdict = f'{row["saving_arrived"]:.2f} {passed(row["reached"])}' if name != MILA else ''
        table.add_row([label, *cells, *saved, verdict])
    print(table)
    goal = KEY_GOAL * mila['key_over_slow_gmac']
    print(
        f'key frame / slow only: {mila["key_over_slow_ms"]:.3f} in ms, {mila["key_over_slow_gmac"]:.3f} in GMAC; '
        f'goal at most {goal:.3f}: {passed(mila["reached"])}'
    )


def passed(reached: bool) -> str:
    return 'reached' if reached else 'MISSED'


if __name__ == '__main__':
    main()
