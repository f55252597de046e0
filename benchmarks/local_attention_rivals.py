"""Alternatives to our local attention; all mask the borders unless a comment says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.ops import available_backends, local_attention

# Shape letters: N images, C channels of query and key, V of value, L side of the window, H W of the map, T of a tile.

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


class Unavailable(Exception):
    """The reason why a contender cannot run here."""


@dataclass(frozen=True)
class Contender:
    """A way to compute local attention; `make` takes the window and a query like those that will come."""

    name: str
    make: Callable[[int, Tensor], Attention]
    kind: str  # 'ours', 'unfold', 'eager', 'compiled' or 'library'
    differentiable: bool = True
    shifted_border: bool = False  # windows shift into the image: only the interior can be compared


def contenders(device: str) -> list[Contender]:
    """Return ours and all alternatives; those that cannot run raise `Unavailable` when made."""
    ours = [Contender(f'mmmtl {name}', _ours(name), 'ours') for name in ('cpu', 'triton', 'torch')]
    return [
        *ours,
        Contender('mmcv Correlation + CARAFE', _ours('mmcv'), 'library'),
        Contender('unfold, einsum', lambda window, _: lambda q, k, v: _unfold_einsum(q, k, v, window), 'unfold'),
        Contender('unfold, matmul', lambda window, _: lambda q, k, v: _unfold_matmul(q, k, v, window), 'unfold'),
        Contender('unfold, product + sum', lambda window, _: lambda q, k, v: _unfold_sum(q, k, v, window), 'unfold'),
        Contender('shift loop', lambda window, _: lambda q, k, v: _shift(q, k, v, window), 'eager'),
        Contender('shift loop, compiled', _compiled_shift, 'compiled'),
        Contender('halo tiles, bmm', lambda window, _: lambda q, k, v: _halo(q, k, v, window), 'eager'),
        Contender('NATTEN', _natten, 'library', shifted_border=True),
        Contender('flex_attention, compiled', _flex, 'compiled', differentiable=device != 'cpu'),
    ]


def _ours(backend: str) -> Callable[[int, Tensor], Attention]:
    def make(window: int, query: Tensor) -> Attention:
        if backend not in available_backends():
            raise Unavailable('the backend is not available')
        if (backend == 'cpu') != (query.device.type == 'cpu') and backend != 'torch':
            raise Unavailable(f'not for {query.device.type} tensors')
        return lambda q, k, v: local_attention(q, k, v, window=window, backend=backend)

    return make


def _inside(window: int, like: Tensor) -> Tensor:
    """(L*L, H, W), True where the neighbour lies in the image."""
    height, width = like.shape[2:]
    ones = torch.ones(1, 1, height, width, device=like.device)
    return F.unfold(ones, window, padding=window // 2).view(-1, height, width) > 0


def _neighbours(x: Tensor, window: int) -> Tensor:
    """(N, C, L*L, H, W)."""
    return F.unfold(x, window, padding=window // 2).view(*x.shape[:2], window * window, *x.shape[2:])


def _softmax(logits: Tensor, window: int, like: Tensor) -> Tensor:
    """Over dimension 1 of (N, L*L, H, W)."""
    return logits.masked_fill(~_inside(window, like), float('-inf')).softmax(1)


def _unfold_einsum(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    logits = torch.einsum('nchw,nclhw->nlhw', query, _neighbours(key, window))
    return torch.einsum('nlhw,nclhw->nchw', _softmax(logits, window, key), _neighbours(value, window))


def _unfold_matmul(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    images, _, height, width = value.shape
    keys = _neighbours(key, window).permute(0, 3, 4, 2, 1)  # (N, H, W, L*L, C)
    logits = (keys @ query.permute(0, 2, 3, 1).unsqueeze(-1)).squeeze(-1).permute(0, 3, 1, 2)
    weights = _softmax(logits, window, key).permute(0, 2, 3, 1).unsqueeze(-1)
    return (_neighbours(value, window).permute(0, 3, 4, 1, 2) @ weights).squeeze(-1).permute(0, 3, 1, 2)


def _unfold_sum(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    logits = (query.unsqueeze(2) * _neighbours(key, window)).sum(1)
    return (_softmax(logits, window, key).unsqueeze(1) * _neighbours(value, window)).sum(2)


def _shift(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    radius, height, width = window // 2, *query.shape[2:]
    key, value_ = (F.pad(x, (radius,) * 4) for x in (key, value))
    taps = [(y, x) for y in range(window) for x in range(window)]
    logits = [(query * key[:, :, y : y + height, x : x + width]).sum(1) for y, x in taps]
    weights = _softmax(torch.stack(logits, 1), window, query)
    out = torch.zeros_like(value)
    for tap, (y, x) in enumerate(taps):
        out = out + weights[:, tap : tap + 1] * value_[:, :, y : y + height, x : x + width]
    return out


def _compiled_shift(window: int, query: Tensor) -> Attention:
    torch.compiler.reset()  # after too many recompilations, a function silently runs eagerly
    return torch.compile(lambda q, k, v: _shift(q, k, v, window), dynamic=False)


def _halo(query: Tensor, key: Tensor, value: Tensor, window: int, tile: int = 8) -> Tensor:
    """Attend densely from each tile to the tile and its halo, and mask the rest."""
    radius, (images, depth, height, width) = window // 2, value.shape
    if height % tile or width % tile:
        raise Unavailable(f'{height} x {width} is not a multiple of {tile}')
    rows, columns, side = height // tile, width // tile, tile + 2 * radius

    def halos(x: Tensor) -> Tensor:  # (N * tiles, side * side, channels)
        x = F.pad(x, (radius,) * 4).unfold(2, side, tile).unfold(3, side, tile)
        return x.permute(0, 2, 3, 4, 5, 1).reshape(images * rows * columns, side * side, -1)

    tiles = query.unflatten(2, (rows, tile)).unflatten(4, (columns, tile)).permute(0, 2, 4, 3, 5, 1)
    logits = torch.bmm(tiles.reshape(images * rows * columns, tile * tile, -1), halos(key).transpose(1, 2))
    place = torch.arange(side, device=query.device)
    near = (place[None] - place[:tile, None]).sub(radius).abs() <= radius  # (tile, side), along one axis
    near = (near[:, None, :, None] & near[None, :, None, :]).flatten(2).flatten(0, 1)
    exists = halos(torch.ones_like(query[:, :1])).squeeze(-1)[:, None] > 0
    out = torch.bmm(logits.masked_fill(~(near & exists), float('-inf')).softmax(-1), halos(value))
    out = out.view(images, rows, columns, tile, tile, depth).permute(0, 5, 1, 3, 2, 4)
    return out.reshape(images, depth, height, width)


def _natten(window: int, query: Tensor) -> Attention:
    try:
        from natten.functional import na2d
    except ImportError as error:
        raise Unavailable('natten is not installed') from error

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        heads = (x.permute(0, 2, 3, 1).unsqueeze(3) for x in (q, k, v))  # (N, H, W, 1, C)
        return na2d(*heads, kernel_size=window, scale=1.0).squeeze(3).permute(0, 3, 1, 2)

    return attention


def _flex(window: int, query: Tensor, tile: tuple[int, int] = (8, 16)) -> Attention:
    """Order pixels by tiles, so that a block of 128 keys is a patch of the map and not half a row."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    images, _, height, width = query.shape
    if query.device.type == 'cpu' and height * width > 1 << 13:
        raise Unavailable('its mask has H*W x H*W entries on the CPU')
    order = torch.arange(height * width, device=query.device).view(1, 1, height, width)
    order = _by_tiles(order, tile).flatten()  # raster index of each token
    rows, columns = order // width, order % width
    radius = window // 2

    def near(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return ((rows[i] - rows[j]).abs() <= radius) & ((columns[i] - columns[j]).abs() <= radius)

    count = height * width
    on_gpu = query.device.type == 'cuda'
    mask = create_block_mask(near, None, None, count, count, device=query.device.type, _compile=on_gpu)
    compiled = torch.compile(flex_attention, dynamic=False)

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        tokens = (_by_tiles(x, tile).flatten(2).transpose(1, 2).unsqueeze(1) for x in (q, k, v))
        out = compiled(*tokens, block_mask=mask, scale=1.0).squeeze(1).transpose(1, 2)
        out = out.view(images, -1, height // tile[0], width // tile[1], *tile)
        return out.transpose(3, 4).reshape(images, -1, height, width)

    return attention


def _by_tiles(x: Tensor, tile: tuple[int, int]) -> Tensor:
    """Turn (N, C, H, W) into (N, C, H / tile, W / tile, tile, tile)."""
    height, width = x.shape[2:]
    if height % tile[0] or width % tile[1]:
        raise Unavailable(f'{height} x {width} is not a multiple of {tile[0]} x {tile[1]}')
    return x.unflatten(3, (-1, tile[1])).unflatten(2, (-1, tile[0])).transpose(3, 4)
