"""The metric of all tasks: it asks each task to measure, and sums over images, offsets and processes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmmtl.registry import METRICS
from mmmtl.tasks import Task

from .additive_metric import AdditiveMetric, Totals, add_to, merge_totals
from .baseline import load_baseline
from .delta_m import check_baseline, delta_m


@METRICS.register_module()
class MultiTaskMetric(AdditiveMetric):
    """Metrics of all tasks, as `<task>/<metric>`.

    For clips these are means over the offsets, as in video papers; `offset_<k>/<task>/<metric>` scores one offset, and
    `pooled/<task>/<metric>` all samples together. The result does not depend on the number of processes if the sampler
    does not repeat samples (`round_up=False`).

    Args:
        details: also return the metrics of each offset, and pooled ones.
        per_image: also score each image by itself and return the means over the images, as
            `per_image/<task>/<metric>`; for clips these are means over the offsets too. Images without a label of a
            task do not count. This is the protocol of MTAN's released code from July to November 2020. Its first code,
            which MTAN's printed numbers and probably MILA's are from, also counts predictions at pixels without a label
            in the union of mIoU, so printed mIoU is lower for the same predictions.
        baseline: the source of a baseline for `delta_m`, see `load_baseline`. It must have the primary metric of every
            task, which is checked before anything runs.
    """

    def __init__(
        self, *, details: bool = True, per_image: bool = False, baseline: str | Sequence[str] | None = None
    ) -> None:
        super().__init__()
        self.details = details
        self.per_image = per_image
        self.image_scores: Totals = {}
        """By (offset, task): the sums of the metrics of each image, and of how many images have one; (2, K)."""
        self.baseline = None if baseline is None else load_baseline(baseline)
        self.class_scores: dict[str, dict[str, float]] = {}
        """The scores {task: {class: score}} of the last evaluation; for clips means over the offsets."""
        self.confusion: dict[str, dict[str, dict[str, int]]] = {}
        """The matrices {task: {labelled class: {predicted class: pixels}}} of the last evaluation, over all offsets."""

    def check_tasks(self, tasks: Mapping[str, Task]) -> None:
        if self.baseline is not None:
            check_baseline(self.baseline.metrics, tasks)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Measure a batch; tasks without a label in a sample are skipped."""
        for sample in data_samples:
            for name, label in sample['gt'].items():
                if name not in self.tasks:
                    continue
                task = self.tasks[name]
                measured = task.measure(sample['pred'][name], label)
                self.add((sample.get('offset'), name), measured)
                if self.per_image:
                    found = task.summarize(measured)
                    scores = torch.tensor([found[metric] for metric in task.higher_is_better], dtype=torch.float64)
                    known = ~scores.isnan()
                    counted = torch.stack([scores.where(known, torch.zeros_like(scores)), known.double()])
                    add_to(self.image_scores, (sample.get('offset'), name), counted)

    def evaluate(self, size: int) -> dict[str, float]:
        """Return the metrics of everything that all processes have processed."""
        totals = self.take_totals()
        images, self.image_scores = merge_totals(self.image_scores), {}
        if not totals:
            raise ValueError('nothing to evaluate: no sample had a label of any task')
        return self.compute(totals, images)

    def compute(self, totals: Totals, images: Totals) -> dict[str, float]:
        """Compute the metrics from sums of `Task.measure` by (offset, task), and `images` like `image_scores`.

        The offset of images is None.
        """
        pooled: dict[str, Tensor] = {}
        for (_, name), total in totals.items():
            add_to(pooled, name, total)
        metrics = self._summarize(pooled)
        self.class_scores = self._score_classes(totals)
        matrices = {name: self.tasks[name].confusion(total) for name, total in pooled.items()}
        self.confusion = {name: matrices[name] for name in self.tasks if matrices.get(name)}
        if offsets := sorted({offset for offset, _ in totals if offset is not None}):
            each = {
                o: self._summarize({name: total for (at, name), total in totals.items() if at == o}) for o in offsets
            }
            details = {f'pooled/{key}': value for key, value in metrics.items()}
            details |= {f'offset_{o}/{key}': value for o, scores in each.items() for key, value in scores.items()}
            found = {key: [scores[key] for scores in each.values() if key in scores] for key in metrics}
            metrics = {key: nanmean(values) for key, values in found.items()}
            metrics |= details if self.details else {}
        metrics |= self._average_images(images)
        if self.baseline is not None:
            metrics['delta_m'] = delta_m(metrics, self.baseline.metrics, {name: self.tasks[name] for name in pooled})
        return metrics

    def _score_classes(self, totals: Totals) -> dict[str, dict[str, float]]:
        """Compute {task: {class: score}}, each the mean over the offsets at which the class appears."""
        found: dict[str, dict[str, list[float]]] = {}
        for (_, name), total in totals.items():
            for label, score in self.tasks[name].class_scores(total).items():
                found.setdefault(name, {}).setdefault(label, []).append(score)
        means = {name: {label: nanmean(values) for label, values in rows.items()} for name, rows in found.items()}
        return {name: means[name] for name in self.tasks if name in means}

    def _average_images(self, images: Totals) -> dict[str, float]:
        """Compute {`per_image/<task>/<metric>`: mean over the images, then over the offsets}."""
        metrics: dict[str, float] = {}
        for name, task in self.tasks.items():
            means = [sums / counts for (_, of), (sums, counts) in images.items() if of == name]
            if means:
                values = torch.stack(means).nanmean(dim=0).tolist()
                metrics |= {f'per_image/{name}/{m}': v for m, v in zip(task.higher_is_better, values, strict=True)}
        return metrics

    def _summarize(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Compute {`<task>/<metric>`: value} from the sums of each task, in the order of the tasks."""
        scores = {name: task.summarize(totals[name]) for name, task in self.tasks.items() if name in totals}
        for name, score in scores.items():
            if score.keys() != (declared := self.tasks[name].higher_is_better).keys():
                raise ValueError(
                    f'{type(self.tasks[name]).__name__}.summarize returned the metrics {sorted(score)}; '
                    f'`higher_is_better` declares {sorted(declared)}'
                )
        return {f'{name}/{metric}': value for name, score in scores.items() for metric, value in score.items()}


def nanmean(values: Sequence[float]) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    real = [value for value in values if not math.isnan(value)]
    return sum(real) / len(real) if real else math.nan
