"""Local attention against float64 oracles, hand-computed cases, and what PyTorch asks of an operator."""

from __future__ import annotations

import importlib.util
import logging
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mmmtl.ops import available_backends, local_attention
from mmmtl.ops.local_attention import dispatch, mmcv_backend, torch_backend

BORDERS = ['mask', 'zero']
BACKENDS = sorted(set(available_backends()) & set(dispatch.KERNELS))


@pytest.fixture(autouse=True)
def _no_environment_variable(monkeypatch):
    monkeypatch.delenv(dispatch.ENVIRONMENT_VARIABLE, raising=False)


def unfold(x: Tensor, window: int) -> Tensor:
    return F.unfold(x, window, padding=window // 2).unflatten(1, (x.shape[1], -1)).unflatten(3, x.shape[2:])


def oracle(query: Tensor, key: Tensor, value: Tensor, window: int, scale: float = 1.0, border: str = 'mask') -> Tensor:
    query, key, value = (x.double() for x in (query, key, value))
    logits = (query[:, :, None] * unfold(key, window)).sum(1) * scale
    if border == 'mask':
        logits = logits.masked_fill(unfold(torch.ones_like(query[:, :1]), window)[:, 0] == 0, float('-inf'))
    return (logits.softmax(1)[:, None] * unfold(value, window)).sum(2)


def inputs(
    images: int = 2, channels: int = 4, depth: int = 3, height: int = 6, width: int = 5, dtype=torch.float64, seed=0
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(images, c, height, width) for c in (channels, channels, depth)]
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for s in shapes]


def layout(x: Tensor, name: str) -> Tensor:
    """The same numbers in another memory layout."""
    if name == 'channels_last':
        return x.detach().to(memory_format=torch.channels_last).requires_grad_()
    if name == 'strided':
        wide = torch.full((*x.shape[:2], 2 * x.shape[2], 3 * x.shape[3]), float('nan'), dtype=x.dtype)
        wide[:, :, ::2, 1::3] = x.detach()
        return wide[:, :, ::2, 1::3].requires_grad_()
    if name == 'transposed':
        return x.detach().transpose(2, 3).contiguous().transpose(2, 3).requires_grad_()
    return x


def gradients(out: Tensor, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(out.dtype)
    return torch.autograd.grad(out, tensors, weight)


def assert_all_close(got: tuple[Tensor, ...], expected: tuple[Tensor, ...], **tolerance: float) -> None:
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, check_dtype=False, check_stride=False, **tolerance)


def test_backends_to_test():
    assert 'torch' in BACKENDS


