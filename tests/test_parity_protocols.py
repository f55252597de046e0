"""What public codes weigh and score, held without them: losses, clamps and protocols on maps made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import Tensor
from torch.nn.functional import normalize

from mmmtl.config import resolve
from mmmtl.evaluation import MultiTaskMetric
from mmmtl.registry import TRANSFORMS
from mmmtl.tasks import Task, build_tasks

CONFIGS = Path(__file__).parents[1] / 'configs'
NYUD = [f'{method}_hrnet18_1xb10-100e_nyud-480x640.py' for method in ('mti-net', 'pad-net', 'sca', 'atrc')]
PASCAL = [f'{method}_hrnet18_1xb16-100e_pascal-512x512.py' for method in ('mti-net', 'pad-net', 'sca', 'atrc')]
FOLDERS = {'mti-net': 'mti_net', 'pad-net': 'pad_net', 'multi-task': 'baselines', 'single-task': 'baselines'}


def load(name: str, **options: Any) -> Config:
    method = name.partition('_')[0]
    folder = FOLDERS.get(method) or method.partition('-')[0]
    cfg = Config.fromfile(CONFIGS / folder / name)
    cfg.merge_from_dict(options)
    return resolve(cfg)


def tasks_of(name: str, *names: str) -> dict[str, Task]:
    """Build the tasks of a config: those of these names, by default those that it uses."""
    cfg = load(name, **({'use_tasks': list(names)} if names else {}))
    return build_tasks(cfg.tasks, name)


def weighted(task: Task, logits: Tensor, target: Tensor) -> float:
    return task.loss_weight * sum(value.item() for value in task.loss(logits, target).values())


def row(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 1, -1)


# Losses


@pytest.mark.parametrize('name', [*NYUD, *PASCAL])
def test_normals_are_weighted_by_10(name: str) -> None:
    """MTI-Net, PAD-Net and SCA-MTL average over pixels and axes, ATRC over pixels alone."""
    (task,) = tasks_of(name, 'normals').values()
    generator = torch.Generator().manual_seed(0)
    logits, target = (torch.randn(2, 3, 4, 5, generator=generator) for _ in range(2))
    target = normalize(target, dim=1)
    error = (normalize(logits, dim=1) - target).abs()
    by_the_code = 10 * (error.sum(dim=1).mean() if 'atrc' in name else error.mean())
    assert weighted(task, logits, target) == pytest.approx(by_the_code.item(), rel=1e-6)


def test_weights_of_the_released_code_of_sca() -> None:
    """NYUD with two tasks 1.44 and 1.15, PASCAL with two tasks 1.1 and 40 (mean over the axes)."""
    nyud = tasks_of('sca-released_hrnet18_1xb10-100e_nyuv2-480x640.py')
    pascal = tasks_of('sca-released_hrnet18_1xb16-100e_pascal-512x512.py')
    assert {name: task.loss_weight for name, task in nyud.items()} == {'semseg': 1.44, 'depth': 1.15}
    assert {name: task.loss_weight for name, task in pascal.items()} == pytest.approx(
        {'semseg': 1.1, 'normals': 40 / 3}
    )


def test_sca_released_is_the_same_model_on_both_data_sets() -> None:
    nyud = load('sca-released_hrnet18_1xb10-100e_nyuv2-480x640.py', use_tasks=['semseg'])
    pascal = load('sca-released_hrnet18_1xb16-100e_pascal-512x512.py', use_tasks=['semseg'])
    for cfg in (nyud, pascal):
        cfg.model.pop('tasks')
    assert nyud.model.to_dict() == pascal.model.to_dict()


@pytest.mark.parametrize(
    ('name', 'weight'), [*((n, 0.8 if 'atrc' in n else 0.95) for n in NYUD), *((n, 0.95) for n in PASCAL)]
)
def test_weight_of_edges(name: str, weight: float) -> None:
    """The weight of positives: ATRC alone has 0.8 on NYUD."""
    (task,) = tasks_of(name, 'edge').values()
    logits, target = row(2.0, -1.0)[None], row(1.0, 0.0)[None]
    probability = logits.sigmoid().flatten().double()
    loss = -(weight * probability[0].log() + (1 - weight) * (1 - probability[1]).log()) / 2
    assert weighted(task, logits, target) == pytest.approx(50 * loss.item(), rel=1e-6)


# Recipes


def test_single_task_baseline_on_pascal() -> None:
    cfg = load('single-task_hrnet18_1xb8-60e_pascal-512x512.py')
    expected = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4)
    assert cfg.optim_wrapper.optimizer == expected
    assert (cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size) == (60, 8)


@pytest.mark.parametrize('name', NYUD)
def test_nyud_is_zoomed_about_the_centre(name: str) -> None:
    (zoom,) = [part for part in load(name).train_dataloader.dataset.pipeline if part['type'] == 'RandomZoom']
    transform = TRANSFORMS.build({**zoom, 'zooms': (1.5,)})
    places = np.arange(480 * 640, dtype=np.float32).reshape(480, 640)
    results = {'imgs': [np.zeros((480, 640, 3), np.uint8)], 'gt_maps': {'depth': places}}
    results |= {'tasks': tasks_of(name, 'depth'), 'rng': np.random.default_rng(0)}
    seen = transform(results)['gt_maps']['depth'].round() * 1.5
    assert (seen[0, 0], seen[-1, -1]) == pytest.approx((80 * 640 + 107, 399 * 640 + 532), abs=4)


# Protocols


@pytest.mark.parametrize(
    ('name', 'predictions'),
    [
        *((name, [4.0, 14.0, 1e-9]) for name in NYUD[:3]),
        (NYUD[3], [4.0, 14.0, 0.0]),
        ('mtan_segnet_1xb4-50e_nyuv2-288x384.py', [4.0, 14.0, -2.0]),
        ('mtan_hrnet18_1xb10-100e_nyuv2-480x640.py', [4.0, 14.0, 1e-9]),
        ('mila_d101-d18-k5_1xb4-50e_nyuv2-288x384.py', [4.0, 14.0, -2.0]),
    ],
)
def test_predicted_depths_are_clamped_as_in_the_code(name: str, predictions: list[float]) -> None:
    (task,) = tasks_of(name, 'depth').values()
    decoded = task.decode(row(4.0, 14.0, -2.0)[None])[0]
    assert decoded.flatten().tolist() == pytest.approx(predictions, abs=1e-12)
    scores = task.summarize(task.measure(decoded, row(4.0, 4.0, 4.0)))
    assert scores['rmse'] == pytest.approx(((0 + 100 + (predictions[2] - 4) ** 2) / 3) ** 0.5)
    assert scores['delta3'] == pytest.approx(100 / 3), 'a depth that is not positive is never right'
    assert np.isfinite(scores['rmse_log'])


def test_the_default_clamps_to_the_range_of_the_task() -> None:
    (task,) = build_tasks({'depth': dict(type='DepthEstimation', max_depth=10.0)}, 'the test').values()
    assert task.decode(row(4.0, 14.0, -2.0)[None]).flatten().tolist() == pytest.approx([4.0, 10.0, 1e-3])


def mtan(predictions: list[Tensor], labels: list[Tensor], classes: int) -> float:
    """Score mIoU as MTAN's code from July to November 2020: a mean for each image, then over the images.

    Its first code also counts predictions at ignored pixels in the union.
    """
    images = []
    for prediction, label in zip(predictions, labels, strict=True):
        prediction, label = prediction[label != 255], label[label != 255]
        pairs = [((prediction == c) & (label == c), (prediction == c) | (label == c)) for c in range(classes)]
        ious = [(both.sum() / either.sum()).item() for both, either in pairs if either.any()]
        images.append(sum(ious) / len(ious))
    return 100 * sum(images) / len(images)


@pytest.mark.parametrize(
    'name',
    [
        'mila_d101-d18-k5_1xb4-50e_nyuv2-288x384.py',
        'mila_d101-d18-k5_1xb4-50e_cityscapes-256x512.py',
        'mtan_segnet_1xb4-50e_nyuv2-288x384.py',
        'mtan_d101_1xb4-50e_cityscapes-256x512.py',
        'multi-task_d101_1xb4-50e_nyuv2-288x384.py',
    ],
)
def test_images_are_scored_by_themselves_and_together(name: str) -> None:
    """Configs of MILA's tables report both protocols, for every task."""
    cfg = load(name)
    generator = torch.Generator().manual_seed(0)
    tasks = build_tasks(cfg.tasks, name)
    classes = tasks['semseg'].out_channels
    labels = [torch.randint(k, (1, 6, 7), generator=generator) for k in (2, 4, classes)]
    predictions = [torch.where(torch.rand(1, 6, 7, generator=generator) < 0.5, label, 0) for label in labels]
    for label in labels:
        label[:, 0] = 255

    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert evaluator.pop('type') == 'MultiTaskMetric'
        metric = MultiTaskMetric(**evaluator)
        metric.dataset_meta = {'tasks': tasks}
        regression = next(t for t in tasks if t in ('depth', 'disparity'))
        for i, (label, prediction) in enumerate(zip(labels, predictions, strict=True)):
            gt = {'semseg': label, regression: torch.full((1, 2, i + 1), 2.0)}
            pred = {'semseg': prediction, regression: torch.full((1, 2, i + 1), 2.0 + i)}
            metric.process(None, [{'gt': gt, 'pred': pred}])
        scores = metric.evaluate(3)
        assert scores['per_image/semseg/mIoU'] == pytest.approx(mtan(predictions, labels, classes), rel=1e-6)
        together = [torch.cat([maps.flatten() for maps in kind]) for kind in (predictions, labels)]
        assert scores['semseg/mIoU'] == pytest.approx(mtan([together[0]], [together[1]], classes), rel=1e-6)
        assert scores[f'per_image/{regression}/abs_err'] == pytest.approx((0 + 1 + 2) / 3)
        assert scores[f'{regression}/abs_err'] == pytest.approx((0 * 1 + 1 * 2 + 2 * 3) / 6)


def test_a_class_that_never_appears_is_left_out() -> None:
    """MTI-Net and ATRC count it as 0, which would give 2 / 3 of this."""
    (task,) = build_tasks({'s': dict(type='SemanticSegmentation', classes=['a', 'b', 'c'])}, 'the test').values()
    labels = torch.tensor([[[0, 1, 1]]])
    assert task.summarize(task.measure(labels, labels))['mIoU'] == 100
