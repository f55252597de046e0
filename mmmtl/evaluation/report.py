"""Metrics as a table and as a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prettytable import PrettyTable

from mmmtl.tasks import Task


def metrics_table(
    metrics: Mapping[str, float], tasks: Mapping[str, Task], others: Mapping[str, Mapping[str, float]] | None = None
) -> str:
    """A row for each metric: the mean over offsets, each offset, and other predictors beside them.

    Args:
        metrics: as `MultiTaskMetric` gives them.
        tasks: by name.
        others: {column: metrics} of predictors to compare with.
    """
    others = others or {}
    offsets = sorted({int(key.split('/')[0][7:]) for key in metrics if key.startswith('offset_')})
    mean = ['mean of offsets', *(f'offset {o}' for o in offsets)] if offsets else ['value']
    table = PrettyTable(['metric', 'better', *mean, *others])
    table.align = 'r'
    table.align['metric'] = 'l'
    for name, task in tasks.items():
        for metric, up in task.higher_is_better.items():
            key = f'{name}/{metric}'
            if key not in metrics:
                continue
            values = [metrics[key], *(metrics.get(f'offset_{o}/{key}') for o in offsets)]
            values += [other.get(key) for other in others.values()]
            table.add_row([key, 'higher' if up else 'lower', *('' if v is None else f'{v:.4g}' for v in values)])
    if 'delta_m' in metrics:
        table.add_row(['delta_m', 'higher', f'{metrics["delta_m"]:.4g}', *[''] * (len(mean) - 1 + len(others))])
    return str(table)


def write_metrics(path: str | Path, metrics: Mapping[str, float], meta: Mapping[str, Any]) -> None:
    """The metrics flat, and `meta`, as JSON; `null` for one that nothing was labelled for, since JSON has no NaN."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    path.write_text(json.dumps({**finite, 'meta': dict(meta)}, indent=2, allow_nan=False) + '\n')
