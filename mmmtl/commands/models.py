"""List the models that come with mmmtl: data, scores, cost, and whether weights are there and under which licence."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from prettytable import PrettyTable

from mmmtl.zoo import WEIGHTS, Model, Weights, home, models


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the command; exit with 1 if no model matches."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument('pattern', nargs='?', default='*', help="only these names, such as 'mila*house*'")
    parser.add_argument('--weights', action='store_true', help='only models with weights')
    parser.add_argument('--json', action='store_true', help='print JSON')
    args = parser.parse_args(arguments)
    pattern = args.pattern if any(sign in args.pattern for sign in '*?[') else f'*{args.pattern}*'
    found = [one for name, one in models().items() if fnmatch(name, pattern) and (one.weights or not args.weights)]
    if not found:
        sys.exit(f'no model matches {args.pattern!r}' + (' and has weights' if args.weights else ''))
    print(json.dumps([described(one) for one in found], indent=2) if args.json else table(found))


def table(found: Sequence[Model]) -> str:
    """Return models as a table, without the columns that are empty for all."""
    rows = [
        {
            'name': one.name,
            'data': one.data,
            'scores': scores(one),
            'GMAC': '' if one.gmac is None else f'{one.gmac:.4g}',
            'parameters (M)': '' if one.parameters is None else f'{one.parameters:.4g}',
            'weights': '' if one.weights is None else f'{place(one.weights)}; {one.weights.licence}',
        }
        for one in found
    ]
    shown = PrettyTable([name for name in rows[0] if any(row[name] for row in rows)], align='l')
    shown.add_rows([[row[name] for name in shown.field_names] for row in rows])
    with_weights = sum(one.weights is not None for one in found)
    return f'{shown}\n{len(found)} models, {with_weights} with weights; configs: {home() / "configs"}'


def place(weights: Weights) -> str:
    """Return where weights are."""
    if weights.is_url:
        return 'download'
    if not Path(weights.source).is_file():
        return f'missing: {weights.source}'
    return 'in the package' if Path(weights.source).parent == WEIGHTS else weights.source


def scores(model: Model) -> str:
    """Return the recorded scores as text."""
    return '; '.join(
        f'{data}: ' + ', '.join(f'{metric} {value:g}' for metric, value in metrics.items())
        for data, metrics in model.scores.items()
    )


def described(model: Model) -> dict[str, object]:
    """Return a model as plain values."""
    weights = None if model.weights is None else model.weights._asdict()
    return {**model._asdict(), 'config': str(model.config), 'weights': weights}
