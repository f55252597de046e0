"""How the processes of a run find each other, with GPUs and without."""

from __future__ import annotations

import os
import subprocess
from collections.abc import MutableMapping

import torch
import torch.distributed
from mmengine.config import Config

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')

# The environment variables in which launchers say what torchrun says as RANK, LOCAL_RANK and WORLD_SIZE.
VARIABLES = {
    'pytorch': ('RANK', 'LOCAL_RANK', 'WORLD_SIZE'),
    'slurm': ('SLURM_PROCID', 'SLURM_LOCALID', 'SLURM_NTASKS'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_LOCAL_RANK', 'OMPI_COMM_WORLD_SIZE'),
}


def set_launcher(cfg: Config, launcher: str, local_rank: int = 0) -> None:
    """Prepare a config for the processes that `launcher` started; join them at once where there is no GPU.

    With GPUs mmengine does it. Without, its launchers stop at `torch.cuda.set_device`, and its runner hands the number
    of a GPU to DistributedDataParallel, which refuses it; so here gloo joins the processes first and the config says
    how the model is wrapped.

    Args:
        cfg: changed in place.
        launcher: one of `LAUNCHERS`.
        local_rank: where the launcher passes it as an argument.

    Raises:
        ValueError: the launcher has not started this process.
    """
    cfg.launcher = launcher
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    if launcher == 'none' or torch.cuda.is_available():
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
        torch.distributed.init_process_group('gloo')


def describe_processes(environment: MutableMapping[str, str], launcher: str) -> None:
    """Say in torchrun's variables what the launcher says in its own.

    Raises:
        ValueError: a variable of the launcher is missing.
    """
    names = VARIABLES[launcher]
    if missing := [name for name in names if name not in environment]:
        raise ValueError(
            f'--launcher {launcher}: {", ".join(missing)} is not set, so this process was not started by it; start it '
            'with tools/dist_train.sh or tools/slurm_train.sh, or leave out --launcher'
        )
    for ours, theirs in zip(VARIABLES['pytorch'], names, strict=True):
        environment[ours] = environment[theirs]
    environment.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in environment:
        environment['MASTER_ADDR'] = _first_node(environment) if launcher == 'slurm' else '127.0.0.1'


def _first_node(environment: MutableMapping[str, str]) -> str:
    """Name of the node of rank 0 of a Slurm job, whose list of nodes is abbreviated (gpu[3-5,7])."""
    nodes = environment.get('SLURM_STEP_NODELIST') or environment.get('SLURM_NODELIST', '')
    shown = subprocess.run(['scontrol', 'show', 'hostnames', nodes], check=True, capture_output=True, text=True)
    return shown.stdout.split()[0]
