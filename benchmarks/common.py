"""Shared parts of the benchmarks: arguments, the machine's own rates, and files of results."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mmmtl.cli.arguments import add_timing_arguments
from mmmtl.io import write_text
from mmmtl.profiling.measure import Step, describe_machine

TURN = 0.02  # seconds to repeat a step on a CPU


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add arguments for the device, the clock and the file of results."""
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', choices=('cpu', 'cuda'))
    add_timing_arguments(parser)
    parser.add_argument('--json', type=Path, help='also write the results there')


def write_results(args: argparse.Namespace, **results: Any) -> None:
    """Write results with their date and machine to `--json`, if it is given."""
    if args.json is None:
        return
    head = {
        'date': time.strftime('%Y-%m-%d'),
        'clock': args.clock,
        'machine': describe_machine(args.device),
        'host_os': platform.platform(),
    }
    write_text(args.json, json.dumps({**head, **results}, indent=1) + '\n')


class Machine:
    """A device that times steps; its rates of copying and of multiplying matrices are the best of all calibrations."""

    def __init__(self, device: str, clock: Callable[[], float]):
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
                del result  # freeing memory is not timed
            return taken / repeats
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        repeats = 10  # the events are too coarse for one step
        torch.cuda.synchronize()
        begin.record()
        for _ in range(repeats):
            step()
        end.record()
        torch.cuda.synchronize()
        return float(begin.elapsed_time(end)) * 1e-3 / repeats

    def calibrate(self, dtype: torch.dtype) -> None:
        """Measure both rates again."""
        moved = 2 * self._source.numel() * self._source.element_size()
        self.bandwidth = max(self.bandwidth, moved / self.seconds(lambda: self._target.copy_(self._source)))
        side = 8192 if self.device == 'cuda' else 768
        first, second = (torch.ones(side, side, device=self.device, dtype=dtype) for _ in range(2))
        product = torch.empty_like(first)
        self.gemm_rate = max(self.gemm_rate, 2 * side**3 / self.seconds(lambda: torch.mm(first, second, out=product)))
