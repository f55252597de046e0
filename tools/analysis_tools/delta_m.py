"""Compare methods by delta_m, their mean relative gain over a baseline: a table of the tasks' primary metrics.

The config defines the tasks, the primary metric of each, and its direction:

    python tools/analysis_tools/delta_m.py CONFIG sca=work_dirs/sca/metrics.json other/metrics.json sca_table1 \\
        --baseline semseg/metrics.json depth/metrics.json --cfg-options tasks.depth.primary_metric=rmse
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from mmmtl import __version__
from mmmtl.cli.arguments import add_config_arguments, check_cli_outputs, config_of
from mmmtl.cli.errors import readable_errors
from mmmtl.config import resolve
from mmmtl.evaluation import PUBLISHED, Baseline, compare, comparison_table, delta_m_meta, load_baseline, read_metrics
from mmmtl.evaluation.metric_files import metric_paths
from mmmtl.io import write_text
from mmmtl.io.files import named_path
from mmmtl.tasks import build_tasks


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument(
        'methods',
        nargs='*',
        metavar='[NAME=]METRICS',
        help=f'metrics.json of a method, or a published table, for all its methods: {", ".join(PUBLISHED)}',
    )
    parser.add_argument(
        '--baseline',
        nargs='+',
        required=True,
        metavar='METRICS',
        help='metrics.json, several of them (one for each single-task model), or the name of a published table',
    )
    parser.add_argument('--out', metavar='FILE', help='write the table there, as .md or .json')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.out and Path(args.out).suffix not in ('.md', '.json'):
        raise SystemExit(f'--out must end in .md or .json, not {args.out!r}')
    cfg = config_of(args)
    check_cli_outputs(cfg, [args.out], inputs=[*args.baseline, *metric_paths(args.methods)])
    tasks = build_tasks(resolve(cfg).tasks, 'the config')
    baseline = load_baseline(args.baseline)
    rows = compare(read_methods(args.methods, baseline), baseline, tasks)
    if args.out:
        if Path(args.out).suffix == '.md':
            text = comparison_table(rows, tasks, markdown=True)
        else:
            meta = dict(config=args.config, mmmtl=__version__, delta_m=delta_m_meta(baseline.name, tasks))
            text = json.dumps({'methods': rows, 'meta': meta}, indent=2)
        write_text(args.out, text + '\n')
        print(f'written: {args.out}')
    print(comparison_table(rows, tasks))


def read_methods(arguments: Sequence[str], baseline: Baseline) -> dict[str, dict[str, float]]:
    """Return {method: metrics} of the command line; a published table gives all rows except the baseline."""
    methods: dict[str, dict[str, float]] = {}
    for argument in arguments:
        name, path = named_path(argument)
        if table := PUBLISHED.get(argument):
            found = {f'{argument}: {method}': table.metrics(method) for method in table.rows}
            found = {method: metrics for method, metrics in found.items() if metrics != baseline.metrics}
        else:
            found = {name or path: read_metrics(path)}
        if twice := sorted(found.keys() & methods.keys() | found.keys() & {baseline.name}):
            raise ValueError(f'{twice[0]!r} names two methods, or the baseline too; name each as NAME={path}')
        methods |= found
    return methods


if __name__ == '__main__':
    with readable_errors():
        main()
