"""The one metric: it asks each task to measure, and sums over images, offsets and processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed
from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmmtl.registry import METRICS
from mmmtl.tasks import Task, build_tasks

from .baseline import load_baseline
from .delta_m import check_baseline, delta_m

Totals = dict[tuple[int | None, str], Tensor]
"""Sums of `Task.measure` by (offset, task); offset None for images."""


@METRICS.register_module()
class MultiTaskMetric(BaseMetric):
    """Metrics of all tasks, as `<task>/<metric>`.

    For clips these are means over the offsets, as video papers report them; `offset_<k>/<task>/<metric>` is one of the
    offsets, `pooled/<task>/<metric>` scores all samples together. Only sums are exchanged between processes, so the
    result is the same for any number of them, if the sampler does not repeat samples (`round_up=False`).

    Args:
        details: also give the metrics of each offset, and pooled.
        baseline: what `delta_m` compares with: a `metrics.json` of `tools/test.py`, several of them (one for each
            single-task model), or the name of a published table, see `load_baseline`. It must have the primary metric
            of every task, which is checked before anything runs.
    """

    # mmengine warns of a metric without a prefix; ours are part of the keys.
    default_prefix = ''

    def __init__(self, *, details: bool = True, baseline: str | Sequence[str] | None = None) -> None:
        super().__init__()
        self.details = details
        self.baseline = None if baseline is None else load_baseline(baseline)
        self.tasks: dict[str, Task] = {}
        self.totals: Totals = {}

    @property
    def dataset_meta(self) -> dict[str, Any] | None:
        """Meta info of the data set; brings the tasks."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict[str, Any]) -> None:
        self._dataset_meta = meta
        self.tasks = build_tasks(meta.get('tasks'), 'the metric')
        if self.baseline is not None:
            check_baseline(self.baseline.metrics, self.tasks)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Measure a batch; tasks without a label in a sample are left out."""
        for sample in data_samples:
            for name, label in sample['gt'].items():
                if name not in self.tasks:
                    continue
                key = (sample.get('offset'), name)
                measured = self.tasks[name].measure(sample['pred'][name], label)
                self.totals[key] = self.totals[key] + measured if key in self.totals else measured

    def evaluate(self, size: int) -> dict[str, float]:
        """The metrics of everything that was processed, by all processes."""
        totals, self.totals = merge_totals(self.totals), {}
        if not totals:
            raise ValueError('nothing to evaluate: no sample had a label of any task')
        return self.compute(totals)

    def compute(self, totals: Totals) -> dict[str, float]:
        """The metrics from sums."""
        pooled: dict[str, Tensor] = {}
        for (_, name), total in totals.items():
            pooled[name] = pooled[name] + total if name in pooled else total
        metrics = self._summarize(pooled)
        if offsets := sorted({offset for offset, _ in totals if offset is not None}):
            each = {
                o: self._summarize({name: total for (at, name), total in totals.items() if at == o}) for o in offsets
            }
            details = {f'pooled/{key}': value for key, value in metrics.items()}
            details |= {f'offset_{o}/{key}': value for o, scores in each.items() for key, value in scores.items()}
            found = {key: [scores[key] for scores in each.values() if key in scores] for key in metrics}
            metrics = {key: sum(values) / len(values) for key, values in found.items()}
            metrics |= details if self.details else {}
        if self.baseline is not None:
            metrics['delta_m'] = delta_m(metrics, self.baseline.metrics, {name: self.tasks[name] for name in pooled})
        return metrics

    def _summarize(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """`<task>/<metric>` from the sums of each task, in the order of the tasks."""
        scores = {name: task.summarize(totals[name]) for name, task in self.tasks.items() if name in totals}
        return {f'{name}/{metric}': value for name, score in scores.items() for metric, value in score.items()}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Unused: `evaluate` works on sums."""
        raise AssertionError


def merge_totals(totals: Totals) -> Totals:
    """The sums of all processes, on every process and in the same order."""
    if get_world_size() == 1:
        return totals
    gathered: list[Totals | None] = [None] * get_world_size()
    torch.distributed.all_gather_object(gathered, totals)
    merged: Totals = {}
    for part in gathered:
        for key, value in (part or {}).items():
            merged[key] = merged[key] + value if key in merged else value
    return merged
