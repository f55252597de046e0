"""Show metrics by offset from the key frame: a table and a figure with one panel for each metric.

    python tools/test.py CONFIG CHECKPOINT --offsets all --out mila.json
    python tools/analysis_tools/offset_curve.py mila=mila.json fast=fast.json --out offsets.svg

A dashed line is the mean over the offsets, which papers report.
"""

from __future__ import annotations

import re

from prettytable import PrettyTable

from mmmtl.cli.arguments import parse_curve_arguments
from mmmtl.cli.errors import readable_errors
from mmmtl.evaluation.metric_files import arrow, choose_metrics, metric_paths, read_named
from mmmtl.io import check_outputs
from mmmtl.visualization.curves import Curve, check_figure_path, draw_panels


def main() -> None:
    args = parse_curve_arguments(__doc__, '--offsets all')
    if args.out:
        check_figure_path(args.out)
        check_outputs([args.out], metric_paths(args.files))
    panels = offset_panels(read_named(args.files), args.metrics)
    offsets = sorted({int(x) for curves in panels.values() for curve in curves for x in curve.x})
    table = PrettyTable(['metric', 'of', 'mean of offsets', *(f'offset {o}' for o in offsets)])
    table.align = 'r'
    table.align['metric'] = table.align['of'] = 'l'
    for metric, curves in panels.items():
        for curve in curves:
            values = dict(zip(curve.x, curve.y, strict=True))
            row = [curve.level, *(values.get(o) for o in offsets)]
            table.add_row([metric, curve.label, *('' if v is None else f'{v:.4g}' for v in row)])
    print(table)
    if args.out:
        titled = {metric + arrow(metric): curves for metric, curves in panels.items()}
        draw_panels(titled, 'frames since the key frame', args.out, whole_numbers=True)
        print(f'written: {args.out}')


def offset_panels(files: list[tuple[str, dict[str, float]]], wanted: list[str] | None) -> dict[str, list[Curve]]:
    """Return {metric: curves by offset, one for each file that has the metric}."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for name, metrics in files:
        if name in found:
            raise ValueError(f'{name!r} names two files; name each as NAME=metrics.json')
        found[name] = {}
        for key, value in metrics.items():
            if match := re.fullmatch(r'offset_(\d+)/(.+)', key):
                found[name].setdefault(match[2], {})[int(match[1])] = value
        if not found[name]:
            raise ValueError(
                f'{name}: no metrics of offsets (offset_0/...); test a video model on clips with --offsets all'
            )
    means = dict(files)
    panels = {}
    for metric in choose_metrics(wanted, (metric for curves in found.values() for metric in curves)):
        points = {name: sorted(curves[metric].items()) for name, curves in found.items() if metric in curves}
        panels[metric] = [
            Curve(name, [x for x, _ in curve], [y for _, y in curve], means[name].get(metric))
            for name, curve in points.items()
        ]
    return panels


if __name__ == '__main__':
    with readable_errors():
        main()
