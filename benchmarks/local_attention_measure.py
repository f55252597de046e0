"""Clocks and the machine's own rates, for the scripts beside it."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from mmmtl.profiling.measure import Step

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
