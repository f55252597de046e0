"""One number for a multi-task model: its mean relative gain over a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmmtl.tasks import Task, main_tasks

from .metric_files import better


def delta_m(metrics: Mapping[str, float], baseline: Mapping[str, float], tasks: Mapping[str, Task]) -> float:
    """Return the relative gain in the primary metric, averaged over the tasks, in percent; higher is better.

    Auxiliary tasks do not count.
    delta_m = 100 / T * sum_i s_i (M_i - B_i) / B_i for metrics M of the model and B of the baseline {`<task>/<metric>`:
    value}, with s_i = 1 if higher is better and -1 otherwise. The baseline is usually made of single-task models. Some
    papers use the opposite sign (lower is better), or average over every metric of every task.

    Raises:
        ValueError: a primary metric is missing, or is not positive in the baseline.

    Reference: Maninis et al., Attentive Single-Tasking of Multiple Tasks, CVPR 2019, section 4; the sign is that of
    Vandenhende et al., MTI-Net, ECCV 2020.

    Examples:
        >>> from mmmtl.tasks import build_tasks
        >>> tasks = build_tasks({'depth': {'type': 'DepthEstimation', 'max_depth': 10.0}}, 'the example')
        >>> delta_m({'depth/abs_err': 0.375}, {'depth/abs_err': 0.5}, tasks)
        25.0
    """
    check_baseline(baseline, tasks)
    primary = primary_metrics(tasks)
    for key in primary:
        if metrics.get(key) is None:
            raise _lacks('the model has no', key, metrics)
    return mean_gain(metrics, baseline, primary)


def mean_gain(metrics: Mapping[str, float], baseline: Mapping[str, float], primary: Mapping[str, bool]) -> float:
    """Return the mean relative gain in percent over the metrics of `primary`, {key: whether higher is better}."""
    gains = [(metrics[key] - baseline[key]) / baseline[key] * (1 if up else -1) for key, up in primary.items()]
    return 100 * sum(gains) / len(gains)


def check_baseline(baseline: Mapping[str, float], tasks: Mapping[str, Task]) -> None:
    """Refuse a baseline in which the primary metric of a task is missing or not positive."""
    for key in primary_metrics(tasks):
        if not is_base(baseline.get(key)):
            raise _lacks('the baseline has no positive', key, baseline)


def is_base(value: float | None) -> bool:
    """Return whether a gain can be relative to a metric: over a negative one, it would have the wrong sign."""
    return value is not None and value > 0


def primary_metrics(tasks: Mapping[str, Task]) -> dict[str, bool]:
    """Return {`<task>/<metric>`: whether higher is better} for the metrics that enter delta_m."""
    scored = main_tasks(tasks)
    return {f'{n}/{task.primary_metric}': task.higher_is_better[task.primary_metric] for n, task in scored.items()}


def delta_m_meta(baseline: str, tasks: Mapping[str, Task]) -> dict[str, Any]:
    """Describe a delta_m for a file: baseline, direction, unit, and the metrics with their directions."""
    return {'baseline': baseline, 'better': 'higher', 'unit': 'percent', 'metrics': better(primary_metrics(tasks))}


def _lacks(what: str, key: str, metrics: Mapping[str, float]) -> ValueError:
    return ValueError(
        f'delta_m: {what} {key!r}; it has {sorted(metrics)[:12]}. Choose another metric of the task '
        '(--cfg-options tasks.depth.primary_metric=rmse), or leave the task out (--tasks)'
    )
