"""The base class of metrics computed from sums over samples and processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmmtl.tasks import Task, build_tasks, main_tasks

Totals = dict[tuple[int | None, str], Tensor]
"""Sums of task measurements by (group, task); the metric chooses the groups, for example offsets."""

Key = TypeVar('Key')
Value = TypeVar('Value', Tensor, int)


class AdditiveMetric(BaseMetric):
    """A metric whose processes exchange only sums, so that their number does not change the result."""

    # mmengine warns about metrics without a prefix; the keys contain ours already.
    default_prefix = ''

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, Task] = {}
        self.totals: Totals = {}

    @property
    def dataset_meta(self) -> dict[str, Any] | None:
        """The metainfo of the data set, with the tasks."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict[str, Any]) -> None:
        self._dataset_meta = meta
        self.tasks = main_tasks(build_tasks(meta.get('tasks'), 'the metric'))
        self.check_tasks(self.tasks)

    def check_tasks(self, tasks: Mapping[str, Task]) -> None:
        """Refuse unsuitable tasks before anything runs."""

    def add(self, key: tuple[int | None, str], measured: Tensor) -> None:
        """Add a measurement to the sum of a key."""
        # Counts of pixels are sums beyond 2**24, which float32 rounds.
        add_to(self.totals, key, measured.double())

    def take_totals(self) -> Totals:
        """Return the sums over all processes and reset those of this process."""
        totals, self.totals = merge_totals(self.totals), {}
        return totals

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        raise AssertionError('evaluate() works on sums instead')


def add_to(totals: dict[Key, Value], key: Key, value: Value) -> None:
    """Add a tensor or a number to the sum of a key, which may be new."""
    totals[key] = totals[key] + value if key in totals else value


def merge_totals(totals: dict[Key, Value]) -> dict[Key, Value]:
    """Return the sums over all processes, in the same order on every process."""
    merged: dict[Key, Value] = {}
    for part in all_gather_object(totals):
        for key, value in part.items():
            add_to(merged, key, value)
    return merged
