"""Local attention in plain PyTorch: one pass per tap over bands of rows, for any device and float dtype."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..precision import at_least_float32
from ..spatially_variant_conv import neighbour_rows, weighted_neighbours
from .contract import empty_gradients, empty_outputs

# A band is read once per tap. On a CPU it should stay in the cache (measured with 1 MB of L2 per core). Elsewhere
# launches cost more than reads, and the limit only bounds the memory of the products.
_BAND_BYTES_CPU = 3 << 20
_BAND_BYTES = 256 << 20

Box = tuple[slice, slice, slice, slice]


class _Tap(NamedTuple):
    number: int
    here: Box  # pixels of the band that have this neighbour, relative to the band's first row
    there: Box  # these neighbours, relative to the halo's first row


class _Band(NamedTuple):
    images: slice
    top: int
    bottom: int
    halo_top: int
    halo_bottom: int

    @property
    def box(self) -> Box:
        return self.images, slice(None), slice(self.top, self.bottom), slice(None)

    @property
    def halo(self) -> Box:
        return self.images, slice(None), slice(self.halo_top, self.halo_bottom), slice(None)

    def taps(self, window: int, width: int, *, mirrored: bool = False) -> Iterator[_Tap]:
        """Yield each tap with the pixels that have it; mirrored: with the pixels that are this neighbour of others."""
        radius = window // 2
        for number in range(window * window):
            y, x = number // window - radius, number % window - radius
            if mirrored:
                y, x = -y, -x
            top, bottom = max(self.top, self.halo_top - y), min(self.bottom, self.halo_bottom - y)
            left, right = max(0, -x), min(width, width - x)
            if top < bottom and left < right:
                yield _Tap(
                    number,
                    _box(top - self.top, bottom - self.top, left, right),
                    _box(top + y - self.halo_top, bottom + y - self.halo_top, left + x, right + x),
                )


def missing() -> str:
    """Return '': this backend runs everywhere."""
    return ''


def unsupported(query: Tensor, key: Tensor, value: Tensor, window: int) -> str:
    """Return '': this backend runs all tensors."""
    return ''


def forward(
    query: Tensor, key: Tensor, value: Tensor, *, window: int, scale: float, border: str
) -> tuple[Tensor, Tensor]:
    """Compute `Kernel.forward`."""
    out, weights = empty_outputs(query, key, value, window)
    dtype, width = weights.dtype, value.shape[-1]
    for band in _bands(query, value, dtype, window):
        # Scale the query, not the logits: a scale <= 0 would spoil the -inf of the mask.
        scaled_query = query[band.box].to(dtype) * scale
        logits = torch.full_like(weights[band.box], float('-inf') if border == 'mask' else 0.0)
        _dot(scaled_query, key[band.halo].to(dtype), band.taps(window, width), logits)
        weights[band.box] = logits.softmax(1)

        total = torch.zeros_like(out[band.box], dtype=dtype)
        _weighted_sum(weights[band.box], value[band.halo].to(dtype), band.taps(window, width), total)
        out[band.box] = total
    return out, weights


def traceable(query: Tensor, key: Tensor, value: Tensor, *, window: int, scale: float, border: str) -> Tensor:
    """Compute the output of `forward` by slicing padded maps, for exporters that do not know custom operators.

    Sizes may be symbolic. The graph has some operators for each row of the window, and the memory holds L copies of the
    maps and the L * L logits of each pixel.
    """
    dtype = at_least_float32(query, key, value)
    query = (query.to(dtype) * scale).unsqueeze(2)
    logits = torch.cat([(query * k).sum(1) for k in neighbour_rows(key.to(dtype), window)], dim=1)
    if border == 'mask':
        inside = torch.cat([row[:, 0] for row in neighbour_rows(torch.ones_like(logits[:1, :1]), window)], dim=1)
        logits = logits.masked_fill(inside == 0, float('-inf'))
    return weighted_neighbours(value, logits.softmax(1))


def backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, weights: Tensor, *, window: int, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `Kernel.backward`; each pixel gathers its own gradient, without atomic additions."""
    grad_query, grad_key, grad_value = empty_gradients(query, key, value)
    grad_logits = torch.empty_like(weights)
    dtype, width = weights.dtype, value.shape[-1]

    for band in _bands(query, value, dtype, window):
        # Taps outside the image stay 0: with border='zero' their value is 0, with 'mask' their weight is.
        grad_weights = torch.zeros_like(weights[band.box])
        _dot(grad[band.box].to(dtype), value[band.halo].to(dtype), band.taps(window, width), grad_weights)
        mean = (weights[band.box] * grad_weights).sum(1, keepdim=True)
        grad_logits[band.box] = grad_weights.sub_(mean).mul_(weights[band.box]).mul_(scale)

        total = torch.zeros_like(grad_query[band.box], dtype=dtype)
        _weighted_sum(grad_logits[band.box], key[band.halo].to(dtype), band.taps(window, width), total)
        grad_query[band.box] = total

    for band in _bands(query, value, dtype, window):
        for target, source, factors in ((grad_key, query, grad_logits), (grad_value, grad, weights)):
            total = torch.zeros_like(target[band.box], dtype=dtype)
            taps = band.taps(window, width, mirrored=True)
            _weighted_sum(factors[band.halo], source[band.halo].to(dtype), taps, total, mirrored=True)
            target[band.box] = total
    return grad_query, grad_key, grad_value


def _dot(here: Tensor, there: Tensor, taps: Iterator[_Tap], out: Tensor) -> None:
    """Write the sum over channels of here * neighbour to out[:, tap]."""
    product = torch.empty_like(here)  # a single buffer for all taps stays in the cache
    for tap in taps:
        torch.mul(here[tap.here], there[tap.there], out=product[tap.here])
        torch.sum(product[tap.here], 1, keepdim=True, out=_plane(out, tap.number)[tap.here])


def _weighted_sum(
    factors: Tensor, there: Tensor, taps: Iterator[_Tap], total: Tensor, *, mirrored: bool = False
) -> None:
    """Add factor * neighbour over all taps to total; mirrored: with the neighbour's factor instead of the pixel's."""
    for tap in taps:
        factor = _plane(factors, tap.number)[tap.there if mirrored else tap.here]
        total[tap.here].addcmul_(factor, there[tap.there])


def _bands(query: Tensor, value: Tensor, dtype: torch.dtype, window: int) -> Iterator[_Band]:
    """Cut the map into bands of rows; small images are taken whole, several at a time."""
    images, channels, height, width = query.shape
    budget = _BAND_BYTES_CPU if query.device.type == 'cpu' else _BAND_BYTES
    row_bytes = max(1, max(channels, value.shape[1]) * width * dtype.itemsize)
    rows = max(1, min(height, budget // row_bytes))
    together = max(1, budget // (row_bytes * rows)) if rows == height else 1
    for first in range(0, images, together):
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            halo = max(0, top - window // 2), min(height, bottom + window // 2)
            yield _Band(slice(first, first + together), top, bottom, *halo)


def _box(top: int, bottom: int, left: int, right: int) -> Box:
    return slice(None), slice(None), slice(top, bottom), slice(left, right)


def _plane(planes: Tensor, number: int) -> Tensor:
    return planes[:, number : number + 1]