# --- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize('window', [1, 3, 5, 7, 15])
@pytest.mark.parametrize('size', [(6, 5), (1, 9), (8, 2), (1, 1)])
def test_equals_unfold(backend, border, window, size):
    tensors = inputs(height=size[0], width=size[1])
    out = local_attention(*tensors, window=window, scale=0.7, border=border, backend=backend)
    expected = oracle(*tensors, window, 0.7, border)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-12)
    assert_all_close(gradients(out, tensors), gradients(expected, tensors), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize('names', [
    ('channels_last',) * 3, ('strided',) * 3, ('channels_last', 'contiguous', 'strided'),
    ('transposed', 'strided', 'channels_last'),
], ids='-'.join)  # fmt: skip
def test_any_strides(backend, border, names):
    plain = inputs()
    tensors = [layout(x, name) for x, name in zip(plain, names, strict=True)]
    out = local_attention(*tensors, window=3, border=border, backend=backend)
    expected = oracle(*plain, 3, border=border)
    torch.testing.assert_close(out, expected, check_stride=False)
    assert_all_close(gradients(out, tensors), gradients(expected, plain))


@pytest.mark.parametrize('band_bytes', [1, 1000, 2500])
def test_torch_bands_do_not_show(monkeypatch, band_bytes):
    tensors = inputs(images=3, height=11)
    whole = local_attention(*tensors, backend='torch')
    whole_grads = gradients(whole, tensors)
    monkeypatch.setattr(torch_backend, '_BAND_BYTES_CPU', band_bytes)
    bands = list(torch_backend._bands(tensors[0], tensors[2], torch.float64, 5))
    assert len(bands) > 1
    out = local_attention(*tensors, backend='torch')
    torch.testing.assert_close(out, whole, rtol=1e-12, atol=1e-14)
    assert_all_close(gradients(out, tensors), whole_grads, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize('backend', BACKENDS)
def test_by_hand(backend):
    # One row of two pixels, L = 3: logits of pixel 0 are 1*0 and 1*ln3, those of pixel 1 are 2*0 and 2*ln3.
    query = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2)
    key = torch.tensor([1.0, 3.0]).log().view(1, 1, 1, 2)
    value = torch.tensor([4.0, 8.0]).view(1, 1, 1, 2)
    masked = local_attention(query, key, value, window=3, backend=backend)
    torch.testing.assert_close(masked.flatten(), torch.tensor([(4 + 3 * 8) / 4, (4 + 9 * 8) / 10]))
    # The seven neighbours outside have logit 0, weight 1 before normalisation, and value 0.
    padded = local_attention(query, key, value, window=3, border='zero', backend=backend)
    torch.testing.assert_close(padded.flatten(), torch.tensor([28 / 11, 76 / 17]))


@pytest.mark.parametrize('backend', BACKENDS)
def test_border_attenuation(backend):
    query = torch.zeros(1, 2, 9, 8)
    ones = torch.ones(1, 1, 9, 8)
    torch.testing.assert_close(local_attention(query, query, ones, backend=backend), ones)
    zero = local_attention(query, query, ones, border='zero', backend=backend)[0, 0]
    torch.testing.assert_close(zero[[0, 0, -1, -1], [0, -1, 0, -1]], torch.full((4,), 9 / 25))
    torch.testing.assert_close(zero[[0, -1, 4, 4], [4, 4, 0, -1]], torch.full((4,), 15 / 25))
    torch.testing.assert_close(zero[2:-2, 2:-2], torch.ones(5, 4))


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('window', [5, 'global'])
def test_recovers_a_translation(backend, window):
    generator = torch.Generator().manual_seed(0)
    previous = torch.randn(1, 64, 8, 9, generator=generator).sign()  # a pixel's product with itself is 64, others ~8
    value = torch.randn(1, 3, 8, 9, generator=generator)
    current = previous.roll((1, -2), (2, 3))
    out = local_attention(current, previous, value, window=window, scale=10.0, backend=backend)
    moved = value.roll((1, -2), (2, 3))
    torch.testing.assert_close(out[:, :, 1:, :-2], moved[:, :, 1:, :-2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('names', [('contiguous',) * 3, ('channels_last',) * 3, ('strided',) * 3], ids='-'.join)
def test_global_is_full_attention(names):
    plain = inputs()
    tensors = [layout(x, name) for x, name in zip(plain, names, strict=True)]
    out = local_attention(*tensors, window='global', scale=0.7)
    query, key, value = (x.flatten(2) for x in plain)
    weights = torch.softmax(query.transpose(1, 2) @ key * 0.7, -1)
    expected = (value @ weights.transpose(1, 2)).view_as(out)
    torch.testing.assert_close(out, expected, check_stride=False)
    assert_all_close(gradients(out, tensors), gradients(expected, plain))


@pytest.mark.parametrize('backend', BACKENDS)
def test_window_over_the_map_is_global(backend):
    tensors = inputs(height=4, width=6)
    out = local_attention(*tensors, window=2 * 6 - 1, backend=backend)
    expected = local_attention(*tensors, window='global')
    torch.testing.assert_close(out, expected)
    assert_all_close(gradients(out, tensors), gradients(expected, tensors))


@pytest.mark.parametrize('scale', [0.0, -1.0])
@pytest.mark.parametrize('border', BORDERS)
def test_scale_of_zero_or_less(scale, border):
    tensors = inputs()
    out = local_attention(*tensors, scale=scale, border=border)
    torch.testing.assert_close(out, oracle(*tensors, 5, scale, border))


def test_a_batch_is_its_rows():
    tensors = inputs(images=3)
    rows = [local_attention(*(x[i : i + 1] for x in tensors)) for i in range(3)]
    torch.testing.assert_close(local_attention(*tensors), torch.cat(rows), rtol=1e-12, atol=1e-14)
    assert local_attention(*(x[:0] for x in tensors)).shape == (0, 3, 6, 5)


# --- precision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [(torch.float32, 2e-6), (torch.float16, 2e-3), (torch.bfloat16, 1.6e-2)]
)
def test_close_to_float64(backend, border, dtype, tolerance):
    # The inputs are rounded first: what is left is the rounding of the result, since all sums are float32.
    tensors = inputs(channels=32, depth=8, dtype=dtype)
    out = local_attention(*tensors, scale=32**-0.5, border=border, backend=backend)
    expected = oracle(*tensors, 5, 32**-0.5, border)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance / 4)
    got = gradients(out, tensors)
    assert [x.dtype for x in got] == [dtype] * 3
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(dtype).double()
    wanted = torch.autograd.grad(expected, tensors, weight)
    assert_all_close(got, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('window', [5, 'global'])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_large_logits(window, dtype):
    # 256 * 20 * 20 = 102400 is past the largest float16; C = 1 with 100 * 100 gives 1e4.
    for channels, size in ((1, 100.0), (256, 20.0)):
        query = torch.full((1, channels, 4, 5), size, dtype=dtype, requires_grad=True)
        signs = (torch.arange(20).view(1, 1, 4, 5) % 3 - 1).to(dtype)
        key = (signs * size).expand(1, channels, 4, 5).clone().requires_grad_()
        value = torch.arange(20.0, dtype=dtype).view(1, 1, 4, 5).requires_grad_()
        out = local_attention(query, key, value, window=window)
        window_ = 11 if window == 'global' else window
        torch.testing.assert_close(out.double(), oracle(query, key, value, window_), rtol=1e-2, atol=0)
        assert all(g.isfinite().all() for g in gradients(out, [query, key, value]))


def test_mixed_dtypes():
    query, key, value = inputs(dtype=torch.float32)
    out = local_attention(query, key.bfloat16(), value.half())
    assert out.dtype == torch.float16
    torch.testing.assert_close(out.double(), oracle(query, key.bfloat16(), value.half(), 5), rtol=2e-3, atol=1e-3)
    assert local_attention(query, key.bfloat16(), value.half(), window='global').dtype == torch.float16
    assert [g.dtype for g in gradients(out, [query, key, value])] == [torch.float32] * 3


@pytest.mark.parametrize('window', [3, 'global'])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast(window, dtype):
    tensors = inputs(dtype=torch.float32)
    with torch.autocast('cpu', dtype=dtype):
        out = local_attention(*tensors, window=window)
        double = local_attention(*(x.double() for x in tensors), window=window)
    torch.testing.assert_close(out, local_attention(*(x.to(dtype) for x in tensors), window=window))
    assert out.dtype == dtype
    assert double.dtype == torch.float64
    assert [g.dtype for g in gradients(out, tensors)] == [torch.float32] * 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_cuda_equals_cpu(border, dtype):
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}[dtype]
    tensors = inputs(channels=32, depth=16, dtype=dtype)
    on_cuda = [x.detach().cuda().requires_grad_() for x in tensors]
    out = local_attention(*tensors, scale=0.2, border=border, backend='torch')
    out_cuda = local_attention(*on_cuda, scale=0.2, border=border, backend='torch')
    torch.testing.assert_close(out_cuda.cpu(), out, rtol=tolerance, atol=tolerance)
    weight = torch.randn_like(out)
    grads = torch.autograd.grad(out, tensors, weight)
    grads_cuda = torch.autograd.grad(out_cuda, on_cuda, weight.cuda())
    assert_all_close(tuple(g.cpu() for g in grads_cuda), grads, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('window', [3, 'global'])
def test_follows_the_layout_of_value(window):
    query, key, value = inputs()
    assert local_attention(query, key, value, window=window).is_contiguous()
    out = local_attention(query, key, layout(value, 'channels_last'), window=window)
    assert out.is_contiguous(memory_format=torch.channels_last)


# --- gradients ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize('window', [3, 7])
def test_gradcheck(backend, border, window):
    tensors = inputs(images=1, channels=2, depth=3, height=3, width=4)
    assert torch.autograd.gradcheck(
        lambda *x: local_attention(*x, window=window, scale=0.5, border=border, backend=backend), tensors
    )


@pytest.mark.parametrize('backend', BACKENDS)
def test_gradients_repeat_bit_for_bit(backend):
    tensors = inputs(images=2, channels=32, depth=16, height=19, width=23, dtype=torch.float32)
    runs = []
    for _ in range(3):
        out = local_attention(*tensors, backend=backend)
        runs.append((out, *gradients(out, tensors)))
    assert len(runs[0]) == 4
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run, strict=True))


