"""The Triton kernels: interpreted against float64, compiled without a GPU, and on a GPU if there is one.

The interpreter must be chosen before the kernels are imported, so the tests marked `in_interpreter` are run by
`test_in_interpreter` in a separate process.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from mmmtl.ops import local_attention
from mmmtl.ops.local_attention import dispatch, torch_backend, triton_backend

ROOT = Path(__file__).resolve().parents[2]
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
INSTALLED = importlib.util.find_spec('triton') is not None
TOLERANCES = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 3e-2}
STACK_LIMIT = {'bfloat16': 0, 'float16': 64, 'float32': 0}  # bytes per thread
WINDOWS = [3, 5, 7, 9, 15]
BORDERS = ['mask', 'zero']
LAYOUTS = ['contiguous', 'channels_last', 'strided']
# The interpreter needs seconds for a large window.
SLOW_WINDOWS = [pytest.param(window, marks=pytest.mark.slow) for window in WINDOWS if window not in (3, 7)]
INTERPRETED_WINDOWS = [3, 7, *SLOW_WINDOWS]

needs_triton = pytest.mark.skipif(not INSTALLED, reason='needs Triton')
in_interpreter = pytest.mark.skipif(not INTERPRETED, reason='test_in_interpreter runs it')


def layout(x: Tensor, name: str) -> Tensor:
    if name == 'channels_last':
        return x.contiguous(memory_format=torch.channels_last)
    if name == 'strided':
        wide = torch.full((*x.shape[:2], 2 * x.shape[2], 3 * x.shape[3]), float('nan'), dtype=x.dtype, device=x.device)
        wide[:, :, ::2, 1::3] = x
        return wide[:, :, ::2, 1::3]
    return x


def draw(
    images: int, channels: int, depth: int, height: int, width: int, dtype=torch.float32, name='contiguous',
    device='cpu',
) -> list[Tensor]:  # fmt: skip
    """Query, key, value and the gradient of the output."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(images, c, height, width) for c in (channels, channels, depth, depth)]
    return [layout(torch.randn(s, generator=generator).to(device, dtype), name) for s in shapes]


def run(kernel, query: Tensor, key: Tensor, value: Tensor, grad: Tensor, window: int, border: str) -> list[Tensor]:
    out, weights = kernel.forward(query, key, value, window=window, scale=0.3, border=border)
    return [out, weights, *kernel.backward(grad, query, key, value, weights, window=window, scale=0.3)]


def check(tensors: list[Tensor], window: int, border: str, tolerance: float) -> None:
    got = run(triton_backend, *tensors, window, border)
    expected = run(torch_backend, *(x.double() for x in tensors), window, border)
    assert [x.dtype for x in got] == [tensors[2].dtype, torch.float32, *(x.dtype for x in tensors[:3])]
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=tolerance, atol=tolerance, check_stride=False)


@pytest.fixture
def large_map_tiles(monkeypatch):
    monkeypatch.setattr(triton_backend, '_SMALL_MAP', 0)


# --- in the interpreter ------------------------------------------------------------------------------------------


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason='runs the others')
@pytest.mark.parametrize('which', ['not slow', pytest.param('slow', marks=pytest.mark.slow)])
def test_in_interpreter(which):
    result = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-m', which, '-k', 'interpreted', __file__],
        cwd=ROOT,
        env={**os.environ, 'TRITON_INTERPRET': '1', 'CUDA_VISIBLE_DEVICES': ''},
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert ' passed' in result.stdout


@in_interpreter
@pytest.mark.parametrize('window', INTERPRETED_WINDOWS)
@pytest.mark.parametrize(
    ('border', 'name'),
    [
        ('mask', 'contiguous'),
        ('zero', 'channels_last'),
        pytest.param('mask', 'channels_last', marks=pytest.mark.slow),
        pytest.param('zero', 'contiguous', marks=pytest.mark.slow),
    ],
)
def test_interpreted_equals_float64(window, border, name):
    check(draw(1, 5, 3, 5, 6, name=name), window, border, 1e-5)


