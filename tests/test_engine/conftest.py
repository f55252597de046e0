"""Tiny runs that take seconds on one core."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmmtl.engine import build_runner, find_checkpoint

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'tests' / 'configs'
MakeConfig = Callable[..., Config]

# The process signals itself, so that the signal comes at the same place each time.
COMPONENTS = """
import dataclasses
import os

import torch
import torch.nn.functional as F
import yapf.yapflib.yapf_api
from mmengine.hooks import Hook

from mmmtl.models.decode_heads import TaskConvHead
from mmmtl.registry import HOOKS, MODELS

torch.set_num_threads(1)
# Otherwise half of the time goes into formatting configs.
yapf.yapflib.yapf_api.FormatCode = lambda text, **_: (text, True)


@HOOKS.register_module()
class SignalHook(Hook):
    priority = 'LOWEST'

    def __init__(self, after, number, ranks=(0, 1)):
        self.after = after
        self.number = number
        self.here = int(os.environ.get('RANK', 0)) in ranks

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.after and self.here:
            os.kill(os.getpid(), self.number)


@MODELS.register_module()
class DropoutHead(TaskConvHead):
    def forward(self, features):
        output = super().forward(features)
        dropped = {name: F.dropout(logits, 0.2, self.training) for name, logits in output.logits.items()}
        return dataclasses.replace(output, logits=dropped)
"""

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


def last(trained: Runner) -> Path:
    """Return the last checkpoint of this run."""
    path = find_checkpoint(trained.work_dir)
    assert path is not None and path.name == 'iter_4.pth'
    return path


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """`launch(tool, *arguments, log, **environment)`: a process that runs a tool in the test's folder.

    Its configs can import `unkind_components`. It ends with the test.
    """
    (tmp_path / 'unkind_components.py').write_text(COMPONENTS)
    started: list[subprocess.Popen] = []

    def run(tool: str, *arguments: str, log: str, **environment: str) -> subprocess.Popen:
        variables = {
            **os.environ,
            'PYTHONPATH': os.pathsep.join([str(ROOT), str(tmp_path)]),
            'OMP_NUM_THREADS': '1',
            'PYTHONWARNINGS': 'ignore',
            **environment,
        }
        command = [sys.executable, str(ROOT / 'tools' / tool), *arguments]
        # To a file: the workers of a killed process would hold a pipe open.
        with open(tmp_path / f'{log}.log', 'ab') as file:
            started.append(subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=file, stderr=file))
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def assert_equal() -> Callable[[Any, Any, str], None]:
    """`assert_equal(first, second, where)`: the same nested values, bit for bit."""

    def check(first: Any, second: Any, where: str) -> None:
        assert type(first) is type(second), where
        if isinstance(first, dict):
            assert first.keys() == second.keys(), where
            for key in first:
                check(first[key], second[key], f'{where}.{key}')
        elif isinstance(first, (list, tuple)):
            assert len(first) == len(second), where
            for number, pair in enumerate(zip(first, second, strict=True)):
                check(*pair, f'{where}[{number}]')
        elif isinstance(first, torch.Tensor):
            assert torch.equal(first, second), where
        else:
            assert first == second, where

    return check