def test_double_backward_raises():
    query, key, value = inputs()
    grad = torch.autograd.grad(local_attention(query, key, value).square().sum(), query, create_graph=True)[0]
    with pytest.raises(RuntimeError, match='local_attention.*double backward'):
        grad.sum().backward()


def test_weights_take_no_gradient():
    out, weights = torch.ops.mmmtl.local_attention(*inputs(), 3, 1.0, 'mask', 'torch')
    assert out.requires_grad
    assert not weights.requires_grad
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 6, 5, dtype=torch.float64))
    assert (weights[:, :3, 0] == 0).all()  # taps of the row above the image


def test_only_value_needs_gradient():
    query, key, value = inputs()
    out = local_attention(query.detach(), key.detach(), value)
    expected = oracle(query.detach(), key.detach(), value, 5)
    assert_all_close(gradients(out, [value]), gradients(expected, [value]))
    with torch.inference_mode():
        torch.testing.assert_close(local_attention(query, key, value), expected)


# --- as an operator ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('names', 'dtype'), [
    (('strided', 'transposed', 'strided'), torch.float64),
    pytest.param(('contiguous',) * 3, torch.float64, marks=pytest.mark.slow),
    pytest.param(('channels_last',) * 3, torch.float64, marks=pytest.mark.slow),
    (('channels_last',) * 3, torch.bfloat16),
    pytest.param(('contiguous',) * 3, torch.bfloat16, marks=pytest.mark.slow),
    pytest.param(('strided', 'transposed', 'strided'), torch.bfloat16, marks=pytest.mark.slow),
])  # fmt: skip
def test_opcheck(names, dtype):
    tensors = [layout(x, name) for x, name in zip(inputs(dtype=dtype), names, strict=True)]
    torch.library.opcheck(
        torch.ops.mmmtl.local_attention.default, (*tensors, 3, 0.5, 'mask', 'torch'), rtol=2e-2, atol=2e-2
    )
    out, weights = torch.ops.mmmtl.local_attention(*tensors, 3, 0.5, 'mask', 'torch')
    detached = [x.detach() for x in (out, *tensors, weights)]
    torch.library.opcheck(torch.ops.mmmtl.local_attention_backward.default, (*detached, 3, 0.5, 'torch'))


