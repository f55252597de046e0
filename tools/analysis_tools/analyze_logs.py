"""Show the logs of training runs: a table of the last and the best value of each key, times, and a figure of curves.

python tools/analysis_tools/analyze_logs.py work_dirs/mila fast=work_dirs/fast --keys loss semseg/mIoU --out curves.svg
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from prettytable import PrettyTable

from mmmtl._suggestions import did_you_mean
from mmmtl.cli.errors import readable_errors
from mmmtl.evaluation.metric_files import arrow, direction, format_metric
from mmmtl.io import check_outputs
from mmmtl.io.files import named_path
from mmmtl.reporting.logs import Series, is_loss, is_metric, read_logs
from mmmtl.visualization.curves import Curve, check_figure_path, draw_panels


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', metavar='[NAME=]FOLDER', help='work folder of tools/train.py')
    parser.add_argument('--keys', nargs='+', help='only these, such as loss lr semseg/mIoU (default: losses, metrics)')
    parser.add_argument('--out', metavar='FILE', help='write curves there (.png, .svg, .pdf)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.out:
        check_figure_path(args.out)
        check_outputs([args.out])
    runs = read_runs(args.runs)
    keys = choose_keys(args.keys, (key for series in runs.values() for key in series))
    if args.out:
        panels = {key + arrow(key): curves(runs, key) for key in keys}
        draw_panels(panels, 'iterations or epochs', args.out)
        print(f'written: {args.out}')
    print(table(runs, keys))
    for name, series in runs.items():
        if times := [*series.get('time', {}).values()]:
            waiting = statistics.median(series.get('data_time', {0: 0.0}).values())
            print(f'{name}: {statistics.median(times):.4g} s an iteration, {waiting:.3g} s for data (medians)')


def read_runs(arguments: Sequence[str]) -> dict[str, Series]:
    """Return {name: log} of the command line."""
    runs: dict[str, Series] = {}
    for argument in arguments:
        name, folder = named_path(argument)
        series = read_logs(Path(folder))
        if not series:
            raise ValueError(f'{folder}: no */vis_data/scalars.json; give the work folder of tools/train.py')
        if (name or folder) in runs:
            raise ValueError(f'{name or folder!r} names two runs; name each as NAME={folder}')
        runs[name or folder] = series
    return runs


def choose_keys(wanted: Sequence[str] | None, found: Iterable[str]) -> list[str]:
    """Return the wanted keys, by default losses and metrics; refuse those that no log has."""
    known = list(dict.fromkeys(found))
    for key in wanted or ():
        if key not in known:
            raise ValueError(f'no log has {key!r}; {did_you_mean(key, known)}')
    return list(dict.fromkeys(wanted or ()) or (key for key in known if is_loss(key) or is_metric(key)))


def table(runs: Mapping[str, Series], keys: Sequence[str]) -> str:
    """Format a row for each key and run; the best is the highest where higher is better, else the lowest."""
    shown = PrettyTable(['key', 'of', 'last', 'best', 'best at', 'records'], align='r')
    shown.align['key'] = shown.align['of'] = 'l'
    for key in keys:
        for name, series in runs.items():
            if not (values := series.get(key)):
                continue
            at = (max if direction(key) else min)(values, key=values.__getitem__)
            has_best = is_loss(key) or direction(key) is not None
            best = [format_metric(values[at]), at] if has_best else ['', '']
            shown.add_row([key + arrow(key), name, format_metric(values[max(values)]), *best, len(values)])
    return str(shown)


def curves(runs: Mapping[str, Series], key: str) -> list[Curve]:
    """Return a curve over the steps for each run, empty where its log has no such key."""
    found = {name: series.get(key, {}) for name, series in runs.items()}
    return [Curve(name, [*values], [*values.values()]) for name, values in found.items()]


if __name__ == '__main__':
    with readable_errors():
        main()
