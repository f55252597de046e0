"""--help everywhere; the scripts that start several processes, on CPUs with torchrun and with a Slurm of one node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
PYTHON_SCRIPTS = sorted(
    str(path.relative_to(ROOT))
    for folder in ('tools', 'demo')
    for path in (ROOT / folder).rglob('*.py')
    if '__main__' in path.read_text()
)
SHELL_SCRIPTS = {'dist_train.sh': 2, 'dist_test.sh': 3, 'slurm_train.sh': 3, 'slurm_test.sh': 4}
"""How many arguments each needs."""

cpu_only = pytest.mark.skipif(torch.cuda.is_available(), reason='two processes need two GPUs, or none')


def run(command: list[str], timeout: int = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=timeout
    )


def test_the_sweep_finds_the_scripts() -> None:
    assert {'tools/train.py', 'tools/test.py', 'demo/image_demo.py', 'demo/video_demo.py'} < set(PYTHON_SCRIPTS)
    assert {path.name for path in (ROOT / 'tools').glob('*.sh')} == set(SHELL_SCRIPTS)


@pytest.mark.parametrize('script', PYTHON_SCRIPTS)
def test_help_of_python_scripts(run_tool: Callable[..., str], capsys: pytest.CaptureFixture[str], script: str) -> None:
    with pytest.raises(SystemExit) as exit_info:
        run_tool(script, '--help')
    assert exit_info.value.code == 0
    assert f'usage: {Path(script).name}' in capsys.readouterr().out


@pytest.mark.parametrize('script', SHELL_SCRIPTS)
def test_help_of_shell_scripts(script: str) -> None:
    shown = run([f'tools/{script}', '--help'])
    assert shown.returncode == 0
    assert shown.stdout.startswith(f'usage: tools/{script} ')
    assert shown.stdout.split('[')[0].count(' ') == SHELL_SCRIPTS[script] + 2
    refused = run([f'tools/{script}', *['argument'] * (SHELL_SCRIPTS[script] - 1)])
    assert refused.returncode == 2
    assert refused.stderr.startswith(f'usage: tools/{script} ')


def test_torchrun_on_one_machine_and_on_several() -> None:
    alone = run(['tools/dist_test.sh', 'a b.py', 'c.pth', '2', '--out', 'm.json'], PYTHON='echo').stdout.strip()
    assert alone == (
        '-m torch.distributed.run --standalone --nproc-per-node 2 '
        f'{ROOT}/tools/test.py a b.py c.pth --launcher pytorch --out m.json'
    )
    nodes = dict(NNODES='3', NODE_RANK='1', MASTER_ADDR='m')
    several = run(['tools/dist_train.sh', 'c.py', '4'], PYTHON='echo', **nodes).stdout.strip()
    assert several == (
        '-m torch.distributed.run --nnodes 3 --node-rank 1 --master-addr m --master-port 29500 --nproc-per-node 4 '
        f'{ROOT}/tools/train.py c.py --launcher pytorch'
    )


def test_resources_of_a_slurm_job(tmp_path: Path) -> None:
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\necho "$OMP_NUM_THREADS" "$MASTER_PORT" "$@"\n')
    srun.chmod(0o755)
    ours = {'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'PYTHON': 'py', 'OMP_NUM_THREADS': '', 'MASTER_PORT': ''}

    def submitted(*command: str, **environment: str) -> list[str]:
        done = run([f'tools/{command[0]}', *command[1:]], **ours, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().split(' ', 2)

    gpus = dict(GPUS='16', SRUN_ARGS='--time 1:00')
    threads, port, words = submitted('slurm_train.sh', 'gpu', 'job', 'c.py', '--amp', **gpus)
    assert (threads, 20000 <= int(port) < 40000) == ('5', True)
    assert words == (
        '--partition gpu --job-name job --ntasks 16 --ntasks-per-node 8 --gres gpu:8 --cpus-per-task 5 '
        f'--kill-on-bad-exit=1 --time 1:00 py -u {ROOT}/tools/train.py c.py --launcher slurm --amp'
    )
    cpus = dict(GPUS='0', NTASKS='2', CPUS_PER_TASK='1')
    threads, _, words = submitted('slurm_test.sh', 'cpu', 'job', 'c.py', 'w.pth', **cpus)
    assert threads == '1'
    assert words == (
        '--partition cpu --job-name job --ntasks 2 --cpus-per-task 1 --kill-on-bad-exit=1 '
        f'py -u {ROOT}/tools/test.py c.py w.pth --launcher slurm'
    )


def read_metrics(path: Path) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the metrics and scores of classes, and the confusion matrices."""
    metrics = json.loads(path.read_text())
    del metrics['meta']
    matrices = metrics.pop('confusion')
    for task, scores in metrics.pop('class_iou').items():
        metrics |= {f'{task}/{name}': score for name, score in scores.items() if score is not None}
    assert len(metrics) > 50
    return metrics, matrices


