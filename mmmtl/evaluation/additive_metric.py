"""What metrics that are computed from sums share: their tasks, and sums over samples and processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
import torch.distributed
from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmmtl.tasks import Task, build_tasks

Totals = dict[tuple[int | None, str], Tensor]
"""Sums of what tasks measure, by (what the metric sorts by, task)."""

Key = TypeVar('Key')
Value = TypeVar('Value', Tensor, int)


class AdditiveMetric(BaseMetric):
    """Base of the metrics that exchange sums alone, so that the result is the same for any number of processes."""

    # mmengine warns of a metric without a prefix; ours are part of the keys.
    default_prefix = ''

    def __init__(self) -> None:
        super().__init__()
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
        self.check_tasks(self.tasks)

    def check_tasks(self, tasks: Mapping[str, Task]) -> None:
        """Refuse tasks that the metric cannot serve, before anything runs."""

    def add(self, key: tuple[int | None, str], measured: Tensor) -> None:
        """Add what was measured to a sum."""
        add_to(self.totals, key, measured)

    def take_totals(self) -> Totals:
        """The sums of all processes; those of this one begin anew."""
        totals, self.totals = merge_totals(self.totals), {}
        return totals

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Unused: `evaluate` works on sums."""
        raise AssertionError


def add_to(totals: dict[Key, Value], key: Key, value: Value) -> None:
    """Add a tensor or a number to the sum of a key; the first one is the sum."""
    totals[key] = totals[key] + value if key in totals else value


def merge_totals(totals: dict[Key, Value]) -> dict[Key, Value]:
    """Return the sums over all processes, on every process and in the same order."""
    if get_world_size() == 1:
        return totals
    gathered: list[dict[Key, Value]] = [{}] * get_world_size()
    torch.distributed.all_gather_object(gathered, totals)
    merged: dict[Key, Value] = {}
    for part in gathered:
        for key, value in part.items():
            add_to(merged, key, value)
    return merged