@pytest.mark.parametrize('names', [('contiguous',) * 3, ('channels_last', 'channels_last', 'strided')], ids='-'.join)
def test_meta_has_the_strides_of_the_cpu(names):
    tensors = [layout(x, name) for x, name in zip(inputs(), names, strict=True)]
    on_meta = [x.detach().to('meta') for x in tensors]
    real = torch.ops.mmmtl.local_attention(*tensors, 3, 1.0, 'mask', 'torch')
    fake = torch.ops.mmmtl.local_attention(*on_meta, 3, 1.0, 'mask', 'torch')
    assert [(x.shape, x.stride(), x.dtype) for x in real] == [(x.shape, x.stride(), x.dtype) for x in fake]


@pytest.mark.parametrize(
    ('window', 'dynamic'),
    [
        (3, True),
        pytest.param(3, False, marks=pytest.mark.slow),
        pytest.param('global', True, marks=pytest.mark.slow),
        ('global', False),
    ],
)
def test_compiles_to_one_graph(window, dynamic):
    torch.compiler.reset()

    def double(*tensors: Tensor) -> Tensor:
        return 2 * local_attention(*tensors, window=window)

    compiled = torch.compile(double, fullgraph=True, backend='aot_eager', dynamic=dynamic)
    for height in (6, 4):
        tensors = inputs(height=height, dtype=torch.float32)
        out, expected = compiled(*tensors), double(*tensors)
        torch.testing.assert_close(out, expected)
        assert_all_close(gradients(out, tensors), gradients(expected, tensors))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert compiled(*tensors).dtype == torch.bfloat16


