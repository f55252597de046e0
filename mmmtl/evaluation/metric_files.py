"""Metric files, as written by `tools/test.py --out`: writing, reading and selection."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmmtl._suggestions import did_you_mean
from mmmtl.io import read_json, write_text
from mmmtl.io.files import named_path
from mmmtl.registry import TASKS
from mmmtl.tasks.metric_keys import MetricKey

from .published import PUBLISHED


def write_metrics(
    path: str | Path,
    metrics: Mapping[str, float],
    meta: Mapping[str, Any],
    class_scores: Mapping[str, Mapping[str, float]] | None = None,
    confusion: Mapping[str, Mapping[str, Mapping[str, int]]] | None = None,
) -> None:
    """Write metrics and `meta` as JSON, with `class_iou` {task: {class: IoU}} and `confusion` if there are any.

    `confusion` is {task: {labelled class: {predicted class: pixels}}}.

    NaN (nothing was labelled) becomes `null`, since JSON has no NaN.
    """
    content: dict[str, Any] = _finite(metrics)
    if class_scores:
        content['class_iou'] = {task: _finite(scores) for task, scores in class_scores.items()}
    if confusion:
        content['confusion'] = confusion
    write_text(path, json.dumps({**content, 'meta': dict(meta)}, indent=2, allow_nan=False) + '\n')


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def read_metrics(path: str | Path) -> dict[str, float]:
    """Read {`<task>/<metric>`: value} from a `metrics.json`, without the null entries."""
    path = Path(path)
    if not path.is_file():
        hint = did_you_mean(path, PUBLISHED)
        raise ValueError(f'{path}: neither a file of metrics nor the name of a published table; {hint}')
    metrics = numbers(read_json(path))
    if not metrics:
        raise ValueError(f"{path}: has no '<task>/<metric>'; give the file that tools/test.py --out wrote")
    return metrics


def numbers(content: Any) -> dict[str, float]:
    """Return the metrics {`<task>/<metric>`: value} in the contents of a file, without the null entries."""
    entries = content.items() if isinstance(content, dict) else ()
    return {k: float(v) for k, v in entries if '/' in k and isinstance(v, (int, float)) and not isinstance(v, bool)}


def read_named(arguments: Sequence[str]) -> list[tuple[str, dict[str, float]]]:
    """Read (name, metrics) of command-line arguments `[NAME=]metrics.json`; the default name is the path."""
    found = []
    for argument in arguments:
        name, path = named_path(argument)
        if not Path(path).is_file():
            raise ValueError(f'{path}: no such file; give metrics.json files that tools/test.py --out wrote')
        found.append((name or path, read_metrics(path)))
    return found


def metric_paths(arguments: Sequence[str]) -> list[str]:
    """Return the paths in command-line arguments `[NAME=]metrics.json`."""
    return [named_path(argument)[1] for argument in arguments]


def choose_metrics(wanted: Sequence[str] | None, found: Iterable[str]) -> list[str]:
    """Return the wanted metrics, by default all that were found, each once; refuse wanted ones that were not found."""
    known = list(dict.fromkeys(found))
    for name in wanted or ():
        if name not in known:
            raise ValueError(f'no file has the metric {name!r}; {did_you_mean(name, known)}')
    return list(dict.fromkeys(wanted or known))


def format_metric(value: float | None) -> str:
    """Return a metric as tables have it: four digits, all of a large number or a count, and '' for None."""
    if value is None:
        return ''
    if float(value).is_integer() or not math.isfinite(value):
        return f'{value:.0f}'
    return f'{value:.1f}' if abs(value) >= 1000 else f'{value:.4g}'


def better(directions: Mapping[str, bool]) -> dict[str, str]:
    """Return {metric: 'higher' or 'lower'}, as files name it, of {metric: whether higher is better}."""
    return {metric: 'higher' if up else 'lower' for metric, up in directions.items()}


def arrow(metric: str, known: Mapping[str, bool] | None = None) -> str:
    """Return an arrow up if higher is better, an arrow down if lower is, and '' for an unknown metric."""
    up = direction(metric, known)
    return '' if up is None else ' ↑' if up else ' ↓'


def direction(metric: str, known: Mapping[str, bool] | None = None) -> bool | None:
    """Return whether higher is better: as `known` has it, or else as all registered tasks with such a metric say.

    None is an unknown metric, or one on which they do not agree. A prefix, such as the task, does not count for them.
    """
    if (up := (known or {}).get(MetricKey.parse(metric).name)) is not None:
        return up
    name = metric.rpartition('/')[2]
    # A kind whose tasks declare their metrics in `__init__` has no table.
    kinds = TASKS.module_dict.values()
    tables = [getattr(kind, part, None) for kind in kinds for part in ('higher_is_better', 'temporal_metrics')]
    found = {table[name] for table in tables if isinstance(table, Mapping) and name in table}
    return found.pop() if len(found) == 1 else None
