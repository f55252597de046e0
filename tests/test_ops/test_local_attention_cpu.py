"""The compiled CPU backend: equality with the 'torch' backend, repeatability, and machines without a compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from mmmtl.ops import available_backends, local_attention
from mmmtl.ops.local_attention import cpu_backend, dispatch

REASON = cpu_backend.missing()
pytestmark = pytest.mark.skipif(bool(REASON), reason=f"backend 'cpu' cannot run: {REASON}")
BORDERS = ['mask', 'zero']
LAYOUTS = ['contiguous', 'channels_last', 'strided']


@pytest.fixture(autouse=True)
def _no_environment_variable(monkeypatch):
    monkeypatch.delenv(dispatch.ENVIRONMENT_VARIABLE, raising=False)


@pytest.fixture
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def inputs(channels=20, depth=9, height=9, width=13, dtype=torch.float32, layout='contiguous', images=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tensors = []
    for c in (channels, channels, depth):
        x = torch.randn(images, c, height, width, generator=generator, dtype=torch.float64).to(dtype)
        if layout == 'channels_last':
            x = x.to(memory_format=torch.channels_last)
        if layout == 'strided':
            wide = torch.full((images, 2 * c, height, 3 * width), float('nan'), dtype=dtype).transpose(2, 3)
            wide[:, ::2, 1::3] = x.transpose(2, 3)
            x = wide[:, ::2, 1::3].transpose(2, 3)
        tensors.append(x.requires_grad_())
    return tensors


def run(tensors: list[Tensor], backend: str, **options) -> tuple[Tensor, ...]:
    out = local_attention(*tensors, backend=backend, **options)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(out.dtype)
    return out, *torch.autograd.grad(out, tensors, weight)


def assert_equals_torch(tensors: list[Tensor], tolerance: float, **options) -> None:
    expected = run([x.detach().double().requires_grad_() for x in tensors], 'torch', **options)
    for got, wanted, source in zip(run(tensors, 'cpu', **options), expected, [tensors[2], *tensors], strict=True):
        assert got.dtype == source.dtype
        assert got.stride() == torch.empty_like(source).stride()
        # Sums of thousands of rounded terms: the tolerance goes by the largest.
        largest = float(wanted.detach().abs().max())
        torch.testing.assert_close(got.double(), wanted, rtol=tolerance, atol=tolerance * largest, check_stride=False)


# --- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize('window', [1, 3, 5, 7, 9, 11, 13, 15, 17])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_every_window(border, window, dtype):
    tensors = inputs(dtype=dtype)
    assert_equals_torch(tensors, 1e-12 if dtype == torch.float64 else 4e-6, window=window, scale=0.3, border=border)


@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('size', [(1, 1), (1, 9), (8, 2), (3, 64), (40, 5)])
def test_every_layout_and_size(border, layout, size):
    assert_equals_torch(inputs(height=size[0], width=size[1], layout=layout), 4e-6, border=border, scale=0.5)


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize(('channels', 'depth'), [(1, 1), (3, 130), (64, 16), (48, 80), (256, 33), (600, 4)])
def test_every_number_of_channels(layout, channels, depth):
    assert_equals_torch(inputs(channels, depth, 6, 21, layout=layout), 4e-6, scale=channels**-0.5)


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float16, 1e-3), (torch.bfloat16, 8e-3)])
def test_half_precision(layout, border, dtype, tolerance):
    assert_equals_torch(inputs(33, 40, dtype=dtype, layout=layout), tolerance, border=border, scale=33**-0.5)


@pytest.mark.parametrize('scale', [0.0, -1.0])
@pytest.mark.parametrize('border', BORDERS)
def test_scale_of_zero_or_less(scale, border):
    assert_equals_torch(inputs(), 4e-6, scale=scale, border=border)


def test_mixed_dtypes_and_layouts():
    query, key, value = inputs(layout='channels_last')
    mixed = [query, key.detach().bfloat16().contiguous().requires_grad_(), value.detach().half().requires_grad_()]
    assert_equals_torch(mixed, 8e-3, scale=0.3)
    mixed[1] = key.detach().double().requires_grad_()
    assert_equals_torch(mixed, 1e-3, scale=0.3)


def test_expanded_gradient():
    tensors = inputs(layout='channels_last')
    got = torch.autograd.grad(local_attention(*tensors, backend='cpu').sum(), tensors)
    expected = torch.autograd.grad(local_attention(*tensors, backend='torch').sum(), tensors)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_numbers_survive(dtype):
    """L = 1 copies the value: all numbers of the dtype pass through the conversions of both layouts."""
    bits = torch.arange(2**16, dtype=torch.int32).to(torch.int16)
    value = bits.view(dtype).reshape(1, 16, 64, 64)
    zeros = torch.zeros_like(value[:, :1])
    for format_ in (torch.contiguous_format, torch.channels_last):
        out = local_attention(zeros, zeros, value.to(memory_format=format_), window=1, backend='cpu')
        torch.testing.assert_close(out, value, rtol=0, atol=0, equal_nan=True, check_stride=False)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_rounds_to_nearest_even(dtype):
    """With equal logits the output is the mean: numbers half way between two, tiny ones and ones that overflow."""
    values = torch.tensor([1.0, 1 + 2**-10, 1 + 2**-7, 2**-14, 2**-24, 3 * 2**-24, 6e-8, 65504.0, 65472.0, 3e38, 0.0])
    values = values.to(dtype)
    pairs = torch.cartesian_prod(values, values).view(1, -1, 1, 2)
    zeros = torch.zeros(1, 1, 1, 2)
    out = local_attention(zeros, zeros, pairs, window=3, backend='cpu')
    expected = (pairs.float() / 2).sum(-1, keepdim=True).to(dtype).expand_as(out)
    torch.testing.assert_close(out, expected, rtol=0, atol=0)


def test_large_logits():
    query = torch.full((1, 1, 4, 5), 100.0, dtype=torch.float16, requires_grad=True)
    key = (100.0 * (torch.arange(20).view(1, 1, 4, 5) % 3 - 1)).half().requires_grad_()
    value = torch.arange(20.0).half().view(1, 1, 4, 5).requires_grad_()
    for border in BORDERS:  # logits of -1e4, 0 and 1e4; the gradients of query and key are 0 but for rounding
        results = run([query, key, value], 'cpu', border=border)
        for got, wanted in zip(results, run([query, key, value], 'torch', border=border), strict=True):
            assert got.isfinite().all()
            torch.testing.assert_close(got, wanted, rtol=1e-3, atol=2e-3)


def test_nan_stays_where_it_is_seen():
    query, key, value = (x.detach() for x in inputs(images=1))
    query[0, 3, 4, 5] = float('nan')
    out = local_attention(query, key, value, window=3, backend='cpu')
    assert out[0, :, 4, 5].isnan().all()
    assert out.isnan().sum() == out.shape[1]


# --- gradients, threads, instruction sets ------------------------------------------------------------------------


@pytest.mark.usefixtures('_threads')
@pytest.mark.parametrize('layout', ['contiguous', 'channels_last'])
def test_repeats_bit_for_bit(layout):
    tensors = inputs(70, 40, 37, 29, layout=layout)
    runs = []
    for threads in (1, 2, 2, 3):
        torch.set_num_threads(threads)
        runs.append(run(tensors, 'cpu'))
    assert len(runs[0]) == 4
    assert all(torch.equal(a, b) for other in runs[1:] for a, b in zip(runs[0], other, strict=True))


def test_a_crop_of_the_map_has_the_same_bits():
    """Neither the strips nor a pixel's place in a block change its result."""
    query, key, value = (x.detach() for x in inputs(512, 512, 8, 150, layout='channels_last', images=1))
    out = local_attention(query, key, value, backend='cpu')
    crop = local_attention(*(x[..., 37:100] for x in (query, key, value)), backend='cpu')
    assert torch.equal(crop[..., 2:-2], out[..., 39:98])