def check_two_processes(
    train: list[str], test: list[str], tiny: tuple[str, list[str]], folder: Path, environment: dict[str, str]
) -> str:
    """Train and test by two processes; the metrics are those of one process. Returns the log of the training.

    Of 13 clips in batches of 2 one process gets 7, so its last batch is not full, and the other 6.
    """
    config, options = tiny
    environment = {'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT), **environment}

    def finish(command: list[str]) -> None:
        done = run(command, 300, **environment)
        assert done.returncode == 0, done.stderr[-3000:]

    finish([*train, '--work-dir', str(folder), '--cfg-options', *options])
    checkpoint = str(folder / 'iter_2.pth')
    common = ['--work-dir', f'{folder}/test', '--cfg-options', *options, 'test_dataloader.dataset.indices=13']
    finish([word.format(checkpoint=checkpoint) for word in test] + ['--out', f'{folder}/2.json', *common])
    finish([sys.executable, 'tools/test.py', config, checkpoint, '--out', f'{folder}/1.json', *common])
    (one, matrices), (two, same) = (read_metrics(folder / f'{processes}.json') for processes in (1, 2))
    assert two == pytest.approx(one, rel=1e-6, abs=1e-6) and same == matrices
    (log,) = folder.glob('*/*.log')
    return log.read_text()


@cpu_only
@pytest.mark.slow
def test_two_processes_on_cpus(tiny: tuple[str, list[str]], tmp_path: Path) -> None:
    train = ['tools/dist_train.sh', tiny[0], '2']
    test = ['tools/dist_test.sh', tiny[0], '{checkpoint}', '2']
    assert 'Distributed launcher: pytorch' in check_two_processes(train, test, tiny, tmp_path, {})


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file by its path in the folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@cpu_only
@pytest.mark.slow
def test_two_processes_share_whole_videos(tiny: tuple[str, list[str]], tmp_path: Path) -> None:
    """Three videos on two processes: metrics, written maps and the samples of a report are those of one."""
    config, options = tiny
    environment = {'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT)}
    train = [sys.executable, 'tools/train.py', config, '--work-dir', str(tmp_path), '--cfg-options', *options]
    checkpoint = str(tmp_path / 'iter_2.pth')
    options = [
        *options,
        'test_dataloader.dataset.num_videos=3',
        'test_dataloader.dataset.length=9',
        'test_dataloader.dataset.step=1',
    ]
    one = [sys.executable, 'tools/test.py', config, checkpoint]
    two = ['tools/dist_test.sh', config, checkpoint, '2']
    for number, command in enumerate((one, two), 1):
        command += [
            '--stream',
            '--report',
            '--work-dir',
            f'{tmp_path}/test{number}',
            '--out',
            f'{tmp_path}/{number}.json',
        ]
        command += ['--out-dir', f'{tmp_path}/maps{number}', '--show-dir', f'{tmp_path}/panels{number}']
        command += ['--cfg-options', *options]
    for command in (train, one, two):
        done = run(command, 300, **environment)
        assert done.returncode == 0, done.stderr[-3000:]
    alone, shared = (json.loads((tmp_path / f'{number}.json').read_text()) for number in (1, 2))
    assert alone.pop('stream/frames') == shared.pop('stream/frames') == 27
    for metrics in (alone, shared):
        del metrics['meta']
    assert 'temporal/semseg/VC8' in alone
    for key in ('class_iou', 'confusion'):
        assert alone.pop(key) == shared.pop(key)
    assert shared == pytest.approx(alone, rel=1e-6, abs=1e-6)
    assert any((tmp_path / 'panels2').iterdir())
    for folder in ('maps{}', 'test{}/samples'):
        first, second = (contents(tmp_path / folder.format(number)) for number in (1, 2))
        assert first
        assert first == second


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of a Slurm of one node, which is started and stopped."""
    path = f'{os.environ["PATH"]}:/usr/sbin:/usr/local/sbin'
    if missing := [name for name in ('munged', 'slurmctld', 'slurmd', 'srun') if shutil.which(name, path=path) is None]:
        pytest.skip(f'needs {missing} (Debian: apt-get install slurm-wlm munge)')
    folder = tmp_path_factory.mktemp('slurm')
    script = str(Path(__file__).with_name('slurm.sh'))
    started = run([script, 'start', str(folder)])
    try:
        assert started.returncode == 0, started.stderr
        yield {'SLURM_CONF': str(folder / 'slurm.conf'), 'GPUS': '0', 'NTASKS': '2', 'CPUS_PER_TASK': '1'}
    finally:
        run([script, 'stop', str(folder)])


@cpu_only
@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason='a job of two tasks needs two cores')
def test_two_slurm_tasks_on_cpus(slurm: dict[str, str], tiny: tuple[str, list[str]], tmp_path: Path) -> None:
    train = ['tools/slurm_train.sh', 'debug', 'test', tiny[0]]
    test = ['tools/slurm_test.sh', 'debug', 'test', tiny[0], '{checkpoint}']
    assert 'Distributed launcher: slurm' in check_two_processes(train, test, tiny, tmp_path, slurm)