@in_interpreter
@pytest.mark.parametrize('window', INTERPRETED_WINDOWS)
@pytest.mark.parametrize(
    ('border', 'name'),
    [('mask', 'contiguous'), pytest.param('zero', 'channels_last', marks=pytest.mark.slow)],
)
def test_interpreted_tiles_of_large_maps_equal_float64(large_map_tiles, window, border, name):
    check(draw(1, 5, 3, 5, 6, name=name), window, border, 1e-5)


@in_interpreter
@pytest.mark.parametrize('window', INTERPRETED_WINDOWS)
def test_interpreted_half_precision_is_close_to_float64(window):
    check(draw(1, 5, 3, 5, 6, torch.float16), window, 'mask', 5e-3)


@in_interpreter
@pytest.mark.parametrize('size', [(1, 1), (1, 9), (9, 2)])
def test_interpreted_map_smaller_than_the_window(size):
    check(draw(2, 3, 5, *size), 5, 'mask', 1e-5)


@in_interpreter
def test_interpreted_channels_beyond_a_chunk_and_any_strides():
    check(draw(1, 70, 33, 5, 6, name='strided'), 3, 'zero', 1e-5)


@in_interpreter
def test_interpreted_mixed_dtypes():
    query, key, value, grad = draw(1, 5, 3, 5, 6)
    check([query, key.half(), value.half(), grad.half()], 3, 'mask', 5e-3)


@in_interpreter
def test_interpreted_half_precision_does_not_overflow():
    query, key, value, grad = draw(1, 4, 8, 5, 6, torch.float16)
    # The gradients of the logits exceed the largest float16, 65504; query and key bring theirs back in range.
    tensors = [query / 1024, key / 1024, value * 2048, grad * 2048]
    got = run(triton_backend, *tensors, 3, 'mask')
    expected = run(torch_backend, *(x.double() for x in tensors), 3, 'mask')
    assert expected[2].abs().max() > 9 * 65504 * tensors[1].abs().max()
    for a, b in zip(got, expected, strict=True):
        assert (a.double() - b).abs().max() < 5e-3 * b.abs().max()
    signs = (torch.arange(20).view(1, 1, 4, 5) % 3 - 1) * 100.0  # logits of 1e4
    tensors = [torch.full((1, 1, 4, 5), 100.0).half(), signs.half(), *(x[:, :1, :4, :5] for x in (value, grad))]
    assert all(x.isfinite().all() for x in run(triton_backend, *tensors, 5, 'mask'))


@in_interpreter
@pytest.mark.parametrize('scale', [0.0, -1.0])
def test_interpreted_scale_of_zero_or_less(scale):
    query, key, value, _ = draw(1, 4, 3, 5, 6)
    out = local_attention(query, key, value, window=3, scale=scale, backend='triton')
    expected = local_attention(*(x.double() for x in (query, key, value)), window=3, scale=scale, backend='torch')
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)


@in_interpreter
def test_interpreted_as_an_operator(monkeypatch):
    query, key, value, grad = draw(2, 4, 3, 5, 6)
    monkeypatch.setattr(triton_backend, '_INT32_MAX', 0)  # 64-bit offsets
    leaves = [x.requires_grad_() for x in (query, key, layout(value, 'channels_last'))]
    out = local_attention(*leaves, window=3, backend='triton')
    assert out.is_contiguous(memory_format=torch.channels_last)
    expected = local_attention(*leaves, window=3, backend='torch')
    torch.testing.assert_close(out, expected)
    for a, b in zip(torch.autograd.grad(out, leaves, grad), torch.autograd.grad(expected, leaves, grad), strict=True):
        torch.testing.assert_close(a, b)
        assert a.stride() == b.stride()
    assert local_attention(*(x[:0] for x in leaves), backend='triton').shape == (0, 3, 5, 6)
    assert local_attention(query, key, value[:, :0], backend='triton').shape == (2, 0, 5, 6)


@pytest.mark.slow
@in_interpreter
def test_interpreted_opcheck():
    leaves = [x.requires_grad_() for x in draw(2, 4, 3, 5, 6)[:3]]
    torch.library.opcheck(torch.ops.mmmtl.local_attention.default, (*leaves, 3, 0.5, 'mask', 'triton'))