def test_exports_with_dynamic_size():
    class Module(torch.nn.Module):
        def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            return local_attention(query, key, value)

    free = torch.export.Dim.DYNAMIC
    tensors = tuple(x.detach() for x in inputs())
    program = torch.export.export(Module(), tensors, dynamic_shapes=[{2: free, 3: free}] * 3)
    assert not any('mmmtl' in str(node.target) for node in program.graph.nodes)
    other = [x.detach() for x in inputs(height=9, width=4)]
    torch.testing.assert_close(program.module()(*other), local_attention(*other))


def test_counts_flops():
    tensors = [x.detach().to('meta').requires_grad_() for x in inputs(2, 256, 64, 32, 64, torch.float32)]
    forward = 2 * 25 * (256 + 64) * 2 * 32 * 64
    with FlopCounterMode(display=False) as counter:
        out = local_attention(*tensors, window=5)
    assert counter.get_total_flops() == forward == 65_536_000
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    assert counter.get_total_flops() == 2 * forward
    with FlopCounterMode(display=False) as counter:
        local_attention(*tensors, window='global')
    assert counter.get_total_flops() == 2 * 2 * (32 * 64) ** 2 * (256 + 64)


# --- errors and choice -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'key': (2, 4, 6, 6)}, r'query and key.*\(2, 4, 6, 5\).*\(2, 4, 6, 6\)'),
        ({'query': (4, 6, 5), 'key': (4, 6, 5)}, r'query and key.*\(4, 6, 5\).*\(4, 6, 5\)'),
        ({'value': (2, 3, 5, 5)}, r'value.*\(2, 4, 6, 5\).*\(2, 3, 5, 5\)'),
        ({'value': (1, 3, 6, 5)}, r'value.*\(2, 4, 6, 5\).*\(1, 3, 6, 5\)'),
        ({'value': (3, 6, 5)}, r'value.*\(N, V, H, W\).*\(3, 6, 5\)'),
        ({'window': 4}, "window.*'global'.*4"),
        ({'window': 0}, "window.*'global'.*0"),
        ({'window': -3}, "window.*'global'.*-3"),
        ({'window': 3.0}, r"window.*'global'.*3\.0"),
        ({'window': 'local'}, "window.*'global'.*'local'"),
        ({'border': 'reflect'}, "border.*'mask'.*'zero'.*'reflect'"),
        ({'backend': 'numpy'}, "backend='numpy'.*torch"),
    ],
)
def test_value_errors(change, message):
    shapes = {'query': (2, 4, 6, 5), 'key': (2, 4, 6, 5), 'value': (2, 3, 6, 5)}
    tensors = [torch.zeros(change.pop(name, shape)) for name, shape in shapes.items()]
    with pytest.raises(ValueError, match=message):
        local_attention(*tensors, **change)


