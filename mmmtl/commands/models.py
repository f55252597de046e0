"""List the models that come with mmmtl: data, cost, and of those with weights their scores and licence.

In a terminal the table is as wide as that; in a pipe or a file each model is a line. --json is for programs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from prettytable import PrettyTable

from mmmtl._output import counted
from mmmtl.zoo import WEIGHTS, Model, Weights, home, models

SHORTEST = 20
"""The least width of the names in a narrow terminal."""


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the command; exit with 1 if no model matches."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('pattern', nargs='?', default='*', help="only these names, such as 'mila*house*'")
    parser.add_argument('--weights', action='store_true', help='only models with weights')
    parser.add_argument('--json', action='store_true', help='print JSON')
    args = parser.parse_args(arguments)
    pattern = (args.pattern if any(sign in args.pattern for sign in '*?[') else f'*{args.pattern}*').lower()
    named = [one for name, one in models().items() if fnmatch(name.lower(), pattern)]
    found = [one for one in named if one.weights or not args.weights]
    if not found:
        sys.exit(f'no model matches {args.pattern!r}' + (' and has weights' if args.weights else ''))
    if args.json:
        print(json.dumps([described(one) for one in found], indent=2))
    else:
        print(table(found, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))


def table(found: Sequence[Model], width: int | None = None) -> str:
    """Return models as a table of at most `width` columns, and below it what is known of those with weights or scores.

    Columns that are empty for all are left out.
    """
    rows = [
        {
            'name': one.name,
            'data': one.data,
            'GMAC': '' if one.gmac is None else f'{one.gmac:.4g}',
            'params (M)': '' if one.parameters is None else f'{one.parameters:.4g}',
            'weights': 'yes' if one.weights else '',
        }
        for one in found
    ]
    fields = [name for name in rows[0] if any(row[name] for row in rows)]
    shown = PrettyTable(fields, align='l')
    shown.add_rows([[row[name] for name in shown.field_names] for row in rows])
    excess = len(str(shown).partition('\n')[0]) - (width or sys.maxsize)
    if excess > 0:
        # Names alone are long.
        shown.max_width['name'] = max(SHORTEST, max(len(one.name) for one in found) - excess)
    with_weights = sum(one.weights is not None for one in found)
    last = f'{counted(len(found), "model")}, {with_weights} with weights; configs: {home() / "configs"}'
    return '\n'.join([str(shown), *filter(None, map(details, found)), last])


def details(model: Model) -> str:
    """Return where the weights of a model are, their licence, and the recorded scores; empty if there are none."""
    weights = [] if model.weights is None else [f'weights {place(model.weights)}, {model.weights.licence}']
    known = [*weights, *scores(model)]
    return '\n  '.join([f'{model.name}:', *known]) if known else ''


def place(weights: Weights) -> str:
    """Return where weights are."""
    if weights.is_url:
        return 'download'
    if not Path(weights.source).is_file():
        return f'missing: {weights.source}'
    return 'in the package' if Path(weights.source).parent == WEIGHTS else weights.source


def scores(model: Model) -> list[str]:
    """Return the recorded scores on each data set, as text."""
    return [
        f'{data}: ' + ', '.join(f'{metric} {value:g}' for metric, value in metrics.items())
        for data, metrics in model.scores.items()
    ]


def described(model: Model) -> dict[str, object]:
    """Return a model as plain values."""
    weights = None if model.weights is None else model.weights._asdict()
    return {**model._asdict(), 'config': str(model.config), 'weights': weights}
