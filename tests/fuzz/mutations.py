"""Damage to files."""

from __future__ import annotations

import re

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
CALLS = (
    b'torch\nFloatStorage\n',
    b'torch\nDoubleStorage\n',
    b'torch\nBoolStorage\n',
    b'collections\nCounter\n',
    b'builtins\nset\n',
    b'builtins\nbytearray\n',
    b'__builtin__\nbytearray\n',
    b'copy_reg\n_reconstructor\n',
    b'torch\nTensor\n',
    b'os\nsystem\n',
)
"""What a pickle may name, or may not."""


def damage(data: bytes, seed: int) -> bytes:
    """Return a file with up to six changes: bytes, numbers, cuts, repetitions and moved parts."""
    rng = np.random.default_rng(seed)
    changed = bytearray(data)
    for _ in range(int(rng.integers(0, 7))):
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


def rename_a_call(pickled: bytes, seed: int) -> bytes:
    """Return a pickle in which one of the calls that it names is another."""
    rng = np.random.default_rng(seed)
    named = list(re.finditer(rb'c[\w.]+\n\w+\n', pickled))
    at = named[rng.integers(len(named))]
    return pickled[: at.start()] + b'c' + CALLS[rng.integers(len(CALLS))] + pickled[at.end() :]
