"""Thinning of binary maps to lines of one pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# (row, column) of the paper's neighbours x1 to x8: east, then counter-clockwise.
NEIGHBOURS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def thin(mask: NDArray[Any]) -> NDArray[Any]:
    """Thin a binary map (H, W) to lines of one pixel, as (H, W) bool.

    Pixels are peeled off until nothing changes. This preserves the number of 8-connected parts, ends of lines and
    holes. The result equals MATLAB's `bwmorph(mask, 'thin', inf)`. Pixels outside the map count as empty.

    Reference: Guo and Hall, Parallel thinning with two-subiteration algorithms, CACM 32(3), 1989, algorithm A1; its
    conditions as in Lam, Lee and Suen, Thinning methodologies, PAMI 14(9), 1992.

    Examples:
        >>> thin(np.ones((3, 7))).astype(int)
        array([[0, 0, 0, 0, 0, 0, 0],
               [0, 1, 1, 1, 1, 1, 0],
               [0, 0, 0, 0, 0, 0, 0]])
    """
    if mask.ndim != 2:
        raise ValueError(f'thinning needs a map of shape (H, W), not {mask.shape}')
    padded = np.pad(mask.astype(bool), 1)
    flat, width = padded.reshape(-1), padded.shape[1]
    steps = [row * width + column for row, column in NEIGHBOURS]
    left, before = np.flatnonzero(flat), -1
    while len(left) != before:
        before = len(left)
        for table in PEELED:
            code = np.zeros(len(left), dtype=np.uint8)
            for bit, step in enumerate(steps):
                code |= np.left_shift(flat[left + step], bit, dtype=np.uint8)
            peeled = table[code]
            flat[left[peeled]] = False
            left = left[~peeled]
    return padded[1:-1, 1:-1].copy()


def _peeled(*, second: bool) -> NDArray[Any]:
    """Return (256,) bool: whether a subiteration removes a pixel with neighbours x1 (lowest bit) to x8."""
    codes = np.arange(256)
    x1, x2, x3, x4, x5, x6, x7, x8 = x = [(codes >> bit & 1).astype(bool) for bit in range(8)]
    odd, even, next_odd = x[0::2], x[1::2], [*x[2::2], x1]
    crossings = sum((~a & (b | c)).astype(int) for a, b, c in zip(odd, even, next_odd, strict=True))
    pairs = sum((a | b).astype(int) for a, b in zip(odd, even, strict=True))
    shifted = sum((b | c).astype(int) for b, c in zip(even, next_odd, strict=True))
    fewer = np.minimum(pairs, shifted)
    kept = (x6 | x7 | ~x4) & x5 if second else (x2 | x3 | ~x8) & x1
    peeled: NDArray[Any] = (crossings == 1) & (fewer >= 2) & (fewer <= 3) & ~kept
    return peeled


PEELED = (_peeled(second=False), _peeled(second=True))
