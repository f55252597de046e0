"""Launchers: their variables translated to torchrun's, and a group of one process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed
from mmengine.config import Config

from mmmtl.engine.launch import TIMEOUT, describe_processes, name_lost_processes, set_launcher
from mmmtl.tasks import sum_over_processes


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """An environment without launcher variables; it is restored afterwards, and the process group destroyed."""
    saved = dict(os.environ)
    for name in saved:
        if name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE') or name.startswith(('MASTER_', 'SLURM_', 'OMPI_')):
            del os.environ[name]
    yield os.environ
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    os.environ.clear()
    os.environ.update(saved)


def test_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\n[ "$*" = "show hostnames gpu[3-5,7]" ] && printf "gpu3\\ngpu4\\ngpu5\\ngpu7\\n"\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    said = {'SLURM_PROCID': '9', 'SLURM_LOCALID': '1', 'SLURM_NTASKS': '16', 'SLURM_NODELIST': 'gpu[3-5,7]'}
    environment = dict(said)
    describe_processes(environment, 'slurm')
    ours = {'RANK': '9', 'LOCAL_RANK': '1', 'WORLD_SIZE': '16', 'MASTER_ADDR': 'gpu3', 'MASTER_PORT': '29500'}
    assert environment == {**said, **ours}

    chosen = {**said, 'MASTER_ADDR': 'login', 'MASTER_PORT': '4'}
    describe_processes(chosen, 'slurm')
    assert (chosen['MASTER_ADDR'], chosen['MASTER_PORT']) == ('login', '4')


def test_mpi() -> None:
    environment = {'OMPI_COMM_WORLD_RANK': '1', 'OMPI_COMM_WORLD_LOCAL_RANK': '1', 'OMPI_COMM_WORLD_SIZE': '2'}
    describe_processes(environment, 'mpi')
    assert [environment[name] for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE')] == ['1', '1', '2']
    assert environment['MASTER_ADDR'] == '127.0.0.1'


def test_a_launcher_that_did_not_start_us() -> None:
    with pytest.raises(ValueError, match=r'--launcher slurm: SLURM_PROCID, SLURM_NTASKS is not set.*slurm_train\.sh'):
        describe_processes({'SLURM_LOCALID': '0'}, 'slurm')


def test_no_launcher_changes_nothing_else(environment: dict[str, str]) -> None:
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict(backend='nccl'))))
    set_launcher(cfg, 'none')
    assert cfg.to_dict() == dict(env_cfg=dict(dist_cfg=dict(backend='nccl')), launcher='none')
    assert not torch.distributed.is_initialized()


@pytest.mark.skipif(torch.cuda.is_available(), reason='mmengine joins processes that have GPUs')
def test_processes_without_gpu_meet_through_gloo(environment: dict[str, str]) -> None:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    environment.update(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_PORT=str(port))
    wrapper = dict(type='MMDistributedDataParallel', broadcast_buffers=True)
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict(backend='nccl')), find_unused_parameters=True))
    set_launcher(cfg, 'pytorch')
    assert torch.distributed.get_backend() == 'gloo'
    assert cfg.env_cfg.dist_cfg.to_dict() == dict(backend='gloo', timeout=TIMEOUT)
    assert cfg.model_wrapper_cfg.to_dict() == {
        **wrapper,
        'broadcast_buffers': False,
        'find_unused_parameters': True,
        'device_ids': None,
    }
    cfg.model_wrapper_cfg = wrapper
    set_launcher(cfg, 'pytorch')
    assert cfg.model_wrapper_cfg.broadcast_buffers is True
    assert cfg.model_wrapper_cfg.device_ids is None
    bare = Config()
    set_launcher(bare, 'pytorch')
    assert bare.env_cfg.dist_cfg.to_dict() == dict(backend='gloo', timeout=TIMEOUT)


@pytest.mark.skipif(torch.cuda.is_available(), reason='mmengine joins processes that have GPUs')
def test_a_stopped_process_ends_the_others(environment: dict[str, str], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict(timeout=2))))

    def be(rank: int) -> None:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_PORT=str(port))
        set_launcher(cfg, 'pytorch')
        sum_over_processes(torch.tensor(1.0))
        if rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        try:
            with name_lost_processes(cfg):
                sum_over_processes(torch.tensor(1.0))
        except ConnectionError as error:
            (tmp_path / 'error').write_text(f'{error} {error.__cause__}')

    context = multiprocessing.get_context('fork')
    first, second = (context.Process(target=be, args=(rank,)) for rank in range(2))
    for process in (first, second):
        process.start()
    first.join(timeout=60)
    second.kill()
    assert first.exitcode == 0
    message = (tmp_path / 'error').read_text()
    assert 'process 0 of 2' in message and ' 2 s (env_cfg.dist_cfg.timeout)' in message and '--resume' in message


def test_other_errors_stay_what_they_are() -> None:
    error = RuntimeError('out of memory')
    with pytest.raises(RuntimeError) as raised, name_lost_processes(Config()):
        raise error
    assert raised.value is error
