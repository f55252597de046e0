"""Trainings in other processes, to which bad things happen at a chosen moment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mmmtl.engine import find_checkpoint
from mmmtl.io.outputs import PARTIAL

ROOT = Path(__file__).resolve().parents[2]

# In the process of the training: FAULT='moment:number:what' says when what happens.
COMPONENTS = """
import os, resource, signal, sys, time

import torch, yapf.yapflib.yapf_api
from mmengine.hooks import Hook
from mmmtl.registry import HOOKS

yapf.yapflib.yapf_api.FormatCode = lambda text, **_: (text, True)  # otherwise half of the time goes there
MOMENT, NUMBER, WHAT = (os.environ.get('FAULT') or 'never:0:').split(':')
NUMBER = int(NUMBER)


def strike(runner=None):
    if WHAT.startswith('SIG'):
        if WHAT != 'SIGKILL':  # a shell starts what runs in the background with some of them ignored
            signal.signal(getattr(signal, WHAT), signal.default_int_handler if WHAT == 'SIGINT' else signal.SIG_DFL)
        os.kill(os.getpid(), getattr(signal, WHAT))
        time.sleep(60)
    elif WHAT == 'full':
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
    elif WHAT == 'nan':
        with torch.no_grad():
            next(runner.model.parameters()).fill_(float('nan'))
    elif WHAT == 'worker':
        worker = next(iter(runner.train_loop.dataloader_iterator._iterator._workers))
        os.kill(worker.pid, signal.SIGKILL)
    elif WHAT == 'sleep':
        open(os.path.join(runner.work_dir, 'asleep'), 'w').close()
        time.sleep(600)


class FileCounter:
    def __init__(self, folder):
        self.folder, self.seen = folder, 0

    def __call__(self, event, arguments):
        if event in ('open', 'os.rename', 'os.remove') and self.folder in str(arguments[0]):
            if 'pth' in str(arguments[0]) or 'last_checkpoint' in str(arguments[0]):
                self.seen += 1
                if self.seen == NUMBER:
                    os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module()
class FaultHook(Hook):
    priority = 'VERY_HIGH'

    def before_train(self, runner):
        if MOMENT == 'file':
            sys.addaudithook(FileCounter(runner.work_dir))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if (MOMENT, NUMBER) == ('train', runner.iter + 1):
            strike(runner)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if (MOMENT, NUMBER) == ('val', runner.iter):
            strike(runner)
"""

OPTIONS = {
    'train_cfg.max_iters': 6,
    'train_cfg.val_interval': 2,
    'train_dataloader.batch_size': 1,
    'default_hooks.checkpoint.interval': 2,
    'default_hooks.checkpoint.max_keep_ckpts': 1,
    'default_hooks.checkpoint.save_best': 'depth/abs_err',
}


class Training:
    """`tools/train.py` on a tiny config, in a folder of its own."""

    def __init__(self, folder: Path, started: list[subprocess.Popen]) -> None:
        self.folder = folder
        self.work_dir = folder / 'run'
        self.log_file = folder / 'run.log'
        self._started = started
        folder.mkdir(exist_ok=True)
        (folder / 'unkind.py').write_text(COMPONENTS)
        (folder / 'config.py').write_text(
            f"_base_ = '{ROOT / 'tests' / 'configs' / 'tiny_image.py'}'\n"
            "custom_imports = dict(imports=['unkind'])\ncustom_hooks = [dict(type='FaultHook')]\n"
        )

    def start(self, *arguments: str, fault: str = '', **options: Any) -> subprocess.Popen:
        command = [sys.executable, str(ROOT / 'tools' / 'train.py'), str(self.folder / 'config.py')]
        command += ['--work-dir', str(self.work_dir), *arguments, '--cfg-options']
        command += [f'{key}={value}' for key, value in {**OPTIONS, **options}.items()]
        environment = {
            **os.environ,
            'PYTHONPATH': os.pathsep.join([str(ROOT), str(self.folder)]),
            'OMP_NUM_THREADS': '1',
            'PYTHONWARNINGS': 'ignore',
            'FAULT': fault,
        }
        with self.log_file.open('ab') as log:
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        self._started.append(process)
        return process

    def run(self, *arguments: str, fault: str = '', **options: Any) -> int:
        """Train, and return the exit status; a signal's is negative."""
        return self.start(*arguments, fault=fault, **options).wait(timeout=300)

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors='replace')

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.work_dir.glob('*.pth'))

    @property
    def half_written(self) -> list[str]:
        return [path.name for path in self.work_dir.iterdir() if PARTIAL.fullmatch(path.name)]

    def newest(self) -> dict[str, Any] | None:
        """Return the checkpoint that a resumed run would read, which is whole, as is the best one that it names."""
        path = find_checkpoint(self.work_dir)
        if path is None:
            return None
        checkpoint = torch.load(path, weights_only=True)
        if best := checkpoint['message_hub']['runtime_info'].get('best_ckpt'):
            torch.load(best, weights_only=True)
        return checkpoint


@pytest.fixture(scope='session')
def started() -> Iterator[list[subprocess.Popen]]:
    processes: list[subprocess.Popen] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def make_training(tmp_path: Path, started: list[subprocess.Popen]) -> Callable[[str], Training]:
    """Return a function that makes a training in a folder of this name."""
    return lambda name: Training(tmp_path / name, started)


@pytest.fixture
def training(make_training: Callable[[str], Training]) -> Training:
    return make_training('training')


@pytest.fixture(scope='session')
def whole(tmp_path_factory: pytest.TempPathFactory, started: list[subprocess.Popen]) -> Training:
    """A training to which nothing happened."""
    training = Training(tmp_path_factory.mktemp('whole'), started)
    assert training.run() == 0, training.log
    return training


@pytest.fixture
def goes_on(whole: Training) -> Callable[..., None]:
    """Resume a training, and compare its end with that of the one to which nothing happened, bit by bit."""

    def check(training: Training, **options: Any) -> None:
        assert training.run('--resume', **options) == 0, training.log
        assert training.files == whole.files
        one, two = training.newest(), whole.newest()
        assert one is not None and two is not None
        for name, value in two['state_dict'].items():
            assert torch.equal(one['state_dict'][name], value), name
        assert str(one['optimizer']) == str(two['optimizer'])
        validated = [each['message_hub']['log_scalars']['val/depth/abs_err'][0] for each in (one, two)]
        assert validated[0] == validated[1]
        assert not training.half_written

    return check
