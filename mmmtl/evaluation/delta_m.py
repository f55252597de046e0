"""One number for a multi-task model: its mean relative gain over a baseline."""

from __future__ import annotations

from collections.abc import Mapping

from mmmtl.tasks import Task


def delta_m(metrics: Mapping[str, float], baseline: Mapping[str, float], tasks: Mapping[str, Task]) -> float:
    """Mean over tasks of the relative gain in the primary metric, in percent; higher is better.

    delta_m = 100 / T * sum_i s_i (M_i - B_i) / B_i, with s_i = 1 where higher is better and -1 otherwise.

    Args:
        metrics: `<task>/<metric>` of the model.
        baseline: the same of the baseline, usually single-task models.
        tasks: by name.

    Raises:
        ValueError: the baseline lacks a metric, or has a zero.

    Reference: Maninis et al., Attentive Single-Tasking of Multiple Tasks, CVPR 2019, section 4.
    """
    gains = []
    for name, task in tasks.items():
        key = f'{name}/{task.primary_metric}'
        if not baseline.get(key):
            raise ValueError(f'delta_m: the baseline has no (or a zero) {key!r}; it has {sorted(baseline)[:12]}')
        sign = 1 if task.higher_is_better[task.primary_metric] else -1
        gains.append(sign * (metrics[key] - baseline[key]) / baseline[key])
    return 100 * sum(gains) / len(gains)
