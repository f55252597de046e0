"""Shared layers against explicit forms: linear, cross and window attention, Swin stage, residual block."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmtl.models.layers import (
    BasicBlock,
    Bottleneck,
    CrossAttention,
    SwinBlock,
    SwinStage,
    WindowAttention,
    linear_attention,
    window_attention,
    window_mask,
)
from mmmtl.models.layers.window_attention import relative_index
from mmmtl.profiling import count_macs

N, D, V, L, S = 2, 4, 3, 7, 11


def positive(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normed(module, x: Tensor) -> Tensor:
    """Return the 1x1 convolution and batch norm (eval) of a ConvModule, by hand."""
    y = torch.einsum('oc,nchw->nohw', module.conv.weight[..., 0, 0], x)
    norm, shape = module.bn, (1, -1, 1, 1)
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).view(shape)
    return (y - norm.running_mean.view(shape)) * scale + norm.bias.view(shape)


# Linear attention


def quadratic(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights = torch.einsum('ndl,nds->nls', query, key)
    return torch.einsum('nls,nvs->nvl', weights / weights.sum(dim=2, keepdim=True), value)


def test_linear_attention_is_the_quadratic_form() -> None:
    query, key = positive(N, D, L), positive(N, D, S, seed=1)
    value = positive(N, V, S, seed=2) - 0.5
    torch.testing.assert_close(linear_attention(query, key, value), quadratic(query, key, value), rtol=1e-12, atol=0)


def test_linear_attention_by_hand() -> None:
    query = torch.tensor([[[1.0, 0.0], [2.0, 1.0]]], dtype=torch.float64)
    key = torch.tensor([[[1.0, 3.0], [0.0, 1.0]]], dtype=torch.float64)
    value = torch.tensor([[[10.0, 20.0]]], dtype=torch.float64)
    # Place 0 weighs the sources 1 and 3 + 2 = 5, place 1 weighs them 0 and 1.
    assert linear_attention(query, key, value).tolist() == [[[(10 + 5 * 20) / 6, 20.0]]]


def test_linear_attention_gradient() -> None:
    inputs = [positive(1, 2, 3).requires_grad_(), positive(1, 2, 4, seed=1).requires_grad_(), positive(1, 2, 4, seed=2)]
    inputs[2].requires_grad_()
    assert torch.autograd.gradcheck(linear_attention, inputs)


def test_no_weight_gives_zero_and_no_nan() -> None:
    query = torch.zeros(1, D, L, dtype=torch.float64, requires_grad=True)
    out = linear_attention(query, positive(1, D, S), positive(1, V, S))
    assert (out == 0).all()
    out.sum().backward()
    assert query.grad is not None and query.grad.isfinite().all()


def test_the_scale_of_queries_and_keys_cancels() -> None:
    query, key, value = positive(1, D, L), positive(1, D, S, seed=1), positive(1, V, S, seed=2)
    torch.testing.assert_close(linear_attention(1e-4 * query, 1e-4 * key, value), linear_attention(query, key, value))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_sums_over_many_places_in_half_precision(dtype: torch.dtype) -> None:
    """The sum of 20000 keys of about 8 overflows in float16 and stops growing in bfloat16."""
    key, value = 8 * positive(1, 2, 20000), positive(1, 1, 20000, seed=1)
    query = positive(1, 2, 3, seed=2)
    half = [x.to(dtype) for x in (query, key, value)]
    got = linear_attention(*half)
    assert got.dtype == dtype
    expected = quadratic(*(x.double() for x in half))
    torch.testing.assert_close(got.double(), expected, rtol=torch.finfo(dtype).eps, atol=0)


def test_autocast_does_not_reach_the_sums() -> None:
    query, key, value = (x.float() for x in (positive(1, D, L), positive(1, D, 5000, seed=1), positive(1, V, 5000)))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = linear_attention(query, key, value)
    assert torch.equal(got, linear_attention(query, key, value))


def test_no_quadratic_matrix_arises() -> None:
    places = 2**20  # squared, 4 TiB of float32
    meta = [torch.empty(1, 2, places, device='meta') for _ in range(3)]
    own, _ = count_macs(nn.Identity(), lambda: linear_attention(*meta))
    assert own == {'': places * (2 * 2 + 2 + 2 * 2)}


# Cross-attention


@pytest.mark.parametrize('convs', [1, 2])
def test_cross_attention_by_hand(tiny, convs: int) -> None:
    layer = tiny.scramble(CrossAttention(D, query_convs=convs)).double().eval()
    target, sources = tiny.pixels(N, D, 3, 4), [tiny.pixels(N, D, 2, 5, seed=1), tiny.pixels(N, D, 1, 1, seed=2)]

    def non_negative(layers, x):
        for conv in layers[: convs - 1]:
            x = normed(conv, x).relu()
        return F.softplus(normed(layers[convs - 1], x)).flatten(2)

    got = layer(target, sources)
    assert len(layer.query) == len(layer.key) == convs + 1
    for map_, source in zip(got, sources, strict=True):
        value = normed(layer.value, source).relu().flatten(2)
        expected = quadratic(non_negative(layer.query, target), non_negative(layer.key, source), value)
        torch.testing.assert_close(map_, expected.unflatten(2, (3, 4)))


def test_cross_attention_of_one_source_pixel_is_its_value(tiny) -> None:
    layer = tiny.scramble(CrossAttention(D)).double().eval()
    source = tiny.pixels(N, D, 1, 1)
    (got,) = layer(tiny.pixels(N, D, 3, 4, seed=1), [source])
    torch.testing.assert_close(got, normed(layer.value, source).relu().expand(N, D, 3, 4))


def test_cross_attention_needs_a_convolution() -> None:
    with pytest.raises(ValueError, match='query_convs.*0'):
        CrossAttention(D, query_convs=0)


# Window attention


def explicit(qkv: Tensor, bias: Tensor, window: int, shift: int) -> Tensor:
    """Return the attention of each place over the map's places in its window of the shifted grid."""
    n, height, width, channels = qkv.shape
    heads, d = len(bias), channels // 3 // len(bias)
    q, k, v = qkv.view(n, height, width, 3, heads, d).unbind(3)
    shifts = [shift if side > window else 0 for side in (height, width)]
    grid = [(torch.arange(side) - s + window) // window for side, s in zip((height, width), shifts, strict=True)]
    within = [(torch.arange(side) - s) % window for side, s in zip((height, width), shifts, strict=True)]
    index = relative_index(window)
    assert index.max() == (2 * window - 1) ** 2 - 1
    out = torch.zeros_like(q)
    for y in range(height):
        for x in range(width):
            rows = [i for i in range(height) if grid[0][i] == grid[0][y]]
            columns = [j for j in range(width) if grid[1][j] == grid[1][x]]
            a = within[0][y] * window + within[1][x]
            b = torch.tensor([within[0][i] * window + within[1][j] for i in rows for j in columns])
            keys = k[:, rows][:, :, columns].flatten(1, 2)  # (N, b, A, D)
            values = v[:, rows][:, :, columns].flatten(1, 2)
            logits = torch.einsum('nad,nbad->nab', q[:, y, x], keys) / d**0.5 + bias[:, a, b]
            out[:, y, x] = torch.einsum('nab,nbad->nad', logits.softmax(-1), values)
    return out.flatten(3)


@pytest.mark.parametrize('size', [(6, 6), (7, 8), (2, 7), (3, 3), (1, 1)])
@pytest.mark.parametrize('shift', [0, 1])
def test_window_attention_is_that_of_each_window(tiny, size: tuple[int, int], shift: int) -> None:
    qkv, bias = tiny.pixels(N, *size, 3 * 4), tiny.pixels(2, 9, 9, seed=1)
    got = window_attention(qkv, bias, window=3, shift=shift)
    torch.testing.assert_close(got, explicit(qkv, bias, 3, shift))


def test_the_mask_of_a_shifted_window_by_hand() -> None:
    """One column of 6 rows, 5 of them of the map, windows of 3 (columns padded), rolled up by one."""
    mask = window_mask((5, 1), (6, 3), 3, (1, 0), torch.device('cpu'))
    assert mask is not None
    # Rows in order: 1, 2, 3 | 4, padding, 0; column 0 is the map's, columns 1 and 2 are padding.
    seen = mask[:, ::3, ::3].long().tolist()
    assert seen == [[[1, 1, 1]] * 3, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]]
    assert not mask[:, 0, 1].any() and mask[:, 1, 2].all()
    assert window_mask((6, 6), (6, 6), 3, (0, 0), torch.device('cpu')) is None


