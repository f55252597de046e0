"""Damage to files, and what readers may do with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

SEEDS = st.integers(0, 2**63)
EXTREMES = (
    b'\0',
    b'\xff',
    b'\x7f\xff\xff\xff',
    b'\xff\xff\xff\x7f',
    b'\xff' * 8,
    b'\0' * 8,
    b'\r\n',
    b'../',
    b'\x80\0',
)


def damage(data: bytes, seed: int) -> bytes:
    """Return a file with one to six changes: bytes, numbers, cuts, repetitions and moved parts."""
    rng = np.random.default_rng(seed)
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 7))):
        # Headers matter most.
        end = len(changed) if rng.random() < 0.5 else min(len(changed), 300)
        at, size = int(rng.integers(0, end + 1)), int(rng.integers(1, 33))
        match rng.integers(0, 7):
            case 0:
                changed[at : at + 1] = bytes([rng.integers(0, 256)])
            case 1 if at < len(changed):
                changed[at] ^= 1 << int(rng.integers(0, 8))
            case 2:
                piece = EXTREMES[rng.integers(0, len(EXTREMES))]
                changed[at : at + len(piece)] = piece
            case 3:
                del changed[at : at + size]
            case 4 if rng.random() < 0.3:
                del changed[at:]
            case 5:
                changed[at:at] = changed[at : at + size]
            case _:
                changed[at:at] = rng.bytes(size)
    return bytes(changed)


def outcome(read: Callable[[Path], Any], path: Path, *, errors: tuple[type[Exception], ...] = (ValueError,)) -> Any:
    """Return what a reader returns, or None for an error of a documented type that names the file."""
    try:
        return read(path)
    except errors as error:
        assert str(path) in str(error), f'{type(error).__name__} without the file: {error}'
        return None
