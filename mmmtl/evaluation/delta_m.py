"""One number for a multi-task model: its mean relative gain over a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmmtl.tasks import Task


def delta_m(metrics: Mapping[str, float], baseline: Mapping[str, float], tasks: Mapping[str, Task]) -> float:
    """Mean over tasks of the relative gain in the primary metric, in percent; higher is better.

    delta_m = 100 / T * sum_i s_i (M_i - B_i) / B_i, with s_i = 1 where higher is better and -1 otherwise.

    Others report it with the opposite sign (lower is better), or average over every metric of every task.

    Args:
        metrics: `<task>/<metric>` of the model.
        baseline: the same of the baseline, usually single-task models.
        tasks: by name.

    Raises:
        ValueError: one of the two lacks a primary metric, or the baseline has a zero.

    Reference: Maninis et al., Attentive Single-Tasking of Multiple Tasks, CVPR 2019, section 4; the sign is that of
        Vandenhende et al., MTI-Net, ECCV 2020.
    """
    check_baseline(baseline, tasks)
    gains = []
    for key, up in primary_metrics(tasks).items():
        if metrics.get(key) is None:
            raise _lacks('the model has no', key, metrics)
        gains.append((metrics[key] - baseline[key]) / baseline[key] * (1 if up else -1))
    return 100 * sum(gains) / len(gains)


def check_baseline(baseline: Mapping[str, float], tasks: Mapping[str, Task]) -> None:
    """Whether `delta_m` of these tasks can be taken over a baseline.

    Raises:
        ValueError: it lacks a primary metric, or has a zero.
    """
    for key in primary_metrics(tasks):
        if not baseline.get(key):
            raise _lacks('the baseline has no (or a zero)', key, baseline)


def primary_metrics(tasks: Mapping[str, Task]) -> dict[str, bool]:
    """{`<task>/<metric>`: whether higher is better} of what delta_m counts."""
    return {f'{n}/{task.primary_metric}': task.higher_is_better[task.primary_metric] for n, task in tasks.items()}


def delta_m_meta(baseline: str, tasks: Mapping[str, Task]) -> dict[str, Any]:
    """What a delta_m is of, for a file: the baseline's name, its direction, and the metrics with theirs."""
    directions = {key: 'higher' if up else 'lower' for key, up in primary_metrics(tasks).items()}
    return {'baseline': baseline, 'better': 'higher', 'unit': 'percent', 'metrics': directions}


def _lacks(what: str, key: str, metrics: Mapping[str, float]) -> ValueError:
    return ValueError(
        f'delta_m: {what} {key!r}; it has {sorted(metrics)[:12]}. Another metric can stand for a task '
        '(--cfg-options tasks.depth.primary_metric=rmse), and tasks can be left out (--tasks)'
    )
