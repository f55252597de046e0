"""Train the methods of a table with one recipe, test them, and keep the figures.

    python benchmarks/training.py image-3 --iterations 100 --batch 2
    python benchmarks/training.py image-3 --iterations 4000 --batch 16 --seeds 0 1 2 --bf16
    python benchmarks/training.py image-3 --print

Each row goes through tools/train.py, tools/test.py and tools/analysis_tools/get_flops.py, as a user would run them. Its
figures are written to the JSON file at once, and a row that is there with the same recipe and seed is not trained
again: runs add up, and an interrupted one can be continued.

A method counts as better than another only if the gap between their means over seeds exceeds twice the larger of their
deviations between seeds; with one seed no order is claimed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from prettytable import PrettyTable
from training_tables import TABLES, Row, Table

from mmmtl.config import resolve
from mmmtl.evaluation import delta_m
from mmmtl.io import write_text
from mmmtl.profiling.measure import describe_machine
from mmmtl.tasks import build_tasks, metric_direction

ROOT = Path(__file__).resolve().parents[1]
Record = dict[str, Any]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table', choices=TABLES)
    parser.add_argument('--rows', nargs='+', metavar='NAME', help='only these methods')
    parser.add_argument('--iterations', type=int, default=2000)
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--workers', type=int, default=2, help='processes that load the data')
    parser.add_argument('--threads', type=int, default=1, help='threads of a CPU run')
    parser.add_argument('--bf16', action='store_true', help='train in bfloat16 (needs a GPU)')
    parser.add_argument('--json', metavar='FILE', help='default: benchmarks/results/training_<table>.json')
    parser.add_argument('--work-dir', default='work_dirs/training', help='where checkpoints and logs go')
    parser.add_argument('--print', action='store_true', help='only print the existing figures')
    args = parser.parse_args()
    args.json = Path(args.json or ROOT / f'benchmarks/results/training_{args.table}.json')
    names = [row.name for row in TABLES[args.table].rows]
    if unknown := sorted(set(args.rows or []) - set(names)):
        parser.error(f'--rows: the table lacks {unknown}; choose from {names}')
    if args.bf16 and not torch.cuda.is_available():
        parser.error('--bf16 needs a GPU')
    return args


def main() -> None:
    args = parse_args()
    table = TABLES[args.table]
    records: list[Record] = json.loads(args.json.read_text()) if args.json.exists() else []
    machine = describe_machine('cuda' if torch.cuda.is_available() else 'cpu')
    device = machine.get('gpu', machine['cpu'])
    recipe = dict(iterations=args.iterations, batch=args.batch, bf16=args.bf16, device=device)
    rows = [row for row in table.rows if args.rows is None or row.name in args.rows]
    for seed in [] if args.print else args.seeds:
        for row in rows:
            key = dict(row=row.name, seed=seed, **recipe)
            if any(key.items() <= record.items() for record in records):
                print(f'{row.name}, seed {seed}: exists already')
                continue
            print(f'{row.name}, seed {seed}: training', flush=True)
            records.append({**key, **run(table, row, seed, args)})
            write_text(args.json, json.dumps(list(records), indent=2) + '\n')
    print_tables(table, records)


def run(table: Table, row: Row, seed: int, args: argparse.Namespace) -> Record:
    """Train and test the models of a row."""
    total: Record = dict(metrics={}, params=0, gmac=0.0, train_s=0.0)
    for tasks in row.models or (table.tasks,):
        name = f'{args.table}_{row.name}_{tasks}_{seed}_{args.iterations}x{args.batch}'.replace('/', '-')
        work_dir = Path(args.work_dir) / name.replace(',', '+')
        common = [row.config, '--tasks', tasks]
        options = [
            f'train_cfg.max_iters={args.iterations}',
            f'param_scheduler.1.end={args.iterations}',
            f'train_dataloader.batch_size={args.batch}',
            f'train_dataloader.num_workers={args.workers}',
            f'train_dataloader.persistent_workers={args.workers > 0}',
            f'default_hooks.checkpoint.interval={args.iterations}',
            f'randomness.seed={seed}',
            *(['optim_wrapper.type=AmpOptimWrapper', 'optim_wrapper.dtype=bfloat16'] if args.bf16 else []),
            *row.options,
        ]
        checkpoint = work_dir / f'iter_{args.iterations}.pth'
        arguments = [*common, '--work-dir', str(work_dir), '--no-validate', '--cfg-options', *options]
        call(args, work_dir, 'tools/train.py', *arguments)
        tested = work_dir / 'metrics.json'
        offsets = ['--offsets', table.offsets] if table.offsets and '-k5_' in row.config else []
        call(
            args,
            work_dir,
            'tools/test.py',
            *[row.config, str(checkpoint), '--tasks', tasks, '--out', str(tested), '--work-dir', str(work_dir)],
            *offsets,
            '--cfg-options',
            f'test_dataloader.num_workers={args.workers}',
            f'test_dataloader.persistent_workers={args.workers > 0}',
            *row.options,
        )
        counted = work_dir / 'cost.json'
        overrides = ['--cfg-options', *row.options] if row.options else []
        call(args, work_dir, 'tools/analysis_tools/get_flops.py', *common, '--json', str(counted), *overrides)
        metrics, cost = json.loads(tested.read_text()), json.loads(counted.read_text())
        metrics.pop('meta')
        total['metrics'] |= metrics
        total['params'] += cost['params']
        total['gmac'] += (cost['macs'].get('average') or cost['macs']['image']) / 1e9
        total['train_s'] += args.iterations * iteration_time(work_dir)
        checkpoint.unlink()
    return total


def call(args: argparse.Namespace, work_dir: Path, *command: str) -> None:
    """Run a tool and log its output to a file; if it fails, show the end of the log."""
    work_dir.mkdir(parents=True, exist_ok=True)
    log = work_dir / f'{Path(command[0]).stem}.log'
    environment = {**os.environ, 'OMP_NUM_THREADS': str(args.threads)}
    with log.open('w') as file:
        done = subprocess.run([sys.executable, *command], cwd=ROOT, stdout=file, stderr=file, env=environment)
    if done.returncode:
        raise SystemExit(f'{" ".join(command)} failed:\n{log.read_text()[-3000:]}\nlog: {log}')


def iteration_time(work_dir: Path) -> float:
    """Return the median seconds of an iteration, with loading, of the newest run in a folder."""
    newest = max(work_dir.glob('*/vis_data/scalars.json'))
    entries = [json.loads(line) for line in newest.read_text().splitlines()]
    return statistics.median(entry['time'] for entry in entries if 'time' in entry)


def print_tables(table: Table, records: Sequence[Record]) -> None:
    """Print a table for each recipe, and the orders that the seeds support."""
    if not records:
        print('no figures yet')
    recipes = defaultdict(list)
    for record in records:
        recipes[tuple(record[key] for key in ('device', 'iterations', 'batch', 'bf16'))].append(record)
    for (device, iterations, batch, bf16), group in recipes.items():
        print(f'\n{device}, {iterations} iterations of {batch}{", bf16" if bf16 else ""}')
        print_table(table, group)


def print_table(table: Table, records: Sequence[Record]) -> None:
    runs = {row.name: [r for r in records if r['row'] == row.name] for row in table.rows}
    runs = {name: found for name, found in runs.items() if found}
    cfg = Config.fromfile(ROOT / table.rows[0].config)
    cfg.use_tasks = table.tasks.split(',')
    tasks = build_tasks(resolve(cfg).tasks, 'the table')
    baseline = table.rows[0].name
    shown = PrettyTable(['method', 'seeds', *table.metrics, 'delta_m', 'params (M)', 'GMAC', 'training (s)'])
    shown.align = 'r'
    shown.align['method'] = 'l'
    for name, found in runs.items():
        cells = [spread([run['metrics'][metric] for run in found]) for metric in table.metrics]
        gain = ''
        if baseline in runs:
            gain = f'{delta_m(means(found), means(runs[baseline]), tasks):+.2f}'
        seconds = statistics.fmean(run['train_s'] for run in found)
        shown.add_row(
            [
                name,
                len(found),
                *cells,
                gain,
                f'{found[0]["params"] / 1e6:.2f}',
                f'{found[0]["gmac"]:.2f}',
                f'{seconds:.0f}',
            ]
        )
    print(shown)
    for metric in table.metrics:
        print(f'{metric}: {"; ".join(orders(metric, runs, metric_direction(metric, tasks))) or "no order is claimed"}')


def means(found: Sequence[Record]) -> dict[str, float]:
    """Return the mean of every metric over the runs."""
    keys = [key for key, value in found[0]['metrics'].items() if value is not None]
    return {key: statistics.fmean(run['metrics'][key] for run in found) for key in keys}


def spread(values: Sequence[float]) -> str:
    """Return the mean, and the deviation if there are several values."""
    mean = f'{statistics.fmean(values):.4g}'
    return f'{mean} ± {statistics.stdev(values):.2g}' if len(values) > 1 else mean


def orders(metric: str, runs: Mapping[str, Sequence[Record]], higher: bool) -> list[str]:
    """Return the pairs of methods whose difference exceeds the spread over seeds."""
    values = {name: [run['metrics'][metric] for run in found] for name, found in runs.items() if len(found) > 1}
    claims = []
    for better, ours in values.items():
        for worse, theirs in values.items():
            gap = (statistics.fmean(ours) - statistics.fmean(theirs)) * (1 if higher else -1)
            if gap > 2 * max(statistics.stdev(ours), statistics.stdev(theirs)) > 0:
                claims.append(f'{better} before {worse}')
    return claims


if __name__ == '__main__':
    main()
