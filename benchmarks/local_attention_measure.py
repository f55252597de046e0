"""Clocks, memory and the machine's own rates, for `local_attention.py`."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mmmtl.ops.local_attention import cpu_backend

Step = Callable[[], Any]
TURN = 0.02  # seconds for which a step is repeated on a CPU


class Machine:
    """Times steps on a device, and how fast it copies and multiplies matrices: the best of all calibrations."""

    def __init__(self, device: str, clock: Callable[[], float] = time.perf_counter):
        self.device, self.clock = device, clock
        self.bandwidth = self.gemm_rate = 0.0
        elements = (1 << 28 if device == 'cuda' else 1 << 24) // 4  # beyond the cache
        self._source = torch.ones(elements, device=device)
        self._target = torch.zeros_like(self._source)

    def seconds(self, step: Step) -> float:
        if self.device == 'cpu':
            taken, repeats = 0.0, 0
            while taken < TURN:
                start = self.clock()
                result = step()
                taken += self.clock() - start
                repeats += 1
                del result  # freeing is not timed, for anybody
            return taken / repeats
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        repeats = 10  # the clock of the events is too coarse for one
        torch.cuda.synchronize()
        begin.record()
        for _ in range(repeats):
            step()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) * 1e-3 / repeats

    def calibrate(self, dtype: torch.dtype) -> None:
        """Measure both rates once more."""
        moved = 2 * self._source.numel() * self._source.element_size()
        self.bandwidth = max(self.bandwidth, moved / self.seconds(lambda: self._target.copy_(self._source)))
        side = 8192 if self.device == 'cuda' else 768
        first, second = (torch.ones(side, side, device=self.device, dtype=dtype) for _ in range(2))
        product = torch.empty_like(first)
        self.gemm_rate = max(self.gemm_rate, 2 * side**3 / self.seconds(lambda: torch.mm(first, second, out=product)))

    def describe(self) -> dict[str, Any]:
        """Return what a reader must know of the machine."""
        result = {
            'torch': torch.__version__,
            'python': platform.python_version(),
            'cpu': _cpu_model(),
            'cores': os.cpu_count(),
            'instruction_set': cpu_backend.instruction_set(),
            'threads': torch.get_num_threads(),
            'load': os.getloadavg(),
        }
        if self.device == 'cuda':
            result |= {
                'gpu': torch.cuda.get_device_name(),
                'cuda': torch.version.cuda,
                'float32_matmul_precision': torch.get_float32_matmul_precision(),
            }
        return result


def peak_memory(step: Step, device: str) -> int:
    """Return by how many bytes the memory grows at most during a step; on a CPU, resident memory (Linux)."""
    gc.collect()
    if device == 'cuda':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with contextlib.suppress(OSError, AttributeError):  # give back what is free, or it would hide the growth
        ctypes.CDLL(None).malloc_trim(0)
    Path('/proc/self/clear_refs').write_text('5')  # the peak starts again from here
    before = _status('VmRSS')
    step()
    return _status('VmHWM') - before


def replayed(step: Step) -> tuple[Step, bool]:
    """Return the step as a replay of its CUDA graph, or as it is if it cannot be captured; and which."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        return graph.replay, True
    except RuntimeError:
        torch.cuda.synchronize()
        return step, False


def _status(name: str) -> int:
    lines = Path('/proc/self/status').read_text(encoding='utf-8').splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _cpu_model() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
        return next(line.split(':')[1].strip() for line in lines if line.startswith('model name'))
    return platform.processor()
