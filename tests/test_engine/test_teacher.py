"""Training a student: its teacher's weights, and a resumed run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmmtl.engine import build_runner
from mmmtl.io.checkpoints import load_from_local

from .conftest import MakeConfig

RUN = {'train_cfg.max_iters': 4, 'default_hooks.checkpoint.interval': 2, 'train_dataloader.dataset.num_videos': 1}


@pytest.fixture
def teacher(make_config: MakeConfig, tmp_path: Path) -> Path:
    """The checkpoint of a teacher trained for two iterations."""
    build_runner(make_config('tiny_image', 'teacher', **{**RUN, 'train_cfg.max_iters': 2})).train()
    return tmp_path / 'teacher' / 'iter_2.pth'


@pytest.fixture
def make_student(make_config: MakeConfig, teacher: Path) -> Callable[..., Config]:
    """The config of a narrower student."""

    def make(work_dir: str, **options: Any) -> Config:
        cfg = make_config('tiny_image', work_dir, **{**RUN, **options})
        cfg.model = dict(
            cfg.model,
            type='StudentSegmentor',
            decode_head=dict(type='TaskConvHead', in_channels=(8,), channels=(6, 4)),
            teacher=dict(model=cfg.model, checkpoint=str(teacher)),
            distillation=dict(type='DistillationLoss'),
        )
        return cfg

    return make


def weights(runner: Runner) -> dict[str, torch.Tensor]:
    return runner.model.state_dict()


def test_the_teacher_keeps_its_weights_and_a_resumed_run_is_the_same(
    make_student: Callable[..., Config], teacher: Path, tmp_path: Path
) -> None:
    whole = build_runner(make_student('whole'))
    whole.train()
    resumed = build_runner(make_student('resumed', resume=True, load_from=str(tmp_path / 'whole' / 'iter_2.pth')))
    resumed.train()

    expected = load_from_local(teacher)['state_dict']
    for runner in (whole, resumed):
        kept = runner.model._teacher[0].state_dict()
        assert kept.keys() == expected.keys()
        assert all(torch.equal(kept[name], value) for name, value in expected.items())
    assert weights(whole).keys() == weights(resumed).keys()
    assert any(name.startswith('distillation.') for name in weights(whole))
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
    saved = load_from_local(tmp_path / 'whole' / 'iter_4.pth')
    assert saved['state_dict'].keys() == weights(whole).keys()


def test_a_teacher_that_knows_other_images_is_refused(make_student: Callable[..., Config]) -> None:
    cfg = make_student('student')
    cfg.model.teacher.model = dict(cfg.model.teacher.model, data_preprocessor=dict(std=(1.0, 1.0, 1.0)))
    with pytest.raises(ValueError, match=r'58\.395.*of its teacher .*\(1\.0, 1\.0, 1\.0\)'):
        build_runner(cfg).train()


def test_testing_needs_no_teacher_nor_distillation(
    make_student: Callable[..., Config], make_config: MakeConfig, teacher: Path, tmp_path: Path
) -> None:
    build_runner(make_student('student', **{'train_cfg.max_iters': 2})).train()
    teacher.unlink()
    checkpoint = str(tmp_path / 'student' / 'iter_2.pth')
    same = build_runner(make_student('test', load_from=checkpoint)).test()
    plain = make_config('tiny_image', 'plain', load_from=checkpoint, **{'model.decode_head.channels': (6, 4)})

    assert same == build_runner(plain).test()
    assert 'depth/rmse' in same


@pytest.mark.parametrize(
    ('spoil', 'error', 'message'),
    [
        ('absent', FileNotFoundError, r'--cfg-options model\.teacher\.checkpoint='),
        ('tasks', ValueError, r"model\.teacher\.checkpoint \(.*\): the checkpoint was trained for the tasks \['depth'"),
        ('definition', ValueError, r"model\.teacher\.checkpoint.*'depth'.*scale=2.0, not 4.0"),
        ('model', ValueError, '1 of .* weights .*decode_head.fuse.depth.weight'),
        ('code', ValueError, r'\.pth: refused'),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(
    make_student: Callable[..., Config], teacher: Path, spoil: str, error: type[Exception], message: str
) -> None:
    checkpoint = load_from_local(teacher)
    tasks = checkpoint['meta']['dataset_meta']['tasks']
    if spoil == 'tasks':
        del tasks['normals'], tasks['semseg']
    if spoil == 'definition':
        tasks['depth']['scale'] = 2.0
    if spoil == 'model':
        del checkpoint['state_dict']['decode_head.fuse.depth.weight']
    if spoil == 'code':
        checkpoint['meta']['more'] = Path('x')
    teacher.unlink()
    if spoil != 'absent':
        torch.save(checkpoint, teacher)
    runner = build_runner(make_student('student'))

    with pytest.raises(error, match=message):
        runner.train()
    assert runner.iter == 0
