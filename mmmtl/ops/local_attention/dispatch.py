"""Selection of a local attention backend: by name, by environment variable, or the best for the tensors."""

from __future__ import annotations

import logging
import os
from functools import cache

import torch
from mmengine.logging import MMLogger, print_log
from torch import Tensor

from . import cpu_backend, mmcv_backend, torch_backend, triton_backend
from .contract import Backend, Kernel

ENVIRONMENT_VARIABLE = 'MMMTL_LOCAL_ATTENTION'

# Backends that run inside `mmmtl::local_attention`; 'auto' takes the first that can run the tensors.
KERNELS: dict[str, Kernel] = {'triton': triton_backend, 'cpu': cpu_backend, 'torch': torch_backend}
_ALL: dict[str, Backend] = {**KERNELS, 'mmcv': mmcv_backend}


def available_backends() -> tuple[str, ...]:
    """Return the names of the local attention backends that can run on this machine."""
    return tuple(name for name, backend in _ALL.items() if not backend.missing())


def missing_backends() -> dict[str, str]:
    """Return why each of the other backends cannot run on this machine."""
    return {name: why for name, backend in _ALL.items() if (why := backend.missing())}


def choose_backend(backend: str, query: Tensor, key: Tensor, value: Tensor, window: int) -> str:
    """Return the name of the backend to run, and refuse one that cannot; `MMMTL_LOCAL_ATTENTION` replaces 'auto'."""
    origin = 'backend'
    if backend == 'auto' and os.environ.get(ENVIRONMENT_VARIABLE):
        origin, backend = ENVIRONMENT_VARIABLE, os.environ[ENVIRONMENT_VARIABLE]
    if backend == 'auto':
        # Check the tensors first: `missing` may compile the backend.
        tensors = query, key, value, window
        able = (name for name, kernel in KERNELS.items() if not (kernel.unsupported(*tensors) or kernel.missing()))
        return next(able)
    if backend not in _ALL:
        raise ValueError(f'{origin}={backend!r} is not a local attention backend; {_inventory()}')
    chosen = _ALL[backend]
    if refusal := chosen.missing() or chosen.unsupported(query, key, value, window):
        raise ValueError(f'{origin}={backend!r} cannot run: {refusal}; {_inventory()}')
    return backend


@cache
def log_choice(backend: str, device_type: str, dtype: torch.dtype) -> None:
    """Log once per kind of tensor which backend runs; where no run writes a log file, this is for debugging alone."""
    in_a_run = any(isinstance(handler, logging.FileHandler) for handler in MMLogger.get_current_instance().handlers)
    text = f'local attention on {device_type}, {dtype}: backend {backend!r}'
    print_log(text, logger='current', level=logging.INFO if in_a_run else logging.DEBUG)


def _inventory() -> str:
    reasons = ', '.join(f'{name} ({why})' for name, why in missing_backends().items())
    return f'available: {", ".join(available_backends())}' + (f'; not available: {reasons}' if reasons else '')
