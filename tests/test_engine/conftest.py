"""Tiny runs that take seconds on one core."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmmtl.engine import build_runner

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
MakeConfig = Callable[..., Config]

_numbers = itertools.count()


def tiny_config(work_dir: Path, name: str, options: dict[str, Any]) -> Config:
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.merge_from_dict(options)
    cfg.work_dir = str(work_dir)
    cfg.log_level = 'WARNING'
    # mmengine finds message hubs and visualisers again by this name, which is the time in seconds by default.
    cfg.experiment_name = f'test_{next(_numbers)}'
    return cfg


@pytest.fixture
def make_config(tmp_path: Path) -> MakeConfig:
    """`make_config(name, work_dir, **{'a.b.c': value})`: a config of tests/configs, in a work directory of its own."""

    def make(name: str = 'tiny_video', work_dir: str = 'run', /, **options: Any) -> Config:
        return tiny_config(tmp_path / work_dir, name, options)

    return make


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A run of four iterations, with checkpoints after the second and the fourth, the better of which is `best_...`."""
    options = {
        'train_cfg.max_iters': 4,
        'train_cfg.val_interval': 2,
        'default_hooks.checkpoint.interval': 2,
        'default_hooks.checkpoint.save_best': 'normals/mean',
    }
    runner = build_runner(tiny_config(tmp_path_factory.mktemp('trained'), 'tiny_video', options))
    runner.train()
    return runner
