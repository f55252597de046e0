"""Time and memory of a step, and a description of the machine."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

Step = Callable[[], Any]
Clock = Callable[[], float]


def step_seconds(step: Step, device: torch.device | str, clock: Clock = time.perf_counter) -> float:
    """Return the seconds until the results of a step exist; freeing them is not timed."""
    device = torch.device(device)
    wait: Callable[[], None] = (
        (lambda: None) if device.type == 'cpu' else partial(torch.accelerator.synchronize, device)
    )
    wait()
    start = clock()
    result = step()
    wait()
    taken = clock() - start
    del result
    return taken


def peak_memory(step: Step, device: torch.device | str) -> int:
    """Return the largest growth of memory during a step in bytes; on a CPU, of resident memory (Linux)."""
    gc.collect()
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with contextlib.suppress(OSError, AttributeError, TypeError):  # free memory that is kept would hide the growth
        ctypes.CDLL(None).malloc_trim(0)
    Path('/proc/self/clear_refs').write_text('5')  # resets the peak
    before = _status('VmRSS')
    step()
    return _status('VmHWM') - before


def describe_machine(device: torch.device | str) -> dict[str, Any]:
    """Return what readers of a measurement must know about the machine."""
    result: dict[str, Any] = {
        'torch': torch.__version__,
        'python': platform.python_version(),
        'cpu': _cpu_model(),
        'cores': os.cpu_count(),
        'instruction_set': torch.backends.cpu.get_cpu_capability(),
        'threads': torch.get_num_threads(),
    }
    if hasattr(os, 'getloadavg'):  # not on Windows
        result['load'] = os.getloadavg()
    if torch.device(device).type == 'cuda':
        result |= {
            'gpu': torch.cuda.get_device_name(device),
            'cuda': torch.version.cuda,
            'float32_matmul_precision': torch.get_float32_matmul_precision(),
        }
    return result


def _status(name: str) -> int:
    lines = Path('/proc/self/status').read_text(encoding='utf-8').splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _cpu_model() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
        return next(line.split(':')[1].strip() for line in lines if line.startswith('model name'))
    return platform.processor()
