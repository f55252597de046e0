"""Show metrics against the cost of a frame, for key-frame policies: a table and a figure with a panel per metric.

    for K in 1 2 5 10; do
        python tools/test.py CONFIG CHECKPOINT --stream --out k$K.json --cfg-options key_frame_interval=$K
    done
    python tools/test.py CONFIG CHECKPOINT --stream --out change.json \\
        --cfg-options model.key_frame_policy.type=FrameChange model.key_frame_policy.threshold=0.3
    python tools/analysis_tools/cost_curve.py fixed=k1.json fixed=k2.json fixed=k5.json fixed=k10.json \\
        change=change.json --out policies.svg

Files with the same name make one curve.
"""

from __future__ import annotations

from prettytable import PrettyTable

from mmmtl.cli.arguments import parse_curve_arguments
from mmmtl.cli.errors import readable_errors
from mmmtl.evaluation.metric_files import arrow, choose_metrics, format_metric, metric_paths, read_named
from mmmtl.io import check_outputs
from mmmtl.visualization.curves import Curve, check_figure_path, draw_panels

COST, RATIO = 'stream/GMAC', 'stream/key_frame_ratio'


def main() -> None:
    args = parse_curve_arguments(__doc__, '--stream')
    if args.out:
        check_figure_path(args.out)
        check_outputs([args.out], metric_paths(args.files))
    files = read_named(args.files)
    if lacking := [name for name, metrics in files if COST not in metrics]:
        raise ValueError(f'{lacking[0]}: no {COST}; test on whole videos with tools/test.py --stream')
    files.sort(key=lambda file: file[1][COST])
    found = (key for _, metrics in files for key in metrics if not key.startswith('stream/'))
    chosen = choose_metrics(args.metrics, found)
    table = PrettyTable(['of', 'GMAC per frame', 'key frames (%)', *chosen])
    table.align = 'r'
    table.align['of'] = 'l'
    for name, metrics in files:
        row = [metrics[COST], *([100 * metrics[RATIO]] if RATIO in metrics else [None]), *map(metrics.get, chosen)]
        table.add_row([name, *map(format_metric, row)])
    if args.out:
        draw_panels({metric + arrow(metric): curves(files, metric) for metric in chosen}, 'GMAC per frame', args.out)
        print(f'written: {args.out}')
    print(table)


def curves(files: list[tuple[str, dict[str, float]]], metric: str) -> list[Curve]:
    """Return a curve against cost for each name, of the files that have the metric, sorted by cost."""
    points: dict[str, list[tuple[float, float]]] = {}
    for name, metrics in files:
        if metric in metrics:
            points.setdefault(name, []).append((metrics[COST], metrics[metric]))
    return [Curve(name, [x for x, _ in found], [y for _, y in found]) for name, found in points.items()]


if __name__ == '__main__':
    with readable_errors():
        main()
