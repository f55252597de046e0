"""Local attention on NVIDIA GPUs: the launches of the Triton kernels and their tiles.

Key and value are read once per tile of queries plus its halo. A float32 product takes three TF32 products, or one if
the user allows TF32. Weights of 0 are multiplied too, so a NaN or infinite value spreads to the whole tile.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .contract import empty_gradients, empty_outputs

_SPEC = importlib.util.find_spec('triton')
_INSTALLED = _SPEC is not None
_TOO_OLD = _SPEC is not None and not Path(_SPEC.origin or '').with_name('knobs.py').exists()  # new in 3.4
_INT32_MAX = 2**31 - 1


class Tile(NamedTuple):
    """Pixels of a program, channels that it loads at a time, warps, and depth of its pipeline of loads.

    strip: neighbours that are summed at a time, with weights from memory; 0: all at once, from registers.
    """

    rows: int
    columns: int
    chunk: int
    warps: int
    stages: int
    strip: int = 0


# Tiles by the largest window that they serve, chosen so that no kernel spills registers (float16: at most 40 bytes) on
# compute capability 8.0 and 9.0 with the Triton of `requirements/constraints.txt`, see `benchmarks/triton_offline.py`;
# not yet tuned on a GPU. Small maps are cut into more programs, to fill the GPU.
_TILES: dict[tuple[str, str], dict[int, Tile]] = {
    ('half', 'large'): {
        3: Tile(8, 8, 64, 8, 3),
        5: Tile(4, 12, 64, 8, 3),
        7: Tile(8, 8, 32, 8, 3),
        9: Tile(8, 8, 32, 8, 3),
        15: Tile(4, 8, 32, 8, 3),
    },
    ('half', 'small'): {7: Tile(4, 4, 64, 8, 3), 9: Tile(4, 4, 32, 8, 3), 15: Tile(4, 4, 64, 8, 2)},
    ('float', 'large'): {
        3: Tile(8, 8, 16, 8, 3),
        5: Tile(4, 12, 16, 8, 3),
        9: Tile(4, 4, 32, 8, 2),
        15: Tile(4, 8, 16, 8, 2, strip=64),
    },
    ('float', 'small'): {5: Tile(4, 4, 32, 4, 3), 9: Tile(4, 4, 32, 8, 2), 15: Tile(4, 4, 16, 8, 2, strip=64)},
}
# Exceptions for the gradient of the queries, the kernel with the most values in registers.
_TILES_BACKWARD_QUERY: dict[tuple[str, str], dict[int, Tile]] = {
    ('half', 'large'): {9: Tile(8, 8, 32, 16, 3), 15: Tile(4, 4, 32, 8, 2)},
    ('float', 'large'): {15: Tile(4, 4, 16, 8, 2, strip=64)},
}
_LARGEST_WINDOW = max(_TILES['half', 'large'])
_SMALL_MAP = 8192  # pixels of all images; 171 programs with the tile for large maps and window 5


class Launch(NamedTuple):
    """A kernel with its launch arguments, which can also be compiled without a GPU."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    options: dict[str, int]

    def run(self) -> None:
        """Launch the kernel on the current stream of its tensors' device."""
        with torch.cuda.device_of(next(iter(self.arguments.values()))):  # type: ignore[no-untyped-call]
            self.kernel[self.grid](**self.arguments, **self.options)


def missing() -> str:
    """Return why this backend cannot run on this machine; empty if it can."""
    if not _INSTALLED:
        return 'triton is not installed'
    if _TOO_OLD:
        return 'triton is older than 3.4'
    if _interpreted():
        return ''
    return '' if torch.cuda.is_available() and torch.version.hip is None else 'there is no NVIDIA GPU'


def unsupported(query: Tensor, key: Tensor, value: Tensor, window: int) -> str:
    """Return why this backend cannot run these tensors; empty if it can."""
    device = query.device
    if device.type != 'cuda' and not (device.type == 'cpu' and _interpreted()):
        return f'it needs CUDA tensors, not {device.type}'
    if device.type == 'cuda' and torch.cuda.get_device_properties(device).major < 8:
        return 'it needs a GPU of compute capability 8.0 or newer'
    for tensor in (query, key, value):
        if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            return f'it needs float32, float16 or bfloat16, not {tensor.dtype}'
    if window > _LARGEST_WINDOW:
        return f'its largest window is {_LARGEST_WINDOW}, not {window}'
    return ''


def forward(
    query: Tensor, key: Tensor, value: Tensor, *, window: int, scale: float, border: str
) -> tuple[Tensor, Tensor]:
    """Compute `Kernel.forward`."""
    out, weights = empty_outputs(query, key, value, window)
    if out.numel():
        plan_forward(query, key, value, out, weights, window, scale, border).run()
    return out, weights


def backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, weights: Tensor, *, window: int, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `Kernel.backward`; each pixel gathers its own gradient, without atomic additions."""
    gradients = empty_gradients(query, key, value)
    if weights.numel():
        for launch in plan_backward(grad, query, key, value, weights, gradients, window, scale):
            launch.run()
    return gradients


def plan_forward(
    query: Tensor, key: Tensor, value: Tensor, out: Tensor, weights: Tensor, window: int, scale: float, border: str
) -> Launch:
    """Return the launch that fills `out` and `weights`."""
    from . import triton_kernels

    tensors = dict(query=query, key=key, value=value, out=out)
    arguments = dict(
        **tensors, weights=weights, **_strides(tensors), **_sizes(query, value), scale=scale, MASK=border == 'mask'
    )
    return _launch(triton_kernels.forward_kernel, 'forward', arguments, window)


def plan_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Tensor,
    gradients: tuple[Tensor, Tensor, Tensor],
    window: int,
    scale: float,
) -> list[Launch]:
    """Return the launches that fill `gradients`, in order."""
    from . import triton_kernels

    grad_query, grad_key, grad_value = gradients
    grad_logits = torch.empty_like(weights)
    sizes = _sizes(query, value)
    tensors = dict(grad=grad, key=key, value=value, grad_query=grad_query)
    arguments = dict(**tensors, weights=weights, grad_logits=grad_logits, **_strides(tensors), **sizes, scale=scale)
    first = _launch(triton_kernels.backward_query_kernel, 'backward_query', arguments, window)
    tensors = dict(grad=grad, query=query, grad_key=grad_key, grad_value=grad_value)
    arguments = dict(**tensors, weights=weights, grad_logits=grad_logits, **_strides(tensors), **sizes)
    second = _launch(triton_kernels.backward_key_value_kernel, 'backward_key_value', arguments, window, 2)
    return [first, second]


def choose_tile(kernel: str, window: int, dtype: torch.dtype, pixels: int) -> Tile:
    """Return the tile for a total number of pixels of all images; it depends on the arguments only."""
    kind = 'float' if dtype == torch.float32 else 'half', 'small' if pixels <= _SMALL_MAP else 'large'
    tiles = dict(_TILES[kind])
    if kernel == 'backward_query':
        tiles.update(_TILES_BACKWARD_QUERY.get(kind, {}))
    return tiles[min(largest for largest in tiles if largest >= window)]


def _launch(kernel: Any, name: str, arguments: dict[str, Any], window: int, parts: int = 1) -> Launch:
    import triton.language as tl

    tensors = [x for x in arguments.values() if isinstance(x, Tensor)]
    features = [x for x in tensors if x is not arguments['weights'] and x is not arguments.get('grad_logits')]
    dtype = features[0].dtype if len({x.dtype for x in features}) == 1 else torch.float32
    images, _, height, width = features[0].shape
    tile = choose_tile(name, window, dtype, images * height * width)
    # Intermediate offsets in the kernels are up to 16 times that of a weight.
    largest_offset = max(16 * _extent(arguments['weights']), *(_extent(x) for x in features))
    arguments = dict(
        **arguments,
        WINDOW=window,
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        CHUNK=tile.chunk,
        STRIP=tile.strip,
        DTYPE=getattr(tl, str(dtype).removeprefix('torch.')),
        PRECISION='tf32' if _allows_tf32() else 'tf32x3',
        INDEX=tl.int32 if largest_offset <= _INT32_MAX else tl.int64,
    )
    tiles = images * -(-height // tile.rows) * -(-width // tile.columns)
    return Launch(kernel, (tiles, parts), arguments, dict(num_warps=tile.warps, num_stages=tile.stages))


def _strides(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {f'{name}_strides': tensor.stride() for name, tensor in tensors.items()}


def _sizes(query: Tensor, value: Tensor) -> dict[str, int]:
    _, channels, height, width = query.shape
    return dict(height=height, width=width, channels=channels, depth=value.shape[1])


def _extent(tensor: Tensor) -> int:
    """Return the largest distance between two elements of one image."""
    return sum((size - 1) * stride for size, stride in zip(tensor.shape[1:], tensor.stride()[1:], strict=True))


def _allows_tf32() -> bool:
    matmul = torch.backends.cuda.matmul
    # `allow_tf32` raises if the user has set `fp32_precision`, which is new in PyTorch 2.9.
    return bool(matmul.fp32_precision == 'tf32' if hasattr(matmul, 'fp32_precision') else matmul.allow_tf32)


def _interpreted() -> bool:
    """Return whether Triton interprets its kernels in Python, on any device, as in tests."""
    return os.environ.get('TRITON_INTERPRET') == '1'
