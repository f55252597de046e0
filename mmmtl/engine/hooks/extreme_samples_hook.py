"""A hook that keeps the samples of a test on which each task does best and worst."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmmtl.registry import HOOKS
from mmmtl.reporting import SampleFolder
from mmmtl.reporting.samples import Sample
from mmmtl.structures import Array, MultiTaskDataSample
from mmmtl.tasks import Task
from mmmtl.visualization import Painter, frame_title

from .tested import current_image, tested_tasks


class _Kept(NamedTuple):
    """A sample of a task: its rank, the smallest are kept, frame, score, title, image (H, W, 3) RGB and maps."""

    rank: float
    frame: tuple[str | int | None, ...]
    score: float
    title: str
    image: Array
    label: Array
    prediction: Array


@HOOKS.register_module()
class ExtremeSamplesHook(Hook):
    """A hook that scores each sample of a test by itself, and writes the best and the worst ones of each task.

    The score is the task's primary metric. A frame is shown once, at the offset where it is most extreme.
    `tools/test.py --report` adds the hook, and a report shows the pictures.

    Args:
        out_dir: folder for the pictures and `samples.json`; those of an earlier test are replaced.
        count: how many of the best and of the worst samples are kept.
    """

    def __init__(self, *, out_dir: str, count: int = 3) -> None:
        if count < 1:
            raise ValueError(f'count must be at least 1, not {count}')
        self.folder = SampleFolder(Path(out_dir))
        self.count = count
        self._tasks: dict[str, Task] = {}
        self._kept: dict[tuple[str, str], list[_Kept]] = {}

    def before_test_epoch(self, runner: Runner) -> None:
        self._tasks = tested_tasks(runner)
        self._kept.clear()

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[MultiTaskDataSample] | None = None,
    ) -> None:
        for images, sample in zip(data_batch['inputs'], outputs or [], strict=True):
            predictions = dict(sample.pred.items())
            for name, label in sample.gt.items():
                if name not in self._tasks:
                    continue
                task, prediction = self._tasks[name], predictions[name]
                score = task.summarize(task.measure(prediction, label))[task.primary_metric]
                if math.isnan(score):
                    continue
                sign = -1 if task.higher_is_better[task.primary_metric] else 1
                for kind, rank in (('best', sign * score), ('worst', -sign * score)):
                    kept = self._kept.setdefault((name, kind), [])
                    if len(kept) < self.count or rank < kept[-1].rank:
                        image = np.ascontiguousarray(current_image(images)[..., ::-1])
                        maps = label.cpu().numpy(), prediction.cpu().numpy()
                        # Images of two data sets may have one name.
                        frame = tuple(sample.get(key) for key in ('img_path', 'video', 'time'))
                        new = _Kept(rank, frame, score, _title(sample), image, *maps)
                        self._kept[name, kind] = _first([*kept, new], self.count)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        gathered = all_gather_object(self._kept)
        self._kept = {}
        if not is_main_process():
            return
        written = []
        for name, task in self._tasks.items():
            for kind in ('worst', 'best'):
                found = [one for part in gathered for one in part.get((name, kind), [])]
                for number, one in enumerate(_first(found, self.count), 1):
                    metric, file = f'{name}/{task.primary_metric}', f'{name}_{kind}_{number}.jpg'
                    written.append((Sample(name, kind, one.title, one.score, metric, file), _picture(task, one)))
        self.folder.write(written)


def _first(found: list[_Kept], count: int) -> list[_Kept]:
    """Return the samples of the smallest ranks, one of each frame, sorted."""
    of_frame: dict[tuple[str | int | None, ...], _Kept] = {}
    for one in sorted(found, key=lambda one: (one.rank, one.title)):
        of_frame.setdefault(one.frame, one)
    return [*of_frame.values()][:count]


def _title(sample: MultiTaskDataSample) -> str:
    """Return what names a sample: its frame of a video, or its file."""
    video = sample.get('video', '')
    name = video or Path(sample.get('img_path') or 'sample').name
    return frame_title(name, sample.get('time'), is_key=sample.get('is_key_frame'), since_key=sample.get('offset'))


def _picture(task: Task, kept: _Kept) -> Array:
    """Draw label and prediction, each beside the image."""
    maps = {'label': {task.name: kept.label}, 'prediction': {task.name: kept.prediction}}
    return Painter({task.name: task}).panel(kept.image, maps)
