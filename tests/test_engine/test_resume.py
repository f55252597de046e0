"""Interrupted training: killed, or stopped by a loss that is not finite."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'tests' / 'configs'

# The process kills itself, so that SIGKILL comes at the same place each time.
COMPONENTS = """
import dataclasses
import os
import signal

import torch.nn.functional as F
import yapf.yapflib.yapf_api
from mmengine.hooks import Hook

from mmmtl.models.decode_heads import TaskConvHead
from mmmtl.registry import HOOKS, MODELS

# Otherwise half of the time goes into formatting configs.
yapf.yapflib.yapf_api.FormatCode = lambda text, **_: (text, True)


@HOOKS.register_module()
class KillHook(Hook):
    priority = 'LOWEST'

    def __init__(self, after):
        self.after = after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.after:
            os.kill(os.getpid(), signal.SIGKILL)


@MODELS.register_module()
class DropoutHead(TaskConvHead):
    def forward(self, features):
        output = super().forward(features)
        dropped = {name: F.dropout(logits, 0.2, self.training) for name, logits in output.logits.items()}
        return dataclasses.replace(output, logits=dropped)
"""

WORKERS = {'train_dataloader.num_workers': 2, 'train_dataloader.persistent_workers': True}
BY_ITERATION = {'default_hooks.checkpoint.by_epoch': False, 'default_hooks.checkpoint.interval': 4}


class Training:
    """`tools/train.py` in another process."""

    def __init__(self, folder: Path, base: str, options: dict[str, Any]) -> None:
        self.folder = folder
        self.options = options
        (folder / 'unkind_components.py').write_text(COMPONENTS)
        head = (
            f"_base_ = '{CONFIGS / base}.py'\ncustom_imports = dict(imports=['unkind_components'])\n"
            "model = dict(decode_head=dict(type='DropoutHead'))\n"
        )
        (folder / 'config.py').write_text(head)
        (folder / 'killed.py').write_text(head + "custom_hooks = [dict(type='KillHook', after=KILL)]\n")

    def start(self, work_dir: str, *arguments: str, kill_after: int | None = None) -> subprocess.Popen:
        config = self.folder / 'config.py'
        if kill_after is not None:
            config = self.folder / 'killed.py'
            config.write_text(config.read_text().replace('KILL', str(kill_after)))
        command = [sys.executable, str(ROOT / 'tools' / 'train.py'), str(config)]
        command += ['--work-dir', str(self.folder / work_dir), *arguments]
        if self.options:
            command += ['--cfg-options', *(f'{key}={value}' for key, value in self.options.items())]
        environment = {
            **os.environ,
            'PYTHONPATH': os.pathsep.join([str(ROOT), str(self.folder)]),
            'OMP_NUM_THREADS': '1',
            'PYTHONWARNINGS': 'ignore',
        }
        # To a file: the workers of a killed process would hold a pipe open.
        with open(self.folder / f'{work_dir}.log', 'ab') as log:
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)

    def log(self, work_dir: str) -> str:
        return (self.folder / f'{work_dir}.log').read_text(errors='replace')

    def checkpoint(self, work_dir: str, name: str) -> dict[str, Any]:
        return torch.load(self.folder / work_dir / name, weights_only=True)


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen]]:
    started: list[subprocess.Popen] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def assert_equal(first: Any, second: Any, where: str) -> None:
    """Bit for bit."""
    assert type(first) is type(second), where
    if isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_equal(first[key], second[key], f'{where}.{key}')
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), where
        for number, pair in enumerate(zip(first, second, strict=True)):
            assert_equal(*pair, f'{where}[{number}]')
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    else:
        assert first == second, where


@pytest.mark.parametrize(
    ('base', 'options', 'kill_after', 'resumed_from', 'final'),
    [
        pytest.param('tiny_video', {}, 7, 'iter_4.pth', 'iter_12.pth', id='iterations'),
        pytest.param(
            'tiny_video', WORKERS, 7, 'iter_4.pth', 'iter_12.pth', id='iterations-workers', marks=pytest.mark.slow
        ),
        pytest.param('tiny_video_epochs', {}, 11, 'epoch_1.pth', 'epoch_3.pth', id='epochs', marks=pytest.mark.slow),
        pytest.param(
            'tiny_video_epochs', WORKERS, 11, 'epoch_1.pth', 'epoch_3.pth', id='epochs-workers', marks=pytest.mark.slow
        ),
        pytest.param(
            'tiny_video_epochs',
            BY_ITERATION,
            11,
            'iter_8.pth',
            'iter_21.pth',
            id='inside-an-epoch',
            marks=pytest.mark.slow,
        ),
        pytest.param(
            'tiny_video_epochs',
            {**BY_ITERATION, **WORKERS},
            11,
            'iter_8.pth',
            'iter_21.pth',
            id='inside-an-epoch-workers',
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_killed_training_reaches_the_weights_of_an_uninterrupted_one(
    tmp_path: Path,
    processes: list[subprocess.Popen],
    base: str,
    options: dict[str, Any],
    kill_after: int,
    resumed_from: str,
    final: str,
) -> None:
    training = Training(tmp_path, base, options)
    processes += [training.start('whole'), training.start('killed', kill_after=kill_after)]
    whole, killed = (process.wait(timeout=300) for process in processes)
    assert whole == 0, training.log('whole')
    assert killed == -signal.SIGKILL, training.log('killed')
    assert not (tmp_path / 'killed' / final).exists()

    processes.append(training.start('killed', '--resume'))

    assert processes[-1].wait(timeout=300) == 0, training.log('killed')
    assert f'from path: {tmp_path / "killed" / resumed_from}' in training.log('killed')
    first, second = (training.checkpoint(work_dir, final) for work_dir in ('whole', 'killed'))
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        assert_equal(first[part], second[part], part)
    assert first['meta']['iter'] == second['meta']['iter']
    losses = [one['message_hub']['log_scalars']['train/loss'][0] for one in (first, second)]
    assert losses[0] == losses[1], 'what was logged before the last checkpoint is there again, and goes on alike'
    assert len(set(losses[0])) == len(losses[0]) == first['meta']['iter']


def test_a_loss_that_explodes_stops_the_tool_and_leaves_the_last_checkpoint(
    tmp_path: Path, processes: list[subprocess.Popen]
) -> None:
    options = {'optim_wrapper.optimizer.lr': 1e30, 'default_hooks.checkpoint.interval': 1}
    training = Training(tmp_path, 'tiny_video', options)
    processes.append(training.start('run'))

    assert processes[-1].wait(timeout=300) == 1
    error = training.log('run').rpartition('FloatingPointError: ')[2]
    assert 'depth.loss_l1' in error.partition('is not finite')[0]
    assert "'train_000" in error.partition('the batch was')[2]
    assert (tmp_path / 'run' / 'last_checkpoint').read_text().endswith('iter_1.pth')
    assert training.checkpoint('run', 'iter_1.pth')['meta']['iter'] == 1
