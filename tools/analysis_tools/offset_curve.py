"""Show metrics by offset from the key frame: a table and a figure with one panel for each metric.

    python tools/test.py CONFIG CHECKPOINT --offsets all --out mila.json
    python tools/analysis_tools/offset_curve.py mila=mila.json fast=fast.json --out offsets.svg

A dashed line is the mean over the offsets, which papers report.
"""

from __future__ import annotations

from prettytable import PrettyTable

from mmmtl.cli.arguments import parse_curve_arguments
from mmmtl.cli.errors import readable_errors
from mmmtl.evaluation.metric_files import arrow, choose_metrics, format_metric, metric_paths, read_named
from mmmtl.io import check_outputs
from mmmtl.tasks.metric_keys import by_offset
from mmmtl.visualization.curves import Curve, check_figure_path, draw_panels, offset_curve


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
            table.add_row([metric, curve.label, *map(format_metric, row)])
    if args.out:
        titled = {metric + arrow(metric): curves for metric, curves in panels.items()}
        draw_panels(titled, 'frames since the key frame', args.out, whole_numbers=True)
        print(f'written: {args.out}')
    print(table)


def offset_panels(files: list[tuple[str, dict[str, float]]], wanted: list[str] | None) -> dict[str, list[Curve]]:
    """Return {metric: curves by offset, one for each file that has the metric}."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for name, metrics in files:
        if name in found:
            raise ValueError(f'{name!r} names two files; name each as NAME=metrics.json')
        found[name] = by_offset(metrics)
        if not found[name]:
            raise ValueError(
                f'{name}: no metrics of offsets (offset_0/...); test a video model on clips with --offsets all'
            )
    every = (metric for offsets in found.values() for scores in offsets.values() for metric in scores)
    panels = {
        metric: [offset_curve(name, metrics, metric) for name, metrics in files]
        for metric in choose_metrics(wanted, every)
    }
    return {metric: [curve for curve in curves if curve.x] for metric, curves in panels.items()}


if __name__ == '__main__':
    with readable_errors():
        main()
