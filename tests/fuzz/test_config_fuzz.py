"""Mutated configs: each is refused by a ValueError that names the key, or its tasks work.

`FUZZ` in the environment is how many are tried.
"""

from __future__ import annotations

import copy
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmmtl.config import load_config, resolve
from mmmtl.tasks import Task, build_tasks

N = int(os.environ.get('FUZZ', 300))
SEEDS = range(N // 50)

TASKS: dict[str, Any] = dict(
    semseg=dict(
        type='SemanticSegmentation', classes=['a', 'b', 'c'], palette=[[0, 0, 0], [9, 9, 9], [1, 2, 3]],
        class_weights=[1.0, 0.5, 2.0], unscored=['c'], source='x', loss_weight=1.0,
        primary_metric='mIoU',
    ),
    parts=dict(type='SemanticSegmentation', classes='human_parts_7'),
    depth=dict(
        type='DepthEstimation', max_depth=10.0, min_depth=0.1, prediction_range=[0.0, 20.0], scale=2.0,
        label_range=[0.5, 9.0], loss_weight=2,
    ),
    disparity=dict(type='DisparityEstimation', unit='raw', scale=0.5, max_disparity=3.0, loss_weight=0.5),
    normals=dict(type='SurfaceNormals', loss_weight=10.0, primary_metric='median'),
    saliency=dict(type='SaliencyDetection', source='sal'),
    edges=dict(type='EdgeDetection', pos_weight=0.8, max_distance=0.01, thresholds=3, nms=False),
)  # fmt: skip
JUNK: list[Any] = [
    None, True, False, 0, 1, -1, 2, 0.5, -0.5, 1e-320, 1e300, 10**400, math.inf, -math.inf, math.nan, '', 'x', '1',
    'nan', 'nyuv2_40', 'dataset', 'raw', 'mIoU', [], [0], [1, 2, 3], ['a', 'b'], ['a', 'a', 'b'], ['a', 1, 'b'], [''],
    {}, {'a': 1}, [[0, 0, 0]], [[0, 0, 0.5], [1, 1, 1], [2, 2, 2]], [[1], [2], [3]], [math.nan, 1, 1], [True, 1, 1],
    b'x', 'DepthEstimation', 'SurfaceNormals', 'torch.nn.Linear', 'os.system', 'mmseg.FCNHead', (1, 2), [5, 1], [0, 5],
]  # fmt: skip
NAMES: list[Any] = ['Depth', 'shape', 'align', 'a-b', '', 'offset_1', 'class', 'train', 3, None, 'x.y', 'über', 'ok']


def mutate(value: Any, rng: np.random.Generator) -> Any:
    """Change one place in nested dicts and lists."""
    junk = copy.deepcopy(JUNK[rng.integers(len(JUNK))])
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.05:
        return junk
    places = list(value) if isinstance(value, dict) else list(range(len(value)))
    place, kind = places[rng.integers(len(places))], rng.random()
    changed = copy.copy(value)
    if kind < 0.75:
        changed[place] = mutate(value[place], rng)
    elif kind < 0.83:
        del changed[place]
    elif isinstance(changed, list):
        changed.append(junk)
    elif kind < 0.92:
        name = str(place)
        changed[NAMES[rng.integers(len(NAMES))] if kind < 0.87 else name[:-1] + name[:1]] = changed.pop(place)
    else:
        changed[NAMES[rng.integers(len(NAMES))]] = junk
    return changed


def exercise(task: Task) -> None:
    """Do with a task what training, testing and drawing do."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, task.out_channels, 6, 7, generator=generator, requires_grad=True)
    target = task.decode(torch.randn(1, task.out_channels, 6, 7, generator=generator))
    target[..., :2] = task.fill
    losses = torch.stack([task.loss_weight * loss for loss in task.loss(logits, target).values()])
    losses.sum().backward()
    assert losses.isfinite().all() and logits.grad is not None and logits.grad.isfinite().all()
    space = torch.randn(1, task.label_space_size, 6, 7, generator=generator)
    assert all(loss.isfinite() for loss in task.label_space_loss(space, target).values())
    labels = task.discretize(target)
    assert ((labels >= 0) & (labels < task.label_space_size) | (labels == 255)).all()
    prediction = task.decode(logits.detach())
    assert set(task.summarize(task.measure(prediction[0], target[0]))) == set(task.higher_is_better)
    assert task.primary_metric in task.higher_is_better
    assert task.draw(np.zeros((6, 7, 3), np.uint8), prediction[0].numpy()).dtype == np.uint8
    task.check(np.moveaxis(target[0].numpy(), 0, -1).squeeze(), 'here')
    hash(task.source)


@pytest.mark.parametrize('seed', SEEDS)
def test_mutated_tasks_are_refused_or_work(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(40):
        changed: Any = mutate(TASKS, rng)
        for _ in range(rng.integers(2)):
            changed = mutate(changed, rng)
        try:
            tasks = build_tasks(changed, 'the config')
        except ValueError as error:
            assert 'task' in str(error) or 'without tasks' in str(error)
            continue
        for name, task in tasks.items():
            if changed[name] != TASKS.get(name):
                exercise(task)


def plain(value: Any) -> Any:
    """Dicts and lists of any mapping and sequence."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize('seed', SEEDS)
def test_mutated_configs_are_refused_or_resolve(seed: int, shipped: dict[str, Any]) -> None:
    rng = np.random.default_rng([seed, 1])
    for _ in range(10):
        changed = mutate(mutate(shipped, rng), rng)
        if not isinstance(changed, dict) or not all(isinstance(key, str) for key in changed):
            continue
        try:
            cfg = Config(changed)
        except (KeyError, TypeError):  # mmengine takes no such dict
            continue
        try:
            once = resolve(cfg)
        except ValueError as error:
            assert str(error).isprintable()
            continue
        assert str(plain(resolve(once).to_dict())) == str(plain(once.to_dict()))


@pytest.fixture(scope='module')
def shipped() -> dict[str, Any]:
    """A config with everything in it."""
    cfg = load_config(Path(__file__).parents[1] / 'configs' / 'tiny_video.py').to_dict()
    cfg['custom_hooks'] = [dict(type='EarlyStoppingHook', monitor='depth/rmse')]
    cfg['default_hooks']['checkpoint']['save_best'] = ['depth/rmse', 'semseg/mIoU']
    result: dict[str, Any] = plain(cfg)
    return result
