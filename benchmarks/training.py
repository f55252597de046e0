"""Train the rows of a table with several seeds, keep their scores, and report which orders of the papers hold.

    python benchmarks/training.py video-tiny --seeds 5
    python benchmarks/training.py video-tiny --seeds 3 --rows 'MILA, slow only, fast only'
    python benchmarks/training.py video --cfg-options train_dataloader.batch_size=8
    python benchmarks/training.py video-tiny --list
    python benchmarks/training.py report

`make reproduce TABLE=video-tiny SEEDS=5 ROWS='MILA, slow only'` does the same. Two runs train side by side. After
Ctrl-C, or worse, the same command goes on at the last checkpoints and leaves out runs that have finished. Their scores
are in benchmarks/results/ at once, and add up over calls. A run is known by its row, its seed, its iterations and a
hash of its config, so scores of different settings never mix. docs/results.md is written from these files whenever a
run has finished, and by `report`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from mmengine.config import DictAction
from training_papers import stands_for
from training_queue import train_all
from training_report import write_report
from training_runs import RESULTS, ROOT, Run, Settings, finished_seeds, read_records, results_file
from training_tables import TABLES

from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import positive


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table', choices=[*TABLES, 'report'], help="a table, or 'report' to write docs/results.md")
    parser.add_argument('--rows', metavar='NAME, NAME', help='only these rows, in this order (default: all)')
    parser.add_argument(
        '--seeds', type=positive, default=1, metavar='N', help='train with seeds 0 to N - 1 (default: 1)'
    )
    parser.add_argument('--iterations', type=positive, metavar='N', help="of each run (default: the table's)")
    parser.add_argument('--jobs', type=positive, default=2, metavar='N', help='runs side by side (default: 2)')
    parser.add_argument('--threads', type=positive, default=1, metavar='N', help='CPU threads of each run (default: 1)')
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/training', help='for checkpoints and logs')
    parser.add_argument(
        '--results', type=Path, default=RESULTS, help='folder for the scores; the report reads the default'
    )
    parser.add_argument('--list', action='store_true', help='only list the rows and what has finished')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE', help='change every config'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.table == 'report':
        print(f'written: {write_report()}')
        return
    table = TABLES[args.table]
    settings = Settings(table, args.iterations or table.iterations, args.cfg_options)
    rows = list(table.rows)
    if args.rows:
        names = split_rows(args.rows, [row.name for row in table.rows])
        rows = [table.row(name) for name in names]
    seeds = range(args.seeds)
    runs = [Run(settings, row, seed, args.work_dir.resolve()) for seed in seeds for row in rows]
    path = results_file(table, args.results)
    if args.list:
        records = read_records(path)
        for row in rows:
            done = finished_seeds(records, settings, row)
            print(f'{row.name}: {stands_for(table, row.name)}; finished seeds: {done or "none"}')
        return
    report = report_anew if args.results == RESULTS else lambda: None
    try:
        failed = train_all(runs, path, jobs=args.jobs, threads=args.threads, after_each=report)
    except KeyboardInterrupt:
        print('Interrupted; the same command goes on at the last checkpoints.')
        sys.exit(130)
    print(f"scores: {path}; docs/results.md has those of the table's own settings")
    if failed:
        sys.exit(f'failed: {"; ".join(run.name for run in failed)}')


def report_anew() -> None:
    """Write the report in a process of its own, whose failure or interruption cannot end the queue."""
    subprocess.run([sys.executable, __file__, 'report'], stdout=subprocess.DEVNULL)


def split_rows(text: str, names: list[str]) -> list[str]:
    """Return the names in a list with commas, some of which are part of names; exit at one that the table lacks."""
    found = []
    rest = text.strip()
    while rest:
        fitting = [name for name in names if rest == name or rest.startswith((f'{name},', f'{name} ,'))]
        if not fitting:
            raise SystemExit(f'--rows: the table has no row {rest!r}; choose from {names}')
        found.append(max(fitting, key=len))
        rest = rest[len(found[-1]) :].strip().removeprefix(',').strip()
    return found


if __name__ == '__main__':
    with readable_errors():
        main()
