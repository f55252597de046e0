"""A writer of every kind of PNG file: any bit depth, colour type, palette and interlacing."""

from __future__ import annotations

import struct
import zlib

import numpy as np

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, step of rows and step of columns of Adam7."""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def encode_png(
    array: np.ndarray, *, colour: int, bits: int, interlaced: bool = False, extra: bytes = b'', level: int = 6
) -> bytes:
    """Return a PNG file of (H, W) or (H, W, C) numbers below 2 ** bits; `extra` holds chunks such as PLTE and tRNS."""
    height, width = array.shape[:2]
    header = struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, int(interlaced))
    parts = [array[r::dr, c::dc] for r, c, dr, dc in PASSES] if interlaced else [array]
    rows = b''.join(b'\0' + pack_row(row, bits) for part in parts if part.size for row in part)
    body = chunk(b'IDAT', zlib.compress(rows, level))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + extra + body + chunk(b'IEND', b'')


def pack_row(row: np.ndarray, bits: int) -> bytes:
    numbers = row.reshape(-1)
    if bits >= 8:
        return numbers.astype('>u2' if bits == 16 else np.uint8).tobytes()
    planes = (numbers[:, None] >> np.arange(bits)[::-1]) & 1
    return np.packbits(planes.astype(np.uint8)).tobytes()
