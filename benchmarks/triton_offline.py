"""Compile the Triton kernels of local attention for GPUs, without having them, and print the cost of each tile.

    python benchmarks/triton_offline.py --arch 80 90 --window 5 --dtype bfloat16

Registers are per thread, at most 255; the stack holds spilled ones, in bytes per thread; shared memory is per program.
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from mmmtl.ops.local_attention import triton_backend
from mmmtl.ops.local_attention.contract import empty_gradients, empty_outputs

WINDOWS = (3, 5, 7, 9, 15)
DTYPES = ('bfloat16', 'float16', 'float32')
LAYOUTS = ('channels_last', 'contiguous')
# Maps of the published settings, one for each table of tiles.
SIZES = ((128, 256), (32, 64))
CUOBJDUMP = str(Path(triton.__file__).parent / 'backends' / 'nvidia' / 'bin' / 'cuobjdump')
SHARED_LIMIT = {80: 163 << 10, 90: 227 << 10}


class Cost(NamedTuple):
    """The resources of a compiled kernel."""

    arch: int
    kernel: str
    window: int
    dtype: str
    layout: str
    size: tuple[int, int]
    tile: tuple[int, ...]
    warps: int
    stages: int
    registers: int
    stack: int
    shared: int


def launches(
    window: int, dtype: torch.dtype, layout: str, size: tuple[int, int], channels: int = 256
) -> list[triton_backend.Launch]:
    """Return the launches of one forward and backward pass, on tensors without memory."""
    memory_format = torch.channels_last if layout == 'channels_last' else torch.contiguous_format
    shape = (1, channels, *size)
    query, key, value, grad = (
        torch.empty(shape, dtype=dtype, device='meta', memory_format=memory_format) for _ in range(4)
    )
    out, weights = empty_outputs(query, key, value, window)
    gradients = empty_gradients(query, key, value)
    return [
        triton_backend.plan_forward(query, key, value, out, weights, window, 1.0, 'mask'),
        *triton_backend.plan_backward(grad, query, key, value, weights, gradients, window, 1.0),
    ]


def compile_launch(launch: triton_backend.Launch, arch: int) -> Any:
    """Compile a launch for compute capability `arch` (80: 8.0) as Triton would at its first run."""
    signature: dict[str, Any] = {}
    constants: dict[Any, Any] = {}
    attributes: dict[Any, Any] = {}
    for position, name in enumerate(launch.kernel.arg_names):
        value = launch.arguments[name]
        if name.isupper():
            signature[name], constants[position,] = 'constexpr', value
        elif isinstance(value, tuple):
            signature[name] = tuple(_describe(v, (position, i), constants, attributes) for i, v in enumerate(value))
        else:
            signature[name] = _describe(value, (position,), constants, attributes)
    source = ASTSource(launch.kernel, signature, constants, attributes)
    return triton.compile(source, target=GPUTarget('cuda', arch, 32), options=launch.options)


def measure(cubin: bytes) -> tuple[int, int]:
    """Return registers and bytes of stack per thread of a compiled kernel."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'kernel.cubin'
        path.write_bytes(cubin)
        command = [CUOBJDUMP, '--dump-resource-usage', str(path)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r'REG:(\d+) STACK:(\d+)', text)
    assert found is not None, text
    return int(found[1]), int(found[2])


def costs(
    archs: Iterable[int], windows: Iterable[int], dtypes: Iterable[str], layouts: Iterable[str], sizes: Iterable[Any]
) -> Iterator[Cost]:
    """Compile every kernel of every combination."""
    for arch, window, dtype, layout, size in itertools.product(archs, windows, dtypes, layouts, sizes):
        for launch in launches(window, getattr(torch, dtype), layout, size):
            compiled = compile_launch(launch, arch)
            name = launch.kernel.fn.__name__.removesuffix('_kernel')
            arguments, options = launch.arguments, launch.options
            tile = (arguments['ROWS'], arguments['COLUMNS'], arguments['CHUNK'])
            yield Cost(
                arch, name, window, dtype, layout, tuple(size), tile, options['num_warps'], options['num_stages'],
                *measure(compiled.asm['cubin']), compiled.metadata.shared,
            )  # fmt: skip


def _describe(value: Any, path: tuple[int, ...], constants: dict[Any, Any], attributes: dict[Any, Any]) -> str:
    """Return the type of an argument; as at run time, 1 is a constant and multiples of 16 are marked."""
    if isinstance(value, Tensor):
        attributes[path] = [['tt.divisibility', 16]]
        return '*' + {torch.bfloat16: 'bf16', torch.float16: 'fp16', torch.float32: 'fp32'}[value.dtype]
    if isinstance(value, float):
        return 'fp32'
    if value == 1:
        constants[path] = 1
        return 'constexpr'
    if value % 16 == 0:
        attributes[path] = [['tt.divisibility', 16]]
    return 'i32' if abs(value) < 2**31 else 'i64'


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--arch', type=int, nargs='+', default=sorted(SHARED_LIMIT), choices=sorted(SHARED_LIMIT))
    parser.add_argument('--window', type=int, nargs='+', default=WINDOWS)
    parser.add_argument('--dtype', nargs='+', default=DTYPES, choices=DTYPES)
    parser.add_argument('--layout', nargs='+', default=LAYOUTS[:1], choices=LAYOUTS)
    parser.add_argument('--tf32', action='store_true', help='allow TF32')
    args = parser.parse_args()
    torch.set_float32_matmul_precision('high' if args.tf32 else 'highest')
    print('sm  kernel               L  dtype     layout        map      tile (chunk)  warps stages', end='')
    print('   registers stack shared')
    for cost in costs(args.arch, args.window, args.dtype, args.layout, SIZES):
        rows, columns, chunk = cost.tile
        print(
            f'{cost.arch}  {cost.kernel:18} {cost.window:3}  {cost.dtype:8}  {cost.layout:13}'
            f' {f"{cost.size[0]}x{cost.size[1]}":8} {f"{rows}x{columns} ({chunk})":13} {cost.warps:5} {cost.stages:6}'
            f'   {cost.registers:9} {cost.stack:5} {cost.shared:6}',
            flush=True,
        )


if __name__ == '__main__':
    main()