@pytest.mark.parametrize('capability', ['default', 'avx2', 'avx512'])
def test_every_instruction_set(monkeypatch, capability):
    best = torch.backends.cpu.get_cpu_capability()
    names = {'default': 'DEFAULT', 'avx2': 'AVX2', 'avx512': 'AVX512'}
    if capability != 'default' and best not in (names[capability], 'AVX512'):
        pytest.skip(f'this processor has {best}')
    monkeypatch.setattr(cpu_backend, 'instruction_set', lambda: names[capability])
    for window in (3, 5, 15):
        for dtype in (torch.float32, torch.bfloat16, torch.float64):
            tolerance = {torch.float32: 4e-6, torch.bfloat16: 8e-3, torch.float64: 1e-12}[dtype]
            assert_equals_torch(inputs(50, 75, dtype=dtype), tolerance, window=window, scale=0.2)


# --- as an operator ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('layout', [LAYOUTS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in LAYOUTS[1:])])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_opcheck(layout, dtype):
    tensors = inputs(4, 3, 6, 5, dtype, layout)
    operator = torch.ops.mmmtl.local_attention.default
    torch.library.opcheck(operator, (*tensors, 3, 0.5, 'zero', 'cpu'), rtol=2e-2, atol=2e-2)
    out, weights = operator(*tensors, 3, 0.5, 'zero', 'cpu')
    detached = [x.detach() for x in (out, *tensors, weights)]
    torch.library.opcheck(torch.ops.mmmtl.local_attention_backward.default, (*detached, 3, 0.5, 'cpu'))


