"""The best and the worst samples of a test."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.structures import PixelData

from mmmtl.engine.hooks import ExtremeSamplesHook
from mmmtl.reporting import SampleFolder
from mmmtl.structures import MultiTaskDataSample

TASKS = {
    'depth': dict(type='DepthEstimation', max_depth=10.0),
    'semseg': dict(type='SemanticSegmentation', classes=['a', 'b']),
}


def sample(time: int, offset: int, error: int) -> MultiTaskDataSample:
    """A sample whose depth is wrong by `error` metres, and its classes in `error` of 6 columns."""
    depth, classes = torch.full((1, 4, 6), 2.0), torch.arange(6).expand(1, 4, 6) % 2
    wrong = torch.where(torch.arange(6) < error, 1 - classes, classes)
    return MultiTaskDataSample(
        gt=PixelData(depth=depth, semseg=classes),
        pred=PixelData(depth=depth + error, semseg=wrong),
        metainfo=dict(video='drive', time=time, offset=offset),
    )


def test_the_best_and_the_worst_of_each_task_each_frame_once(tmp_path: Path) -> None:
    dataset = SimpleNamespace(metainfo={'tasks': TASKS})
    runner: Any = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=dataset))
    hook = ExtremeSamplesHook(out_dir=str(tmp_path), count=2)
    image = torch.zeros(3, 3, 4, 6, dtype=torch.uint8)

    hook.before_test_epoch(runner)
    for time, offset, error in ((0, 0, 3), (0, 1, 6), (2, 0, 4), (1, 0, 1), (3, 0, 2), (0, 2, 5)):
        hook.after_test_iter(runner, 0, {'inputs': [image]}, [sample(time, offset, error)])
    hook.after_test_epoch(runner)

    folder = SampleFolder(tmp_path)
    samples = folder.read()
    found = {(one.task, one.kind): [] for one in samples}
    for one in samples:
        found[one.task, one.kind].append(one.title)
        assert folder.picture(one)
    best = ['drive, frame 1, key frame', 'drive, frame 3, key frame']
    worst = ['drive, frame 0, key frame + 1', 'drive, frame 2, key frame']
    assert found == {(task, kind): names for task in TASKS for kind, names in (('worst', worst), ('best', best))}
    assert [one.score for one in samples if one.task == 'depth'] == [6.0, 4.0, 1.0, 2.0]


def test_images_of_two_data_sets_may_have_one_name(tmp_path: Path) -> None:
    dataset = SimpleNamespace(metainfo={'tasks': TASKS})
    runner: Any = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=dataset))
    hook = ExtremeSamplesHook(out_dir=str(tmp_path))
    hook.before_test_epoch(runner)
    for folder, error in (('a', 1), ('b', 2)):
        named = sample(0, 0, error)
        named.set_metainfo(dict(img_path=f'{folder}/drive/000000.jpg'))
        hook.after_test_iter(runner, 0, {'inputs': [torch.zeros(3, 4, 6, dtype=torch.uint8)]}, [named])
    hook.after_test_epoch(runner)
    scores = [(one.kind, one.score) for one in SampleFolder(tmp_path).read() if one.task == 'depth']
    assert scores == [('worst', 2.0), ('worst', 1.0), ('best', 1.0), ('best', 2.0)]
