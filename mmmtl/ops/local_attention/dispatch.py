"""Which backend of local attention runs: by name, by environment variable, or the best for the tensors."""

from __future__ import annotations

import os
from functools import cache

import torch
from mmengine.logging import print_log
from torch import Tensor

from . import cpu_backend, mmcv_backend, torch_backend, triton_backend
from .contract import Backend, Kernel

ENVIRONMENT_VARIABLE = 'MMMTL_LOCAL_ATTENTION'

# Those that run inside `mmmtl::local_attention`, best first: 'auto' takes the first that can run the tensors.
KERNELS: dict[str, Kernel] = {'triton': triton_backend, 'cpu': cpu_backend, 'torch': torch_backend}
_ALL: dict[str, Backend] = {**KERNELS, 'mmcv': mmcv_backend}


def available_backends() -> tuple[str, ...]:
    """Names of the local attention backends that this machine can run, whatever the tensors."""
    return tuple(name for name, backend in _ALL.items() if not backend.missing())


def choose_backend(backend: str, query: Tensor, key: Tensor, value: Tensor, window: int) -> str:
    """Return the name of the backend to run; `MMMTL_LOCAL_ATTENTION` stands in for 'auto'.

    Raises:
        ValueError: the backend is unknown, or cannot run on this machine or with these tensors.
    """
    origin = 'backend'
    if backend == 'auto' and os.environ.get(ENVIRONMENT_VARIABLE):
        origin, backend = ENVIRONMENT_VARIABLE, os.environ[ENVIRONMENT_VARIABLE]
    if backend == 'auto':
        # The tensors first: only a backend that they suit is worth compiling.
        tensors = query, key, value, window
        able = (name for name, kernel in KERNELS.items() if not (kernel.unsupported(*tensors) or kernel.missing()))
        return next(able)
    if backend not in _ALL:
        raise ValueError(f'{origin}={backend!r} is no local attention backend; {_inventory()}')
    chosen = _ALL[backend]
    if refusal := chosen.missing() or chosen.unsupported(query, key, value, window):
        raise ValueError(f'{origin}={backend!r} cannot run: {refusal}; {_inventory()}')
    return backend


@cache
def log_choice(backend: str, device_type: str, dtype: torch.dtype) -> None:
    """Say once per kind of tensor which backend runs."""
    print_log(f'local attention on {device_type}, {dtype}: backend {backend!r}', logger='current')


def _inventory() -> str:
    reasons = ', '.join(f'{name} ({why})' for name, backend in _ALL.items() if (why := backend.missing()))
    return f'available: {", ".join(available_backends())}' + (f'; not available: {reasons}' if reasons else '')