def test_compiles_to_one_graph():
    torch.compiler.reset()
    compiled = torch.compile(
        lambda *x: 2 * local_attention(*x, backend='cpu'), fullgraph=True, backend='aot_eager', dynamic=True
    )
    for height in (6, 4):
        tensors = inputs(height=height, layout='channels_last')
        out = compiled(*tensors)
        torch.testing.assert_close(out, 2 * local_attention(*tensors, backend='cpu'))
        assert all(g.isfinite().all() for g in torch.autograd.grad(out.sum(), tensors))


def test_empty():
    query, key, value = inputs()
    assert local_attention(query[:0], key[:0], value[:0], backend='cpu').shape == (0, 9, 9, 13)
    assert local_attention(query[..., :0], key[..., :0], value[..., :0], backend='cpu').shape == (2, 9, 9, 0)
    assert local_attention(query, key, value[:, :0], backend='cpu').shape == (2, 0, 9, 13)
    torch.testing.assert_close(  # without channels all logits are 0
        local_attention(query[:, :0], key[:, :0], value, backend='cpu'),
        local_attention(query[:, :0], key[:, :0], value, backend='torch'),
    )


# --- choice and building -----------------------------------------------------------------------------------------


def test_auto_takes_it_for_cpu_tensors():
    assert 'cpu' in available_backends()
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        assert dispatch.choose_backend('auto', *inputs(dtype=dtype), 5) == 'cpu'
    on_meta = [x.detach().to('meta') for x in inputs()]
    assert dispatch.choose_backend('auto', *on_meta, 5) != 'cpu'
    with pytest.raises(ValueError, match="backend='cpu'.*meta"):
        local_attention(*on_meta, backend='cpu')


@pytest.fixture
def unbuilt(monkeypatch, tmp_path):
    """A machine with an empty cache, and the lines that are logged there."""
    lines: list[str] = []
    monkeypatch.setattr(cpu_backend, 'print_log', lambda line, *_: lines.append(line))
    monkeypatch.setenv('TORCH_EXTENSIONS_DIR', str(tmp_path))
    monkeypatch.delenv(cpu_backend.DISABLE_VARIABLE, raising=False)
    monkeypatch.setattr(cpu_backend, '_installed', lambda: None)
    cpu_backend._library_or_reason.cache_clear()
    yield SimpleNamespace(lines=lines, directory=tmp_path)
    cpu_backend._library_or_reason.cache_clear()


