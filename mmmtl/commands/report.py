"""Write a report of one run, or of several side by side, as one HTML file that needs no network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmmtl.cli.errors import readable_errors
from mmmtl.evaluation import load_baseline
from mmmtl.io import check_outputs
from mmmtl.io.files import named_path
from mmmtl.reporting import read_run, write_report


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument(
        'runs',
        nargs='+',
        metavar='[NAME=]RUN',
        help='work folder of a training run, and of a test with `mmmtl test --report`; the first is what Δm refers to',
    )
    parser.add_argument(
        '--baseline',
        nargs='+',
        metavar='METRICS',
        help='what Δm refers to: metrics.json of a model, or of each single-task model, or a published table',
    )
    parser.add_argument('--title', default='mmmtl report', help='of the page')
    parser.add_argument('--out', type=Path, metavar='FILE.html', help='(default: report.html in the first work folder)')
    args = parser.parse_args(arguments)
    named = [named_path(run) for run in args.runs]
    folders = [Path(path) for _, path in named]
    out = args.out or folders[0] / 'report.html'
    if out.suffix != '.html':
        raise SystemExit(f'{out}: a report must end in .html')
    with readable_errors():
        inputs = [path for folder in folders for path in (folder, folder / 'metrics.json')]
        check_outputs([out], [*inputs, *(args.baseline or [])])
        baseline = load_baseline(args.baseline) if args.baseline else None
        runs = [read_run(folder, name or None) for (name, _), folder in zip(named, folders, strict=True)]
        write_report(out, runs, title=args.title, baseline=baseline)
    print(f'written: {out}')
