"""Training on two processes: one model at all times, which checkpoints hold, validations score and resumes find."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot  # noqa: F401  (what every runner imports, before the forks)
import mmseg.models  # noqa: F401
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch import nn

from mmmtl.engine import SameBuffersHook, build_runner
from mmmtl.engine.launch import set_launcher

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'tests' / 'configs' / 'tiny_video.py'
STATE = ('state_dict', 'optimizer', 'param_schedulers')
AssertEqual = Callable[[Any, Any, str], None]

cpu_only = pytest.mark.skipif(torch.cuda.is_available(), reason='mmengine joins processes that have GPUs')


# ---------------------------------------------------------------- the hook


class Statistics(nn.Module):
    """Buffers of all kinds."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(2)
        self.norm.running_mean[:] = torch.tensor([1.0, 3.0]) * rank
        self.norm.num_batches_tracked += 5 + rank
        self.register_buffer('same', torch.tensor([0.1, 1e-30, 3e38]))
        self.register_buffer('low', torch.tensor(1.0 + rank, dtype=torch.float16))
        self.register_buffer('flag', torch.tensor(rank == 1))
        self.register_buffer('large', torch.tensor(2**40 + rank))
        self.register_buffer('empty', torch.zeros(0))


def buffers_after(rank: int) -> dict[str, torch.Tensor]:
    runner = type('R', (), {'model': Statistics(rank)})
    SameBuffersHook().after_train_iter(runner, 0)
    return dict(runner.model.named_buffers())


def test_buffers_of_processes_become_the_same(
    in_processes: Callable[..., list[Any]], assert_equal: AssertEqual
) -> None:
    before = dict(Statistics(0).named_buffers())
    three = in_processes(buffers_after, 3)
    assert_equal(three[0], three[1], 'buffers')
    assert_equal(three[0], three[2], 'buffers')
    assert three[0]['norm.running_mean'].tolist() == [1.0, 3.0], 'the mean of 0, 1 and 2 times these'
    assert three[0]['low'] == 2.0
    for name in ('norm.running_var', 'norm.num_batches_tracked', 'same', 'flag', 'large'):
        assert torch.equal(three[0][name], before[name]), name
        assert three[0][name].dtype == before[name].dtype, name


def test_one_process_keeps_its_buffers(assert_equal: AssertEqual) -> None:
    assert_equal(buffers_after(1), dict(Statistics(1).named_buffers()), 'buffers')


# ---------------------------------------------------------------- runs in forked processes


class Stop(Hook):
    """An interruption after an iteration."""

    priority = 'LOWEST'

    def __init__(self, after: int) -> None:
        self.after = after

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if runner.iter + 1 == self.after:
            raise KeyboardInterrupt


