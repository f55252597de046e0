"""Interrupted training: killed, or stopped by a loss that is not finite."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
Launch = Callable[..., subprocess.Popen]

WORKERS = {'train_dataloader.num_workers': 2, 'train_dataloader.persistent_workers': True}
BY_ITERATION = {'default_hooks.checkpoint.by_epoch': False, 'default_hooks.checkpoint.interval': 4}


class Training:
    """`tools/train.py` in another process."""

    def __init__(self, folder: Path, launch: Launch, base: str, options: dict[str, Any]) -> None:
        self.folder = folder
        self.launch = launch
        self.options = options
        head = (
            f"_base_ = '{CONFIGS / base}.py'\ncustom_imports = dict(imports=['unkind_components'])\n"
            "model = dict(decode_head=dict(type='DropoutHead'))\n"
        )
        (folder / 'config.py').write_text(head)
        hook = f"dict(type='SignalHook', number={int(signal.SIGKILL)}, after=AFTER)"
        (folder / 'killed.py').write_text(f'{head}custom_hooks = [{hook}]\n')

    def start(self, work_dir: str, *arguments: str, kill_after: int | None = None) -> subprocess.Popen:
        config = self.folder / 'config.py'
        if kill_after is not None:
            config = self.folder / 'killed.py'
            config.write_text(config.read_text().replace('AFTER', str(kill_after)))
        arguments = (str(config), '--work-dir', str(self.folder / work_dir), *arguments)
        if self.options:
            arguments += ('--cfg-options', *(f'{key}={value}' for key, value in self.options.items()))
        return self.launch('train.py', *arguments, log=work_dir)

    def log(self, work_dir: str) -> str:
        return (self.folder / f'{work_dir}.log').read_text(errors='replace')

    def checkpoint(self, work_dir: str, name: str) -> dict[str, Any]:
        return torch.load(self.folder / work_dir / name, weights_only=True)


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
    launch: Launch,
    assert_equal: Callable[[Any, Any, str], None],
    base: str,
    options: dict[str, Any],
    kill_after: int,
    resumed_from: str,
    final: str,
) -> None:
    training = Training(tmp_path, launch, base, options)
    processes = [training.start('whole'), training.start('killed', kill_after=kill_after)]
    whole, killed = (process.wait(timeout=300) for process in processes)
    assert whole == 0, training.log('whole')
    assert killed == -signal.SIGKILL, training.log('killed')
    assert not (tmp_path / 'killed' / final).exists()

    assert training.start('killed', '--resume').wait(timeout=300) == 0, training.log('killed')
    assert f'from path: {tmp_path / "killed" / resumed_from}' in training.log('killed')
    first, second = (training.checkpoint(work_dir, final) for work_dir in ('whole', 'killed'))
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        assert_equal(first[part], second[part], part)
    assert first['meta']['iter'] == second['meta']['iter']
    losses = [one['message_hub']['log_scalars']['train/loss'][0] for one in (first, second)]
    assert losses[0] == losses[1], 'what was logged before the last checkpoint is there again, and goes on alike'
    assert len(set(losses[0])) == len(losses[0]) == first['meta']['iter']


@pytest.mark.slow
def test_a_loss_that_explodes_stops_the_tool_and_leaves_the_last_checkpoint(tmp_path: Path, launch: Launch) -> None:
    options = {'optim_wrapper.optimizer.lr': 1e30, 'default_hooks.checkpoint.interval': 1}
    training = Training(tmp_path, launch, 'tiny_video', options)

    assert training.start('run').wait(timeout=300) == 1
    error = training.log('run').rpartition('FloatingPointError: ')[2]
    assert 'depth.loss_l1' in error.partition('is not finite')[0]
    assert "'train_000" in error.partition('the batch was')[2]
    assert (tmp_path / 'run' / 'last_checkpoint').read_text().endswith('iter_1.pth')
    assert training.checkpoint('run', 'iter_1.pth')['meta']['iter'] == 1