def test_relative_positions() -> None:
    index = relative_index(3)
    assert index.shape == (9, 9)
    places = [(i, j) for i in range(3) for j in range(3)]
    by_displacement: dict[tuple[int, int], set[int]] = {}
    for a, (y, x) in enumerate(places):
        for b, (i, j) in enumerate(places):
            by_displacement.setdefault((y - i, x - j), set()).add(int(index[a, b]))
    assert len(by_displacement) == 25 and all(len(numbers) == 1 for numbers in by_displacement.values())
    assert len(set.union(*by_displacement.values())) == 25


def test_window_attention_projects(tiny) -> None:
    layer = tiny.scramble(WindowAttention(4, num_heads=2, window=3, shift=1)).double()
    maps = tiny.pixels(N, 5, 7, 4)
    bias = layer.bias[relative_index(3)].permute(2, 0, 1)
    torch.testing.assert_close(layer(maps), layer.project(explicit(layer.qkv(maps), bias, 3, 1)))


def test_relative_positions_begin_with_small_weights() -> None:
    bias = WindowAttention(32, num_heads=32).bias
    assert bias.shape == (13**2, 32)
    assert bias.std().item() == pytest.approx(0.02, rel=0.05) and bias.mean().abs() < 0.002


def test_zero_padding_takes_part(tiny) -> None:
    layers = [WindowAttention(4, num_heads=2, window=3, padding=padding) for padding in ('mask', 'zero')]
    masked, zero = (tiny.scramble(layer).double() for layer in layers)
    whole, odd = tiny.pixels(N, 6, 9, 4), tiny.pixels(N, 5, 7, 4)
    torch.testing.assert_close(masked(whole), zero(whole))
    assert (masked(odd) - zero(odd)).abs().max() > 0.01
    padded = F.pad(odd, (0, 0, 0, 2, 0, 1))
    torch.testing.assert_close(zero(odd), masked(padded)[:, :5, :7])


