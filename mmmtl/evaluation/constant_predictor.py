"""Trivial predictors that a model must beat: one value for every pixel of every image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from mmengine.dataset import BaseDataset
from rich.progress import track
from torch import Tensor

from mmmtl.datasets.samplers import evenly_spread
from mmmtl.tasks import Task, build_tasks, main_tasks

from .multi_task_metric import MultiTaskMetric


def constant_predictor(train: BaseDataset, test: BaseDataset, *, max_samples: int = 200) -> dict[str, float]:
    """Return the metrics (see `MultiTaskMetric`) of the best constants, such as the majority class or the mean depth.

    Args:
        train: labelled samples to fit the constants to, after its pipeline.
        test: labelled samples to score.
        max_samples: number of evenly spaced samples of `train` to use.
    """
    tasks = main_tasks(build_tasks(train.metainfo.get('tasks'), 'the trivial predictor'))
    picked = evenly_spread(len(train), max_samples)
    constants = fit_constants(
        tasks, [dict(train[i]['data_samples'].gt.items()) for i in track(picked, 'fitting constants')]
    )
    metric = MultiTaskMetric()
    metric.dataset_meta = test.metainfo
    for index in track(range(len(test)), 'scoring constants'):
        sample = test[index]['data_samples']
        predictions = {name: constants[name].expand_as(label) for name, label in sample.gt.items() if name in tasks}
        offset = {'offset': sample.offset} if 'offset' in sample else {}
        metric.process(None, [{'gt': dict(sample.gt.items()), 'pred': predictions, **offset}])
    return metric.evaluate(len(test))


def fit_constants(tasks: Mapping[str, Task], labels: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Fit the best constant of each task, {task: (M, 1, 1)}, to labels {task: (M, H, W)}."""
    labels = list(labels)
    constants = {}
    for name, task in tasks.items():
        maps = [gt[name].permute(1, 2, 0).squeeze(-1).numpy() for gt in labels if name in gt]
        constants[name] = torch.from_numpy(task.constant(maps))
    return constants
