"""Tables of metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping

from prettytable import PrettyTable, TableStyle

from mmmtl.tasks import Task
from mmmtl.tasks.metric_keys import by_offset

from .baseline import Baseline
from .delta_m import delta_m, primary_metrics
from .metric_files import arrow, better, format_metric


def metrics_table(
    metrics: Mapping[str, float], tasks: Mapping[str, Task], others: Mapping[str, Mapping[str, float]] | None = None
) -> str:
    """Format a table with a row for each metric of `MultiTaskMetric`.

    Its columns are the mean over the offsets, each offset, and `others`, {column: metrics} of other predictors.
    """
    others = others or {}
    offsets = by_offset(metrics)
    mean = ['mean of offsets', *(f'offset {o}' for o in offsets)] if offsets else ['value']
    table = PrettyTable(['metric', 'better', *mean, *others])
    table.align = 'r'
    table.align['metric'] = 'l'
    for name, task in tasks.items():
        temporal = {f'temporal/{name}/{metric}': up for metric, up in task.temporal_metrics.items()}
        metrics_of_task = {f'{name}/{metric}': up for metric, up in task.higher_is_better.items()}
        per_image = {f'per_image/{key}': up for key, up in metrics_of_task.items()}
        for key, way in better({**metrics_of_task, **per_image, **temporal}).items():
            if key not in metrics:
                continue
            values = [metrics[key], *(scores.get(key) for scores in offsets.values())]
            values += [other.get(key) for other in others.values()]
            table.add_row([key, way, *map(format_metric, values)])
    if 'delta_m' in metrics:
        table.add_row(['delta_m', 'higher', format_metric(metrics['delta_m']), *[''] * (len(mean) - 1 + len(others))])
    return str(table)


def class_table(scores: Mapping[str, float], title: str, *, rows: int = 12) -> str:
    """Format the IoU of each class in the order of the labels; many classes go side by side.

    Args:
        scores: {class: percent}.
        title: title of the table.
        rows: how many classes a column has at most, before there is a second one; at most four columns.
    """
    entries = [(name, '' if math.isnan(score) else f'{score:.2f}') for name, score in scores.items()]
    columns = min(4, -(-len(entries) // rows))
    height = -(-len(entries) // columns)
    table = PrettyTable([f'{what}{" " * i}' for i in range(columns) for what in ('class', 'IoU')])
    table.title = title
    for i in range(columns):
        table.align[f'class{" " * i}'], table.align[f'IoU{" " * i}'] = 'l', 'r'
    for row in range(height):
        cells = [entries[row + height * i] if row + height * i < len(entries) else ('', '') for i in range(columns)]
        table.add_row([text for cell in cells for text in cell])
    return str(table)


def compare(
    methods: Mapping[str, Mapping[str, float]], baseline: Baseline, tasks: Mapping[str, Task]
) -> dict[str, dict[str, float]]:
    """Return the primary metrics and `delta_m` of each method, with the baseline first.

    Raises a ValueError that names the method if one of its primary metrics is missing.
    """
    rows = {}
    for method, metrics in {baseline.name: baseline.metrics, **methods}.items():
        try:
            gain = delta_m(metrics, baseline.metrics, tasks)
        except ValueError as error:
            raise ValueError(f'{method}: {error}') from None
        rows[method] = {**{key: metrics[key] for key in primary_metrics(tasks)}, 'delta_m': gain}
    return rows


def comparison_table(
    rows: Mapping[str, Mapping[str, float]], tasks: Mapping[str, Task], *, markdown: bool = False
) -> str:
    """Format the result of `compare` with a row for each method; arrows show which direction is better."""
    primary = primary_metrics(tasks)
    table = PrettyTable(['method', *(key + arrow(key, primary) for key in primary), 'delta_m ↑'])
    table.align = 'r'
    table.align['method'] = 'l'
    if markdown:
        table.set_style(TableStyle.MARKDOWN)
    for method, row in rows.items():
        table.add_row([method, *(format_metric(row[key]) for key in primary), f'{row["delta_m"]:+.2f}'])
    return str(table)