def test_what_window_attention_refuses() -> None:
    with pytest.raises(ValueError, match=r'\b10\b.*\b4\b'):
        WindowAttention(10, num_heads=4)
    with pytest.raises(ValueError, match=r'shift.*\b6\b.*\b7\b'):
        WindowAttention(8, num_heads=4, shift=7)
    with pytest.raises(ValueError, match="padding.*'mask', 'zero'.*'none'"):
        WindowAttention(8, num_heads=4, padding='none')  # type: ignore[arg-type]


# Stage and block


def test_a_stage_by_hand(tiny) -> None:
    stage = tiny.scramble(SwinStage(6, depth=2, num_heads=3, window=3)).double()
    assert [block.attention.shift for block in stage.blocks] == [0, 1]
    features = tiny.pixels(N, 6, 5, 7)
    x = stage.embed_norm(torch.einsum('oc,nchw->nhwo', stage.embed.weight[..., 0, 0], features) + stage.embed.bias)
    for block in stage.blocks:
        x = x + block.attention(block.norm(x))
    torch.testing.assert_close(stage(features), stage.norm(x).permute(0, 3, 1, 2))


def test_drop_path_rises_and_drops_samples() -> None:
    stage = SwinStage(6, depth=3, num_heads=3, window=3, drop_path=0.4)
    assert [block.drop_path.drop_prob for block in stage.blocks] == pytest.approx([0, 0.2, 0.4])
    assert [block.attention.shift for block in stage.blocks] == [0, 1, 0]
    block = SwinBlock(6, num_heads=3, window=3, shift=0, padding='mask', drop_path=0.5).double()
    maps = torch.randn(1, 4, 4, 6, dtype=torch.float64).expand(64, 4, 4, 6)
    added = (block.train()(maps) - maps).detach()
    kept = added.flatten(1).any(dim=1)
    assert 16 < kept.sum() < 48
    # What stays is scaled so that the mean stays.
    torch.testing.assert_close(added[kept], 2 * (block.eval()(maps) - maps)[kept].detach())


@pytest.mark.parametrize('widths', [(4, 4), (6, 4)])
def test_residual_block(tiny, widths: tuple[int, int]) -> None:
    block = tiny.scramble(BasicBlock(*widths)).double().eval()
    x = tiny.pixels(N, widths[0], 5, 6)
    y = F.conv2d(x, block.conv1.conv.weight, padding=1)
    y = F.conv2d(block.conv1.norm(y).relu(), block.conv2.conv.weight, padding=1)
    skip = x if widths[0] == widths[1] else block.shortcut.norm(F.conv2d(x, block.shortcut.conv.weight))
    torch.testing.assert_close(block(x), (block.conv2.norm(y) + skip).relu())
    assert isinstance(block.shortcut, nn.Identity) == (widths[0] == widths[1])


@pytest.mark.parametrize('widths', [(8, 8), (6, 8)])
def test_bottleneck(tiny, widths: tuple[int, int]) -> None:
    block = tiny.scramble(Bottleneck(*widths)).double().eval()
    x = tiny.pixels(N, widths[0], 5, 6)
    first, second, third = block.layers
    y = first.norm(F.conv2d(x, first.conv.weight)).relu()
    y = third.norm(F.conv2d(second.norm(F.conv2d(y, second.conv.weight, padding=1)).relu(), third.conv.weight))
    skip = x if widths[0] == widths[1] else block.shortcut.norm(F.conv2d(x, block.shortcut.conv.weight))
    torch.testing.assert_close(block(x), (y + skip).relu())
    assert second.conv.weight.shape == (2, 2, 3, 3), 'a quarter as wide'
