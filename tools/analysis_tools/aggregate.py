"""Aggregate runs with several seeds: mean, standard deviation, and paired differences from a baseline, per metric.

    python tools/analysis_tools/aggregate.py mila=mila0/metrics.json mila=mila1/metrics.json \\
        fast=fast0/metrics.json fast=fast1/metrics.json --baseline fast

Files of one name are the seeds of one method, in the same order for every method: the first file of each is a pair, and
so on. A difference is the mean over the pairs, with its 95 % interval by Student's t; * marks one that excludes zero.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prettytable import PrettyTable, TableStyle

from mmmtl.cli.errors import readable_errors
from mmmtl.evaluation.metric_files import arrow, choose_metrics, format_metric, metric_paths, read_named
from mmmtl.evaluation.statistics import Difference, paired_difference, spread
from mmmtl.io import check_outputs, write_text

Seeds = Mapping[str, Mapping[int, float]]
"""{metric: {number of the seed: value}}."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('files', nargs='+', metavar='NAME=METRICS', help='metrics.json of tools/test.py --out')
    parser.add_argument('--baseline', metavar='NAME', help='the method that the others are compared with')
    parser.add_argument('--metrics', nargs='+', help='only these, such as semseg/mIoU depth/abs_err (default: all)')
    parser.add_argument('--out', metavar='FILE', help='write the table there, as .md or .json')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.out and Path(args.out).suffix not in ('.md', '.json'):
        raise SystemExit(f'--out must end in .md or .json, not {args.out!r}')
    check_outputs([args.out], metric_paths(args.files))
    methods = read_methods(args.files)
    if args.baseline is not None and args.baseline not in methods:
        raise ValueError(f'--baseline {args.baseline}: not among the methods {list(methods)}')
    chosen = choose_metrics(args.metrics, (metric for seeds in methods.values() for metric in seeds))
    rows = [row for metric in chosen for row in rows_of(metric, methods, args.baseline)]
    if args.out:
        markdown = table(rows, args.baseline, markdown=True)
        text = markdown if Path(args.out).suffix == '.md' else json.dumps(rows, indent=2, allow_nan=False)
        write_text(args.out, text + '\n')
        print(f'written: {args.out}')
    print(table(rows, args.baseline))


def read_methods(arguments: Sequence[str]) -> Mapping[str, Seeds]:
    """Return {method: its seeds} of the command line."""
    if bare := [argument for argument in arguments if '=' not in argument]:
        raise ValueError(f'{bare[0]}: say which method it is a seed of, as NAME={bare[0]}')
    methods: dict[str, dict[str, dict[int, float]]] = {}
    counts: dict[str, int] = {}
    for name, metrics in read_named(arguments):
        seed = counts[name] = counts.get(name, -1) + 1
        for metric, value in metrics.items():
            methods.setdefault(name, {}).setdefault(metric, {})[seed] = value
    return methods


def rows_of(metric: str, methods: Mapping[str, Seeds], baseline: str | None) -> list[dict[str, Any]]:
    """Return a row of plain values for each method that has the metric."""
    rows = []
    for name, seeds in methods.items():
        if metric not in seeds:
            continue
        mean, deviation = spread([*seeds[metric].values()])
        gap = None
        if baseline not in (None, name):
            gap = paired_difference(seeds[metric], methods[baseline].get(metric, {}))
        difference = None if gap is None else plain(gap)
        numbers = dict(runs=len(seeds[metric]), mean=mean, deviation=deviation)
        rows.append(dict(metric=metric, method=name, **numbers, difference=difference))
    return rows


def plain(gap: Difference) -> dict[str, float | int | None]:
    """Return a difference for JSON, in which a single pair has no interval."""
    return {**asdict(gap), **({'low': None, 'high': None} if gap.pairs < 2 else {})}


def table(rows: Sequence[Mapping[str, Any]], baseline: str | None, *, markdown: bool = False) -> str:
    """Format the rows."""
    compared = [] if baseline is None else [f'difference from {baseline}', '95 % interval', 'pairs']
    shown = PrettyTable(['metric', 'method', 'runs', 'mean', 'standard deviation', *compared], align='r')
    shown.align['metric'] = shown.align['method'] = 'l'
    if markdown:
        shown.set_style(TableStyle.MARKDOWN)
    for row in rows:
        deviation = '' if row['deviation'] is None else f'{row["deviation"]:.3g}'
        name, mean = row['metric'] + arrow(row['metric']), format_metric(row['mean'])
        cells = [name, row['method'], row['runs'], mean, deviation]
        if baseline is not None:
            cells += ['', '', ''] if row['difference'] is None else difference_cells(row['difference'])
        shown.add_row(cells)
    return str(shown)


def difference_cells(gap: Mapping[str, Any]) -> list[str]:
    """Return the cells of a difference; one pair has no interval."""
    if gap['low'] is None:
        return [f'{gap["mean"]:+.3g}', '', str(gap['pairs'])]
    clear = ' *' if gap['low'] > 0 or gap['high'] < 0 else ''
    return [f'{gap["mean"]:+.3g}{clear}', f'{gap["low"]:+.3g} to {gap["high"]:+.3g}', str(gap['pairs'])]


if __name__ == '__main__':
    with readable_errors():
        main()