class Watch(Hook):
    """A hook that remembers what each process validates."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.validated: list[dict[str, torch.Tensor]] = []

    def before_val_epoch(self, runner: Runner) -> None:
        state = runner.model.module.state_dict()
        self.validated.append({name: value.clone() for name, value in state.items()})


def train(cfg: Config, rank: int, stop: int | None = None) -> tuple[Runner, Watch]:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    torch.set_num_threads(1)
    set_launcher(cfg, 'pytorch')
    runner, watch = build_runner(cfg), Watch()
    runner.register_hook(watch)
    if stop is not None:
        runner.register_hook(Stop(stop))
    try:
        runner.train()
    except KeyboardInterrupt:
        assert stop is not None
    return runner, watch


SHORT: dict[str, Any] = {
    'train_cfg.val_interval': 2,
    'default_hooks.checkpoint.interval': 2,
    'find_unused_parameters': True,
    'train_dataloader.dataset.num_videos': 2,
    'val_dataloader.dataset.length': 10,
    'launcher': 'pytorch',
}
AVERAGED = [dict(type='EMAHook', momentum=0.1, update_buffers=True)]


@cpu_only
def test_a_checkpoint_is_what_every_process_has_and_validates(
    make_config: Callable[..., Config], in_processes: Callable[..., list[Any]], assert_equal: AssertEqual
) -> None:
    cfg = make_config('tiny_video', **SHORT, **{'train_cfg.max_iters': 2, 'custom_hooks': AVERAGED})

    def run(rank: int) -> dict[str, Any]:
        runner, watch = train(cfg, rank)
        (average,) = (hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook))
        optimizer = runner.optim_wrapper.state_dict()
        return {
            'model': dict(runner.model.module.state_dict()),
            'average': dict(average.state_dict()),
            'optimizer': optimizer,
            'validated': watch.validated,
        }

    first, second = in_processes(run)
    assert_equal(first, second, 'the processes')
    saved = torch.load(Path(cfg.work_dir) / 'iter_2.pth', weights_only=True)
    averages = {name.removeprefix('module.'): value for name, value in first['average'].items()}
    assert any(not torch.equal(averages[name], value) for name, value in first['model'].items())
    for name, value in saved['state_dict'].items():
        assert torch.equal(value, averages[name]), name
        assert torch.equal(value, first['validated'][0][name]), name
        assert torch.equal(saved['ema_state_dict'][f'module.{name}'], first['model'][name]), name
    assert_equal(saved['optimizer'], first['optimizer'], 'optimizer')


@cpu_only
def test_a_process_may_have_no_video(
    make_config: Callable[..., Config], in_processes: Callable[..., list[Any]]
) -> None:
    options = {
        'test_cfg': dict(type='StreamTestLoop'),
        'test_evaluator': [dict(type='MultiTaskMetric'), dict(type='TemporalConsistency')],
        'test_dataloader.dataset.num_videos': 1,
    }

    def score(rank: int) -> dict[str, float]:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
        torch.set_num_threads(1)
        cfg = make_config('tiny_video', launcher='pytorch', **options)
        set_launcher(cfg, 'pytorch')
        runner = build_runner(cfg)
        assert bool(len(runner.test_dataloader)) == (rank == 0)
        return runner.test()

    both = in_processes(score)
    alone = build_runner(make_config('tiny_video', 'alone', **options)).test()
    assert both == [alone, alone]


@cpu_only
@pytest.mark.slow
@pytest.mark.parametrize('averaged', [False, True], ids=['plain', 'EMA'])
def test_an_interrupted_run_of_two_processes_ends_with_the_same_weights(
    make_config: Callable[..., Config],
    in_processes: Callable[..., list[Any]],
    assert_equal: AssertEqual,
    averaged: bool,
) -> None:
    hooks = {'custom_hooks': AVERAGED} if averaged else {}

    def run(work_dir: str, *, resume: bool = False, stop: int | None = None) -> Callable[[int], Any]:
        cfg = make_config('tiny_video', work_dir, **SHORT, **{'train_cfg.max_iters': 4, 'resume': resume, **hooks})

        def one(rank: int) -> Any:
            runner, watch = train(cfg, rank, stop)
            return dict(runner.model.module.state_dict()), watch.validated

        return one

    whole, other = in_processes(run('whole'))
    assert_equal(whole, other, 'the processes')
    in_processes(run('again', stop=3))
    weights, validated = in_processes(run('again', resume=True))[0]
    assert_equal(weights, whole[0], 'weights')
    # The checkpoint does not know that the validation after it was completed.
    assert_equal(validated, whole[1], 'what is validated')
    root = Path(make_config('tiny_video', 'whole').work_dir).parent
    first, second = (torch.load(root / name / 'iter_4.pth', weights_only=True) for name in ('whole', 'again'))
    for part in (*STATE, *(['ema_state_dict'] if averaged else [])):
        assert_equal(first[part], second[part], part)


# ---------------------------------------------------------------- the tools

OPTIONS = [
    'train_cfg.max_iters=8',
    'train_cfg.val_interval=4',
    'find_unused_parameters=True',
    'default_hooks.checkpoint.save_best=semseg/mIoU',
]

Start = Callable[..., list[subprocess.Popen]]


@pytest.fixture
def start(tmp_path: Path, launch: Callable[..., subprocess.Popen]) -> Start:
    """`start(tool, *arguments, log, hooks)`: two processes that run a tool."""

    def run(tool: str, *arguments: str, log: str, hooks: str = '[]') -> list[subprocess.Popen]:
        (tmp_path / f'{log}.py').write_text(
            f"_base_ = {str(CONFIG)!r}\ncustom_imports = dict(imports=['unkind_components'])\ncustom_hooks = {hooks}\n"
        )
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = str(free.getsockname()[1])
        arguments = (str(tmp_path / f'{log}.py'), *arguments, '--launcher', 'pytorch')
        joined = {'WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port}
        return [
            launch(tool, *arguments, log=f'{log}_{rank}', **joined, RANK=str(rank), LOCAL_RANK=str(rank))
            for rank in range(2)
        ]

    return run


def scalars(folder: Path) -> dict[int, dict[str, float]]:
    """What the validations of a run logged, by iteration."""
    found = {}
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if 'semseg/mIoU' in entry:
                found[entry.pop('step')] = {name: value for name, value in entry.items() if '/' in name}
    return found


@cpu_only
@pytest.mark.slow
def test_killed_processes_reach_the_weights_of_uninterrupted_ones(
    tmp_path: Path, start: Start, assert_equal: AssertEqual
) -> None:
    """Also, each validation has the scores that tools/test.py finds for the checkpoint beside it."""

    def finish(processes: list[subprocess.Popen], log: str, status: int = 0) -> None:
        for rank, process in enumerate(processes):
            assert process.wait(timeout=300) == status, (tmp_path / f'{log}_{rank}.log').read_text()[-5000:]

    finish(start('train.py', '--work-dir', 'whole', '--cfg-options', *OPTIONS, log='whole'), 'whole')
    kill = f"[dict(type='SignalHook', after=6, number={int(signal.SIGKILL)})]"
    killed = start('train.py', '--work-dir', 'again', '--cfg-options', *OPTIONS, log='killed', hooks=kill)
    finish(killed, 'killed', -signal.SIGKILL)
    assert not (tmp_path / 'again' / 'iter_8.pth').exists()
    finish(start('train.py', '--work-dir', 'again', '--resume', '--cfg-options', *OPTIONS, log='resumed'), 'resumed')

    first, second = (torch.load(tmp_path / name / 'iter_8.pth', weights_only=True) for name in ('whole', 'again'))
    assert len(first['state_dict']) > 100
    for part in STATE:
        assert_equal(first[part], second[part], part)
    logged = scalars(tmp_path / 'whole')
    assert list(logged) == [4, 8]
    assert scalars(tmp_path / 'again') == logged
    for step, expected in logged.items():
        out = tmp_path / f'{step}.json'
        arguments = (f'whole/iter_{step}.pth', '--out', str(out), '--work-dir', 'test')
        finish(start('test.py', *arguments, log=f'test_{step}'), f'test_{step}')
        metrics = json.loads(out.read_text())
        assert {name: metrics[name] for name in expected} == expected


@cpu_only
@pytest.mark.slow
def test_a_stopped_process_ends_the_run(tmp_path: Path, start: Start) -> None:
    stop = f"[dict(type='SignalHook', after=2, number={int(signal.SIGSTOP)}, ranks=(1,))]"
    options = ['--cfg-options', *OPTIONS, 'env_cfg.dist_cfg.timeout=5', 'default_hooks.checkpoint.interval=1']
    processes = start('train.py', '--work-dir', 'run', *options, log='run', hooks=stop)
    assert processes[0].wait(timeout=90) == 1
    error = (tmp_path / 'run_0.log').read_text().rpartition('ConnectionError: ')[2]
    assert 'process 0 of 2' in error
    assert '5 s (env_cfg.dist_cfg.timeout)' in error
    assert torch.load(tmp_path / 'run' / 'iter_2.pth', weights_only=True)['meta']['iter'] == 2