@pytest.mark.slow
@in_interpreter
@pytest.mark.parametrize('tiles', ['small', 'large'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
@pytest.mark.parametrize('window', [1, *WINDOWS, 11])
@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize('name', LAYOUTS)
def test_interpreted_sweep(monkeypatch, tiles, dtype, window, border, name):
    if tiles == 'large':
        monkeypatch.setattr(triton_backend, '_SMALL_MAP', 0)
    check(draw(2, 35, 67, 9, 13, dtype, name), window, border, TOLERANCES[dtype])


# --- compiled without a GPU --------------------------------------------------------------------------------------


def offline():
    spec = importlib.util.spec_from_file_location('triton_offline', ROOT / 'benchmarks' / 'triton_offline.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules['triton_offline'] = module  # its NamedTuple resolves annotations there
    spec.loader.exec_module(module)
    return module


def assert_affordable(costs) -> None:
    found = list(costs)
    assert found
    for cost in found:
        print(*cost)
        assert cost.shared <= offline().SHARED_LIMIT[cost.arch], cost
        assert cost.stack <= STACK_LIMIT[cost.dtype], cost  # registers that spill lie on the stack


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason='needs the compiler')
@pytest.mark.filterwarnings('ignore:TRITON_DEFAULT_FP_FUSION')
@pytest.mark.parametrize('arch', [80, 90])
def test_compiles_without_spills(arch):
    module = offline()
    assert_affordable(module.costs([arch], [5], ['bfloat16'], ['channels_last'], module.SIZES))


@needs_triton
@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason='needs the compiler')
@pytest.mark.filterwarnings('ignore:TRITON_DEFAULT_FP_FUSION')
@pytest.mark.parametrize('dtype', ['bfloat16', 'float16', 'float32'])
@pytest.mark.parametrize('arch', [80, 90])
def test_every_tile_compiles_without_spills(arch, dtype):
    module = offline()
    assert_affordable(module.costs([arch], module.WINDOWS, [dtype], module.LAYOUTS, module.SIZES))


# --- choice ------------------------------------------------------------------------------------------------------


def test_says_why_it_cannot_run(monkeypatch):
    monkeypatch.setattr(triton_backend, '_INSTALLED', False)
    assert triton_backend.missing() == 'triton is not installed'
    monkeypatch.setattr(triton_backend, '_INSTALLED', True)
    monkeypatch.setattr(triton_backend, '_TOO_OLD', True)
    assert triton_backend.missing() == 'triton is older than 3.4'
    monkeypatch.setattr(triton_backend, '_TOO_OLD', False)
    monkeypatch.setattr(triton_backend.torch.cuda, 'is_available', lambda: False)
    monkeypatch.delenv('TRITON_INTERPRET', raising=False)
    assert triton_backend.missing() == 'there is no NVIDIA GPU'
    assert triton_backend.unsupported(*draw(1, 1, 1, 2, 2)[:3], 3) == 'it needs CUDA tensors, not cpu'
    monkeypatch.setenv('TRITON_INTERPRET', '1')
    assert triton_backend.missing() == ''
    query, key, value, _ = draw(1, 1, 1, 2, 2)
    assert triton_backend.unsupported(query, key, value, 15) == ''
    assert '15, not 17' in triton_backend.unsupported(query, key, value, 17)
    assert 'not torch.float64' in triton_backend.unsupported(query, key.double(), value, 3)
    on_gpu = SimpleNamespace(device=torch.device('cuda', 0), dtype=torch.float32)
    monkeypatch.setattr(triton_backend.torch.cuda, 'get_device_properties', lambda _: SimpleNamespace(major=7))
    assert 'compute capability 8.0' in triton_backend.unsupported(on_gpu, on_gpu, on_gpu, 3)


def test_is_preferred_on_cuda(monkeypatch):
    monkeypatch.delenv(dispatch.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(triton_backend, 'missing', lambda: '')
    monkeypatch.setattr(triton_backend.torch.cuda, 'get_device_properties', lambda _: SimpleNamespace(major=9))
    for dtype, window, expected in [
        (torch.bfloat16, 5, 'triton'), (torch.float64, 5, 'torch'), (torch.bfloat16, 31, 'torch'),
    ]:  # fmt: skip
        on_gpu = SimpleNamespace(device=torch.device('cuda', 0), dtype=dtype)
        assert dispatch.choose_backend('auto', on_gpu, on_gpu, on_gpu, window) == expected


def test_the_operators_import_without_triton():
    code = """
import sys
sys.modules['triton'] = None
import torch
from mmmtl.ops import local_attention
local_attention(*torch.ones(3, 1, 2, 3, 4))
print(*(name for name in sys.modules if name.endswith('triton_kernels')))
"""
    environment = {k: v for k, v in os.environ.items() if k != 'TRITON_INTERPRET'}
    result = subprocess.run([sys.executable, '-c', code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert 'triton_kernels' not in result.stdout


@pytest.mark.parametrize('pixels', [1, 10**6])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
def test_every_window_has_a_tile(dtype, pixels):
    for window in range(1, 16, 2):
        for kernel in ('forward', 'backward_query', 'backward_key_value'):
            tile = triton_backend.choose_tile(kernel, window, dtype, pixels)
            assert tile == triton_backend.choose_tile(kernel, window, dtype, pixels)
            assert (tile.rows + window - 1) * (tile.columns + window - 1) <= 512


@pytest.mark.parametrize('precision', ['highest', 'high'])
def test_tf32_follows_the_user(precision):
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        assert triton_backend._allows_tf32() == (precision == 'high')
    finally:
        torch.set_float32_matmul_precision(before)


# --- on a GPU ----------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@needs_triton
@pytest.mark.parametrize('size', [(19, 23), (97, 101)])  # with the tiles of small and of large maps
@pytest.mark.parametrize('dtype', TOLERANCES)
@pytest.mark.parametrize('window', [1, *WINDOWS, 13])
@pytest.mark.parametrize(('border', 'name'), list(itertools.product(BORDERS, LAYOUTS)))
def test_cuda_equals_float64(size, dtype, window, border, name):
    check(draw(1, 40, 72, *size, dtype, name, 'cuda'), window, border, TOLERANCES[dtype])


@pytest.mark.gpu
@needs_triton
def test_cuda_tf32_when_allowed():
    tensors = draw(1, 64, 64, 19, 23, device='cuda')
    exact = run(torch_backend, *(x.double() for x in tensors), 5, 'mask')
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision('high')
        coarse = run(triton_backend, *tensors, 5, 'mask')
    finally:
        torch.set_float32_matmul_precision(before)
    fine = run(triton_backend, *tensors, 5, 'mask')
    errors = [(x[0].double() - exact[0]).abs().max().item() for x in (fine, coarse)]
    assert errors[0] < 1e-5 < errors[1] < 1e-2


@pytest.mark.gpu
@needs_triton
@pytest.mark.parametrize('dtype', TOLERANCES)
def test_cuda_repeats_bit_for_bit(dtype):
    tensors = draw(2, 64, 48, 67, 75, dtype, device='cuda')
    runs = [run(triton_backend, *tensors, 5, 'mask') for _ in range(3)]
    assert all(torch.equal(a, b) for other in runs[1:] for a, b in zip(runs[0], other, strict=True))


@pytest.mark.gpu
@needs_triton
def test_cuda_graph():
    *leaves, grad = draw(1, 64, 48, 32, 64, torch.bfloat16, 'channels_last', 'cuda')
    leaves = [x.requires_grad_() for x in leaves]

    def step() -> tuple[Tensor, ...]:
        out = local_attention(*leaves, backend='triton')
        return out, *torch.autograd.grad(out, leaves, grad)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        for x in leaves:
            x.mul_(0.5)
    graph.replay()
    assert all(torch.equal(a, b) for a, b in zip(captured, step(), strict=True))


@pytest.mark.gpu
@needs_triton
def test_cuda_compiles_to_one_graph():
    *leaves, grad = draw(1, 64, 48, 20, 24, torch.bfloat16, device='cuda')
    leaves = [x.requires_grad_() for x in leaves]
    out = torch.compile(lambda *x: 2 * local_attention(*x), fullgraph=True, dynamic=True)(*leaves)
    expected = 2 * local_attention(*leaves)
    assert torch.equal(out, expected)
    for a, b in zip(torch.autograd.grad(out, leaves, grad), torch.autograd.grad(expected, leaves, grad), strict=True):
        torch.testing.assert_close(a, b)
