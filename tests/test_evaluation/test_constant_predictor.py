"""The trivial predictors: their constants and scores, by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.structures import PixelData
from torch import Tensor

from mmmtl.evaluation import constant_predictor, fit_constants
from mmmtl.structures import MultiTaskDataSample
from mmmtl.tasks import build_tasks

TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes=['a', 'b', 'c']),
    depth=dict(type='DepthEstimation', max_depth=10.0),
    normals=dict(type='SurfaceNormals'),
)
X, Y, NOTHING = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0)


class Samples:
    """Labelled samples in memory; it records which were requested."""

    def __init__(
        self, *labels: dict[str, Tensor], offsets: list[int] | None = None, tasks: dict[str, Any] = TASKS
    ) -> None:
        self.metainfo = dict(tasks=tasks)
        self.labels, self.offsets = labels, offsets
        self.used: list[int] = []

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.used.append(index)
        sample = MultiTaskDataSample(gt=PixelData(**self.labels[index]))
        if self.offsets:
            sample.set_metainfo({'offset': self.offsets[index]})
        return {'data_samples': sample}


def semseg(*labels: int) -> Tensor:
    """One row of labels."""
    return torch.tensor([[labels]])


def depth(*metres: float) -> Tensor:
    return torch.tensor([[metres]])


def normals(*vectors: tuple[float, float, float]) -> Tensor:
    return torch.tensor(vectors).T.reshape(3, 1, -1)


def test_constants_by_hand() -> None:
    labels = [
        dict(semseg=semseg(2, 2, 0, 255), depth=depth(1, 2, 0, 12), normals=normals(X, X, X, NOTHING)),
        dict(semseg=semseg(1, 1, 1, 255), depth=depth(6, 0, 0, 0)),
        dict(normals=normals(Y, Y, Y, Y)),
    ]
    constants = fit_constants(build_tasks(TASKS, 'the test'), labels)
    assert {name: tuple(value.shape) for name, value in constants.items()} == dict(
        semseg=(1, 1, 1), depth=(1, 1, 1), normals=(3, 1, 1)
    )
    assert constants['semseg'].item() == 1  # three times, class 2 twice; 255 does not count
    assert constants['semseg'].dtype == torch.int64
    assert constants['depth'].item() == 3  # of 1, 2 and 6; 0 is none, and 12 lies beyond the range
    # Of 3 times (1, 0, 0) and 4 times (0, 1, 0): (3, 4, 0) with length 5.
    assert constants['normals'].flatten().tolist() == pytest.approx([0.6, 0.8, 0.0])


def test_constants_of_the_tasks_asked_for() -> None:
    tasks = build_tasks(dict(depth=TASKS['depth']), 'the test')
    assert list(fit_constants(tasks, [dict(depth=depth(4.0), semseg=semseg(1))])) == ['depth']


def test_a_task_that_nothing_is_labelled_for_is_named() -> None:
    with pytest.raises(ValueError, match="task 'semseg'"):
        fit_constants(build_tasks(TASKS, 'the test'), [dict(semseg=semseg(255, 255))])


TRAIN = dict(semseg=semseg(0, 1, 1), depth=depth(2, 2, 5), normals=normals(X, X, X))  # constants: 1, 3 m, x


def test_scores_by_hand() -> None:
    test = Samples(
        dict(semseg=semseg(1, 1, 0, 255), depth=depth(2, 4, 0, 0), normals=normals(X, Y, Y, NOTHING)),
        dict(semseg=semseg(1, 2, 2, 2), depth=depth(6, 11, 0, 0), normals=normals(Y, NOTHING, NOTHING, NOTHING)),
    )
    metrics = constant_predictor(Samples(TRAIN), test)  # type: ignore[arg-type]
    # Class 1 has 3 of 7 pixels: its IoU is 3 / 7, those of the other two classes are 0.
    assert metrics['semseg/mIoU'] == pytest.approx(100 / 7)
    assert metrics['semseg/pixel_acc'] == pytest.approx(300 / 7)
    # 3 m for 2, 4 and 6: |e| = 1, 1, 3.
    assert metrics['depth/abs_err'] == pytest.approx(5 / 3)
    assert metrics['depth/rel_err'] == pytest.approx((1 / 2 + 1 / 4 + 1 / 2) / 3)
    assert metrics['depth/rmse'] == pytest.approx((11 / 3) ** 0.5)
    # Ratios 1.5, 1.333 and 2: none below 1.25, two below 1.5625, two below 1.953.
    assert [metrics[f'depth/delta{i}'] for i in (1, 2, 3)] == pytest.approx([0, 200 / 3, 200 / 3])
    # x for x, y, y, y.
    assert metrics['normals/mean'] == pytest.approx(270 / 4)
    assert metrics['normals/within_11.25'] == pytest.approx(25)
    assert not [key for key in metrics if key.startswith(('offset', 'pooled'))]


def test_auxiliary_tasks_are_left_out() -> None:
    tasks = {**TASKS, 'normals': dict(type='SurfaceNormals', auxiliary=True)}
    train = {name: TRAIN[name] for name in ('semseg', 'depth')}
    metrics = constant_predictor(Samples(train, tasks=tasks), Samples(TRAIN, tasks=tasks))  # type: ignore[arg-type]
    assert {key.split('/')[0] for key in metrics} == {'semseg', 'depth'}


def test_offsets_of_clips_are_averaged() -> None:
    test = Samples(dict(depth=depth(2, 2, 2)), dict(depth=depth(7)), offsets=[0, 3])
    metrics = constant_predictor(Samples(TRAIN), test)  # type: ignore[arg-type]
    assert metrics['offset_0/depth/abs_err'] == 1 and metrics['offset_3/depth/abs_err'] == 4
    assert metrics['depth/abs_err'] == 2.5
    assert metrics['pooled/depth/abs_err'] == 7 / 4


@pytest.mark.parametrize(
    ('length', 'samples', 'used'),
    [
        (7, 3, [0, 3, 6]),
        (4, 200, [0, 1, 2, 3]),
        (9, 1, [0]),
        (11, 5, [0, 2, 5, 8, 10]),  # 0, 2.5, 5, 7.5 and 10; halves go to the even number
    ],
)
def test_samples_are_spread_evenly(length: int, samples: int, used: list[int]) -> None:
    train = Samples(*[TRAIN] * length)
    constant_predictor(train, Samples(TRAIN), max_samples=samples)  # type: ignore[arg-type]
    assert train.used == used


def test_every_test_sample_is_scored() -> None:
    test = Samples(*[TRAIN] * 6)
    constant_predictor(Samples(TRAIN), test, max_samples=2)  # type: ignore[arg-type]
    assert test.used == list(range(6))


def test_unresolved_data_names_the_call() -> None:
    with pytest.raises(ValueError, match=r'the trivial predictor.*resolve\(cfg\)'):
        constant_predictor(SimpleNamespace(metainfo={}), Samples(TRAIN))  # type: ignore[arg-type]