def test_value_errors_of_device_and_dtype():
    query, key, value = inputs()
    with pytest.raises(ValueError, match=r'cpu\W+meta\W.*cpu'):
        local_attention(query, key.to('meta'), value)
    with pytest.raises(ValueError, match=r'torch\.float64, torch\.float64, torch\.int64'):
        local_attention(query, key, value.long())


def test_unusable_backend_says_why(monkeypatch):
    monkeypatch.setattr(mmcv_backend, 'missing', lambda: 'there is no CUDA device')
    assert 'mmcv' not in available_backends()
    message = "backend='mmcv'.*no CUDA device.*torch.*mmcv .*no CUDA device"
    with pytest.raises(ValueError, match=message):
        local_attention(*inputs(), backend='mmcv')
    monkeypatch.setattr(mmcv_backend, 'missing', lambda: '')
    assert 'mmcv' in available_backends()
    with pytest.raises(ValueError, match="backend='mmcv'.*CUDA.*cpu"):
        local_attention(*inputs(), backend='mmcv')


def test_environment_variable_replaces_auto(monkeypatch):
    tensors = inputs()
    monkeypatch.setenv('MMMTL_LOCAL_ATTENTION', 'numpy')
    with pytest.raises(ValueError, match="MMMTL_LOCAL_ATTENTION='numpy'"):
        local_attention(*tensors)
    assert local_attention(*tensors, backend='torch').shape == tensors[2].shape

    calls = []
    spy = SimpleNamespace(**{name: getattr(torch_backend, name) for name in ('missing', 'unsupported', 'backward')})
    spy.forward = lambda *args, **kwargs: calls.append(kwargs) or torch_backend.forward(*args, **kwargs)
    monkeypatch.setitem(dispatch.KERNELS, 'spy', spy)
    monkeypatch.setitem(dispatch._ALL, 'spy', spy)
    monkeypatch.setenv('MMMTL_LOCAL_ATTENTION', 'spy')
    local_attention(*tensors, window=3, border='zero')
    assert calls == [{'window': 3, 'scale': 1.0, 'border': 'zero'}]
    monkeypatch.setenv('MMMTL_LOCAL_ATTENTION', 'auto')
    local_attention(*tensors)
    assert len(calls) == 1


def test_auto_takes_the_first_that_can(monkeypatch):
    def backend(missing: str = '', unsupported: str = '') -> SimpleNamespace:
        return SimpleNamespace(missing=lambda: missing, unsupported=lambda *tensors: unsupported)

    tensors = inputs()
    better = {'absent': backend('not built'), 'picky': backend(unsupported='float64'), 'good': backend()}
    monkeypatch.setattr(dispatch, 'KERNELS', {**better, **dispatch.KERNELS})
    assert dispatch.choose_backend('auto', *tensors, 5) == 'good'
    monkeypatch.setattr(dispatch, 'KERNELS', {'absent': backend('not built'), 'torch': torch_backend})
    assert dispatch.choose_backend('auto', *tensors, 5) == 'torch'


def test_logs_the_choice_once(monkeypatch, tmp_path):
    lines = []
    monkeypatch.setattr(dispatch, 'print_log', lambda line, logger, level: lines.append((level, line)))
    line = "local attention on cpu, torch.float64: backend 'torch'"
    for name, file, level in (('no run', None, logging.DEBUG), ('run', str(tmp_path / 'run.log'), logging.INFO)):
        logger = MMLogger.get_instance(f'{tmp_path} {name}', log_file=file)
        monkeypatch.setattr(dispatch.MMLogger, 'get_current_instance', lambda logger=logger: logger)
        lines.clear()
        dispatch.log_choice.cache_clear()
        for _ in range(2):
            local_attention(*inputs(), backend='torch')
        assert lines == [(level, line)]