def expect_torch(reason: str) -> None:
    tensors = inputs()
    assert dispatch.choose_backend('auto', *tensors, 5) == 'torch'
    assert 'cpu' not in available_backends()
    torch.testing.assert_close(local_attention(*tensors), local_attention(*tensors, backend='torch'))
    with pytest.raises(ValueError, match=f"backend='cpu'.*{reason}"):
        local_attention(*tensors, backend='cpu')
    with pytest.raises(RuntimeError, match=f"backend 'cpu'.*{reason}"):  # as a graph exported elsewhere would
        torch.ops.mmmtl.local_attention(*tensors, 5, 1.0, 'mask', 'cpu')


def test_without_a_compiler(monkeypatch, unbuilt):
    monkeypatch.setenv('CXX', '/nowhere/g++')
    expect_torch('/nowhere/g...*not installed .install g')
    assert len(unbuilt.lines) == 1
    assert "'torch'" in unbuilt.lines[0]


@pytest.mark.parametrize(
    ('variable', 'installed', 'expected'),
    [
        ('', 'clang++', ['clang++']),
        ('ccache g++-13', 'ccache', ['ccache', 'g++-13']),
        ('icpx', 'g++', None),
        ('', '', None),
    ],
)
def test_the_compiler(monkeypatch, variable, installed, expected):
    monkeypatch.setenv('CXX', variable)
    monkeypatch.setattr(cpu_backend.shutil, 'which', lambda tool: f'/bin/{tool}' if tool == installed else None)
    assert cpu_backend.find_compiler() == expected


def test_with_a_compiler_that_fails(monkeypatch, unbuilt):
    compiler = unbuilt.directory / 'c++'
    compiler.write_text(
        '#!/bin/sh\necho "In file included from x.cpp:" >&2; echo "fatal error: no space left" >&2; exit 1\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv('CXX', str(compiler))
    expect_torch('fatal error: no space left')
    assert [line.split(':')[1][:10] for line in unbuilt.lines] == [' compiling', " backend '"]


def test_disabled(monkeypatch, unbuilt):
    monkeypatch.setenv(cpu_backend.DISABLE_VARIABLE, '1')
    expect_torch(f'{cpu_backend.DISABLE_VARIABLE} is set')
    assert unbuilt.lines == []


def test_a_compiler_that_speaks_latin_1(monkeypatch, unbuilt):
    compiler = unbuilt.directory / 'c++'
    compiler.write_text("#!/bin/sh\nprintf 'x.cpp: error: \\351\\n' >&2; exit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv('CXX', str(compiler))
    expect_torch('x.cpp: error: \N{REPLACEMENT CHARACTER}')
    assert '\N{REPLACEMENT CHARACTER}' in unbuilt.lines[-1]


def test_a_command_that_cannot_be_read(monkeypatch, unbuilt):
    monkeypatch.setenv('CXX', '"g++')
    expect_torch('No closing quotation')
    assert len(unbuilt.lines) == 1


def test_a_linker_that_fails(monkeypatch, unbuilt):
    compiler = unbuilt.directory / 'c++'
    compiler.write_text(
        '#!/bin/sh\ncase "$*" in *-shared*) echo "ld: cannot find -lgomp: no such file" >&2\n'
        'echo "collect2: error: ld returned 1 exit status" >&2; exit 1;; esac\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv('CXX', str(compiler))
    expect_torch('ld: cannot find -lgomp')
    (directory,) = unbuilt.directory.glob('mmmtl_local_attention_*')
    assert [path.name for path in directory.iterdir()] == ['mmmtl.lock']


@pytest.mark.slow
def test_processes_share_one_compilation(tmp_path):
    tmp_path = tmp_path / 'with späces'
    tmp_path.mkdir()
    code = "from mmmtl.ops.local_attention import cpu_backend as b; print('reason:', b.missing() or 'none')"
    environment = {**os.environ, 'TORCH_EXTENSIONS_DIR': str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, '-c', code], env=environment, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
        for _ in range(3)
    ]  # fmt: skip
    outputs = [process.communicate()[0] for process in processes]
    assert all('reason: none' in output for output in outputs), outputs
    assert sum('compiling the CPU backend' in output for output in outputs) == 1
