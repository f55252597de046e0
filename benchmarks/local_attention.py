"""Measure every backend of local attention and every alternative that can be imported, in one run.

    python benchmarks/local_attention.py --threads 2 --json benchmarks/results/local_attention_cpu.json

Each is first checked against float64. Then all take turns, so that a busy machine disturbs all alike (short steps are
repeated in a turn). The report has the medians of forward and forward + backward, the peak of extra memory, the
speed-up over the fastest form with unfold, and the ratio to the floor: the time of the unavoidable bytes at the copy
bandwidth of this run or, on a CPU, of the arithmetic at its GEMM rate, whichever is longer. On a GPU small maps are
replayed from a CUDA graph where possible.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from typing import Any

import torch
from common import Machine, add_run_arguments, write_results
from local_attention_rivals import Attention, Contender, Unavailable, contenders
from torch import Tensor

from mmmtl.cli.arguments import start_clock
from mmmtl.profiling.measure import Step, peak_memory

TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 6e-2}
SLOW = 0.5  # seconds; longer steps run only in the first rounds
SLOW_ROUNDS = 3


@dataclass(frozen=True)
class Case:
    """The size of a problem: N images, C channels of query and key, V of value, L side of the window, H W map."""

    height: int
    width: int
    images: int
    channels: int
    depth: int
    window: int
    dtype: torch.dtype
    layout: str
    device: str

    def __str__(self) -> str:
        shape = f'{self.height}x{self.width}, N={self.images}, C={self.channels}, V={self.depth}, L={self.window}'
        return f'{shape}, {str(self.dtype).removeprefix("torch.")}, {self.layout}, {self.device}'

    @property
    def flops(self) -> int:
        pixels = self.images * self.height * self.width
        return 2 * self.window**2 * (self.channels + self.depth) * pixels

    def bytes(self, backward: bool) -> int:
        """Return the minimal traffic: the backward reads q, k, v, g and writes three gradients."""
        values = 6 * self.channels + 5 * self.depth if backward else 2 * self.channels + 2 * self.depth
        return values * self.images * self.height * self.width * self.dtype.itemsize

    def tensors(self, height: int = 0, width: int = 0) -> list[Tensor]:
        """Return query, key, value and the gradient of the output."""
        generator = torch.Generator().manual_seed(0)
        memory_format = torch.channels_last if self.layout == 'channels_last' else torch.contiguous_format
        result: list[Tensor] = []
        for channels in (self.channels, self.channels, self.depth, self.depth):
            shape = (self.images, channels, height or self.height, width or self.width)
            x = torch.randn(shape, generator=generator)
            if channels == self.channels and len(result) < 2:
                # Logits of standard deviation 1, for a softmax that is neither flat nor one-hot.
                x = x * channels**-0.25
            result.append(x.to(self.device, self.dtype).contiguous(memory_format=memory_format))
        return result


def check(case: Case, contender: Contender) -> float:
    """Return the largest error of output and gradients against float64, relative to the largest number."""
    height, width = 16, 32
    *inputs, grad = case.tensors(height, width)
    exact = [x.cpu().double().requires_grad_() for x in inputs]
    oracle = next(c for c in contenders(case.device) if c.name == 'unfold, product + sum').make(case.window, exact[0])
    wanted = [oracle(*exact)]
    attention = contender.make(case.window, inputs[0])
    if contender.differentiable and not contender.shifted_border:
        inputs = [x.requires_grad_() for x in inputs]
        wanted += torch.autograd.grad(wanted[0], exact, grad.cpu().double())
        got = [attention(*inputs)]
        got += torch.autograd.grad(got[0], inputs, grad)
    else:
        got = [attention(*inputs)]
    inside = slice(case.window, -case.window) if contender.shifted_border else slice(None)
    pairs = [(a.detach().cpu().double()[..., inside, inside], b.detach()[..., inside, inside])
             for a, b in zip(got, wanted, strict=True)]  # fmt: skip
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def steps(case: Case, attention: Attention, differentiable: bool) -> dict[str, Any]:
    """Return the measured steps: the forward of inference, and a forward with its backward."""
    *inputs, grad = case.tensors()
    leaves = [x.detach().requires_grad_() for x in inputs]

    def forward() -> Any:
        with torch.no_grad():
            return attention(*inputs)

    def forward_backward() -> Any:
        out = attention(*leaves)
        return out, torch.autograd.grad(out, leaves, grad)

    return {'forward': forward, 'both': forward_backward} if differentiable else {'forward': forward}


def prepare(case: Case, contender: Contender, row: dict[str, Any]) -> dict[str, Any]:
    """Check a contender, warm it up, measure its memory, and return its steps."""
    row['error'] = check(case, contender)
    if row['error'] > TOLERANCE[case.dtype]:
        raise Unavailable(f'wrong by {row["error"]:.1e} of the largest number')
    *inputs, _ = case.tensors()
    result = steps(case, contender.make(case.window, inputs[0]), contender.differentiable)
    for mode, step in list(result.items()):
        step()
        row[f'{mode}_peak_mb'] = peak_memory(step, case.device) / 1e6
        if case.device == 'cuda' and case.height * case.width <= 1 << 12:
            result[mode], row[f'{mode}_in_graph'] = replayed(step)
    return result


def replayed(step: Step) -> tuple[Step, bool]:
    """Return a step as a replay of its CUDA graph, or unchanged if it cannot be captured; and which of both."""
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


def measure(case: Case, machine: Machine, rounds: int, only: str) -> dict[str, Any]:
    """Return the rows of one table."""
    rows: dict[str, dict[str, Any]] = {}
    work: dict[str, dict[str, Step]] = {}
    times: dict[tuple[str, str], list[float]] = {}
    for contender in contenders(case.device):
        if only and not any(part in contender.name for part in only.split(',')):
            continue
        row = rows[contender.name] = {'name': contender.name, 'kind': contender.kind}
        try:
            work[contender.name] = prepare(case, contender, row)
        except Unavailable as reason:
            row['left_out'] = str(reason)
        except Exception as error:  # an alternative that breaks is a result, not a reason to stop
            row['left_out'] = f'{type(error).__name__}: {(str(error).splitlines() or [""])[0][:120]}'
    for number in range(rounds):
        machine.calibrate(case.dtype)
        for name, modes in work.items():
            for mode, step in modes.items():
                taken = times.setdefault((name, mode), [])
                if number < SLOW_ROUNDS or min(taken) < SLOW:
                    taken.append(machine.seconds(step))
    floors = {
        mode: max(case.bytes(mode == 'both') / machine.bandwidth,
                  case.flops * (3 if mode == 'both' else 1) / machine.gemm_rate if case.device == 'cpu' else 0)
        for mode in ('forward', 'both')
    }  # fmt: skip
    unfold = dict.fromkeys(floors, float('inf'))
    for (name, mode), taken in times.items():
        if rows[name]['kind'] == 'unfold':
            unfold[mode] = min(unfold[mode], statistics.median(taken))
    for (name, mode), taken in times.items():
        median = statistics.median(taken)
        rows[name][f'{mode}_ms'], rows[name][f'{mode}_min_ms'] = median * 1e3, min(taken) * 1e3
        rows[name][f'{mode}_over_floor'] = median / floors[mode]
        if unfold[mode] < float('inf'):
            rows[name][f'{mode}_speedup'] = unfold[mode] / median
    return {
        'case': str(case), 'rounds': rounds, 'bandwidth_gb_s': machine.bandwidth / 1e9,
        'gemm_gflop_s': machine.gemm_rate / 1e9, 'forward_floor_ms': floors['forward'] * 1e3,
        'both_floor_ms': floors['both'] * 1e3, 'rows': list(rows.values()),
    }  # fmt: skip


def show(table: dict[str, Any]) -> None:
    """Print a table: forward / forward + backward in each column."""
    print(f'\n{table["case"]}: copy {table["bandwidth_gb_s"]:.0f} GB/s, GEMM {table["gemm_gflop_s"]:.0f} GFLOP/s, '
          f'floor {table["forward_floor_ms"]:.3g} / {table["both_floor_ms"]:.3g} ms')  # fmt: skip
    head = ('', 'median ms', 'minimum ms', 'x floor', 'faster than unfold', 'peak MB', 'error')
    print(f'{head[0]:27}' + ''.join(f'{x:>20}' for x in head[1:-1]) + f'{head[-1]:>10}')
    for row in table['rows']:
        if 'left_out' in row:
            print(f'{row["name"]:27}  left out: {row["left_out"]}')
            continue
        cells = []
        for key in ('ms', 'min_ms', 'over_floor', 'speedup', 'peak_mb'):
            values = (row.get(f'{mode}_{key}') for mode in ('forward', 'both'))
            cells.append(' / '.join('-' if x is None else f'{x:.3g}' if x < 1000 else f'{x:.0f}' for x in values))
        print(f'{row["name"]:27}' + ''.join(f'{x:>20}' for x in cells) + f'{row["error"]:>10.0e}')


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_arguments(parser)
    parser.add_argument('--sizes', nargs='+', default=['32x64', '128x256'], metavar='HxW')
    parser.add_argument('--dtypes', nargs='+', help='(default: float32 on a CPU, bfloat16 and float32 on a GPU)')
    parser.add_argument('--layout', default='channels_last', choices=('channels_last', 'contiguous'))
    parser.add_argument('--images', type=int, default=1)
    parser.add_argument('--channels', type=int, default=256, help='of query, key and value')
    parser.add_argument('--window', type=int, default=5)
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--quick', action='store_true', help='only the first size, in 3 rounds')
    parser.add_argument('--only', default='', help='parts of the names to measure, separated by commas')
    args = parser.parse_args()
    machine = Machine(args.device, start_clock(args))
    tables = []
    for dtype in args.dtypes or (['float32'] if args.device == 'cpu' else ['bfloat16', 'float32']):
        for size in args.sizes[: 1 if args.quick else None]:
            height, width = map(int, size.split('x'))
            case = Case(height, width, args.images, args.channels, args.channels, args.window,
                        getattr(torch, dtype), args.layout, args.device)  # fmt: skip
            tables.append(measure(case, machine, 3 if args.quick else args.rounds, args.only))
            show(tables[-1])
    write_results(args, tables=tables)


if __name__ == '__main__':
    main()
