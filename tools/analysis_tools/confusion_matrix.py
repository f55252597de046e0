"""Show which classes a model confuses: a table of the most frequent confusions, and a figure of the matrix.

python tools/test.py CONFIG CHECKPOINT --out metrics.json
python tools/analysis_tools/confusion_matrix.py metrics.json --out confusion.svg
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from prettytable import PrettyTable

from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import positive
from mmmtl.io import check_outputs, read_json, whole_file
from mmmtl.reporting.run import Matrix, read_confusion
from mmmtl.visualization.confusion import draw_confusion, shares
from mmmtl.visualization.curves import PLAIN_TEXT, check_figure_path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', type=Path, help='metrics.json of tools/test.py --out')
    parser.add_argument('--task', help='which task, if there are several with classes')
    parser.add_argument('--top', type=positive, default=10, help='how many confusions to list (default: 10)')
    parser.add_argument('--out', metavar='FILE', help='write the figure there (.png, .svg, .pdf)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.out:
        check_figure_path(args.out)
        check_outputs([args.out], [args.file])
    task, matrix = choose(args.file, read_confusion(read_json(args.file), args.file), args.task)
    if args.out:
        side = min(14.0, 3.0 + 0.35 * len(matrix))
        with matplotlib.rc_context(PLAIN_TEXT), whole_file(args.out) as partial:
            figure = Figure(figsize=(side + 1, side), layout='constrained')
            draw_confusion(figure.subplots(), matrix)
            figure.savefig(partial, dpi=150)
        print(f'written: {args.out}')
    print(table(task, matrix, args.top))


def choose(path: Path, matrices: Mapping[str, Matrix], task: str | None) -> tuple[str, Matrix]:
    """Return the matrix of a task, which must be named if there are several."""
    if not matrices:
        raise SystemExit(f'{path}: no confusion matrix; test a task with classes by tools/test.py --out')
    if task is None and len(matrices) > 1 or task not in (None, *matrices):
        raise SystemExit(f'{path}: --task must be one of {list(matrices)}')
    name = task or next(iter(matrices))
    return name, matrices[name]


def table(task: str, matrix: Matrix, top: int) -> str:
    """Format the pairs of classes with the largest shares of a label's pixels that went to another class."""
    percent, columns = shares(matrix), list(next(iter(matrix.values())))
    pairs = [
        (float(percent[i, j]), label, column)
        for i, label in enumerate(matrix)
        for j, column in enumerate(columns)
        if label != column and np.isfinite(percent[i, j]) and percent[i, j] > 0
    ]
    shown = PrettyTable(['label', 'predicted as', '% of its pixels'], align='l')
    shown.title = f'{task}: most frequent confusions'
    shown.align['% of its pixels'] = 'r'
    for share, label, column in sorted(pairs, reverse=True)[:top]:
        shown.add_row([label, column, f'{share:.1f}'])
    return str(shown)


if __name__ == '__main__':
    with readable_errors():
        main()
