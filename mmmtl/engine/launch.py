"""Launchers: how the processes of a run find each other, with and without GPUs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed
from mmengine.config import Config

TIMEOUT = 600
"""How many seconds a process waits for another by default (`env_cfg.dist_cfg.timeout`)."""

# Each launcher's environment variables for rank, local rank and number of processes.
VARIABLES = {
    'pytorch': ('RANK', 'LOCAL_RANK', 'WORLD_SIZE'),
    'slurm': ('SLURM_PROCID', 'SLURM_LOCALID', 'SLURM_NTASKS'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_LOCAL_RANK', 'OMPI_COMM_WORLD_SIZE'),
}

LAUNCHERS = ('none', *VARIABLES)


def set_launcher(cfg: Config, launcher: str, local_rank: int = 0) -> None:
    """Prepare a config, in place, for the processes that `launcher` started. Join them now if there is no GPU.

    A process that waits for another longer than `env_cfg.dist_cfg.timeout` seconds ends with an error.
    With GPUs mmengine joins them. Without, its launchers fail in `torch.cuda.set_device`, and its runner passes a GPU
    number that DistributedDataParallel refuses. So gloo joins them here, and the config says how to wrap the model.
    `local_rank` serves launchers that do not set LOCAL_RANK.

    Raises:
        ValueError: the launcher did not start this process.
    """
    cfg.launcher = launcher
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    if launcher == 'none':
        return
    env_cfg = cfg.get('env_cfg') or {}
    cfg.env_cfg = {**env_cfg, 'dist_cfg': {'timeout': TIMEOUT, **(env_cfg.get('dist_cfg') or {})}}
    if torch.cuda.is_available():
        return
    describe_processes(os.environ, launcher)
    cfg.env_cfg.dist_cfg.backend = 'gloo'
    wrapper = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {}), 'device_ids': None}
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo', timeout=timedelta(seconds=cfg.env_cfg.dist_cfg.timeout))


@contextmanager
def name_lost_processes(cfg: Config) -> Iterator[None]:
    """Say what it means if the processes of a run lose one another inside the block.

    Raises:
        ConnectionError: another process stopped, ended, or did something else for longer than the timeout.
    """
    try:
        yield
    except RuntimeError as error:
        # gloo's errors have no class of their own, but begin with its source file.
        if not isinstance(error, torch.distributed.DistError) and 'gloo' not in str(error):
            raise
        raise ConnectionError(
            f'process {os.environ.get("RANK")} of {os.environ.get("WORLD_SIZE")} lost another process, which stopped, '
            f'ended, or took longer than {cfg.env_cfg.dist_cfg.timeout} s (env_cfg.dist_cfg.timeout); read the log of '
            'that process. The checkpoints are whole: --resume continues from the last one.'
        ) from error


def describe_processes(environment: MutableMapping[str, str], launcher: str) -> None:
    """Set torchrun's variables from those of the launcher; refuse an environment that lacks these."""
    names = VARIABLES[launcher]
    if missing := [name for name in names if name not in environment]:
        raise ValueError(
            f'--launcher {launcher}: {", ".join(missing)} is not set, so that launcher did not start this process; use '
            'tools/dist_train.sh or tools/slurm_train.sh, or leave out --launcher'
        )
    for ours, theirs in zip(VARIABLES['pytorch'], names, strict=True):
        environment[ours] = environment[theirs]
    environment.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in environment:
        environment['MASTER_ADDR'] = _first_node(environment) if launcher == 'slurm' else '127.0.0.1'


def _first_node(environment: MutableMapping[str, str]) -> str:
    """Return the node of rank 0 from the abbreviated list of nodes of a Slurm job, e.g. gpu[3-5,7]."""
    nodes = environment.get('SLURM_STEP_NODELIST') or environment.get('SLURM_NODELIST', '')
    shown = subprocess.run(['scontrol', 'show', 'hostnames', nodes], check=True, capture_output=True, text=True)
    return shown.stdout.split()[0]