# --- mmcv --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(importlib.util.find_spec('mmcv') is None, reason='mmcv is not installed')
@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize('window', [1, 5])
def test_mmcv_backend_on_stand_ins(monkeypatch, border, window):
    """mmcv's kernels need CUDA; the code around them (tap order, mask, dtype, layout) does not."""

    class Correlation:
        def __init__(self, *, kernel_size: int, max_displacement: int):
            assert kernel_size == 1
            self.window = 2 * max_displacement + 1

        def __call__(self, first: Tensor, second: Tensor) -> Tensor:
            products = (first[:, :, None] * unfold(second, self.window)).sum(1)
            return products.unflatten(1, (self.window, self.window))

    def carafe(features: Tensor, masks: Tensor, kernel_size: int, group_size: int, scale_factor: int) -> Tensor:
        assert features.is_contiguous()
        assert (group_size, scale_factor) == (1, 1)
        return (unfold(features, kernel_size) * masks[:, None]).sum(2)

    ops = ModuleType('mmcv.ops')
    ops.Correlation, ops.carafe = Correlation, carafe
    monkeypatch.setitem(sys.modules, 'mmcv.ops', ops)
    tensors = [layout(x, 'channels_last') for x in inputs()]
    out = mmcv_backend.local_attention(*tensors, window=window, scale=0.7, border=border)
    expected = oracle(*tensors, window, 0.7, border)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, expected, check_stride=False)
    assert_all_close(gradients(out, tensors), gradients(expected, tensors))

    query = torch.full((1, 256, 4, 5), 20.0, dtype=torch.float16)
    out = mmcv_backend.local_attention(query, query, query, window=window, scale=1.0, border=border)
    assert out.dtype == torch.float16
    assert out.isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif('mmcv' not in available_backends(), reason='needs CUDA and the compiled operators of mmcv')
@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_mmcv_backend_on_cuda(border, dtype):
    tensors = [x.detach().cuda().requires_grad_() for x in inputs(channels=32, depth=16, dtype=dtype)]
    tolerance = 1e-5 if dtype == torch.float32 else 4e-3
    out = local_attention(*tensors, scale=0.2, border=border, backend='mmcv')
    expected = local_attention(*tensors, scale=0.2, border=border, backend='torch')
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance)
    weight = torch.randn_like(out)
    got, wanted = (torch.autograd.grad(x, tensors, weight) for x in (out, expected))
    assert_all_close(got, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('border', ['mask', 'zero'])
@pytest.mark.parametrize(('size', 'window'), [((5, 7), 3), ((2, 9), 5), ((1, 1), 7)])
def test_the_traceable_form_equals_the_operator(border, size, window):
    torch.manual_seed(0)
    query, key = torch.randn(2, 2, 3, *size, dtype=torch.float64)
    value = torch.randn(2, 4, *size, dtype=torch.float64)
    settings = dict(window=window, scale=0.7, border=border)
    expected = local_attention(query, key, value, backend='torch', **settings)
    torch.testing.assert_close(torch_backend.traceable(query, key, value, **settings), expected)


def test_an_onnx_graph_has_plain_operators_and_open_sizes(tmp_path):
    pytest.importorskip('onnxscript')
    onnxruntime = pytest.importorskip('onnxruntime')

    class Attention(torch.nn.Module):
        def forward(self, query, key, value):
            return local_attention(query, key, value, window=5)

    maps = [torch.randn(1, 3, 8, 10), torch.randn(1, 3, 8, 10), torch.randn(1, 4, 8, 10)]
    free = {2: torch.export.Dim('height', min=2), 3: torch.export.Dim('width', min=2)}
    file = tmp_path / 'attention.onnx'
    torch.onnx.export(Attention(), tuple(maps), file, dynamo=True, dynamic_shapes=(free, free, free))
    session = onnxruntime.InferenceSession(file)
    other = [torch.randn(1, 3, 6, 7), torch.randn(1, 3, 6, 7), torch.randn(1, 4, 6, 7)]
    feed = {node.name: tensor.numpy() for node, tensor in zip(session.get_inputs(), other, strict=True)}
    torch.testing.assert_close(torch.from_numpy(session.run(None, feed)[0]), local_attention(*other, window=5))
