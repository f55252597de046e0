"""Array files, read with errors that name the file, and written."""

from __future__ import annotations

import io
import math
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmmtl.structures import Array

from .files import read_bytes
from .outputs import whole_file

MAX_ARRAY_BYTES = 1 << 31
"""The default limit of arrays, in bytes."""
FORMAT: Any = np.lib.format  # parts of it have no types
COMPRESSED = 15
"""The type of a compressed element of a MATLAB file."""


def read_npy(path: str | Path, *, max_bytes: int = MAX_ARRAY_BYTES) -> Array:
    """Read the array of a NumPy file: numbers, and at least one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, too large, not of numbers, or an .npz archive.
    """
    data = read_bytes(path, max_bytes=max_bytes)
    if data.startswith(b'PK'):
        raise ValueError(f'{path}: an .npz archive of arrays, not an .npy file; save the array alone with np.save')
    file = io.BytesIO(data)
    try:
        readers = {(1, 0): FORMAT.read_array_header_1_0, (2, 0): FORMAT.read_array_header_2_0}
        shape, fortran, dtype = readers[FORMAT.read_magic(file)](file)
    except Exception as error:  # damaged headers raise many types of errors
        raise ValueError(f'{path}: not a readable array ({error!r}); copy or convert the file again') from error
    start, promised = file.tell(), math.prod(shape) * dtype.itemsize
    if dtype.kind not in 'biuf' or promised != len(data) - start or not promised or min(shape, default=1) < 0:
        raise ValueError(
            f'{path}: the header promises {dtype} of shape {shape}, {promised} bytes, and {len(data) - start} follow; '
            'save an array of numbers again'
        )
    array = np.frombuffer(data, dtype, offset=start)
    shaped: Array = array.reshape(shape, order='F' if fortran else 'C').astype(dtype.newbyteorder('='))
    return shaped


def write_npy(path: str | Path, array: Array) -> None:
    """Write an array to an .npy file, whole or not at all. Create the folder."""
    with whole_file(path) as partial, partial.open('wb') as file:
        np.save(file, array, allow_pickle=False)


def read_mat(path: str | Path, key: str, *, max_bytes: int = MAX_ARRAY_BYTES) -> Array:
    """Read a variable of a MATLAB file up to version 7.2.

    SciPy's reader can crash on a damaged file: converters call this function through a `ChildReader`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, too large, or without the variable.
    """
    from scipy.io import loadmat, whosmat

    data = read_bytes(path, max_bytes=max_bytes)
    try:
        shapes = {name: shape for name, shape, _ in whosmat(io.BytesIO(data))}
        large = 8 * math.prod(shapes.get(key, ())) > max_bytes or _inflates_beyond(data, max_bytes)
        found = {} if large or key not in shapes else loadmat(io.BytesIO(data), variable_names=[key])
    except Exception as error:  # SciPy raises many types of errors for damaged files
        raise ValueError(
            f'{path}: not a readable MATLAB file up to version 7.2 ({error!r}); save or download it again'
        ) from error
    if large:
        raise ValueError(
            f'{path}: more than the limit of {max_bytes} bytes when unpacked; check the file, or raise the limit'
        )
    if key not in found:
        raise ValueError(f'{path}: no variable {key!r}, only {list(shapes)}; check that this is the right folder')
    array: Array = found[key]
    return array


def _inflates_beyond(data: bytes, limit: int) -> bool:
    """Return whether the compressed variables of a MATLAB file have more than `limit` bytes together."""
    order: Literal['big', 'little'] = 'big' if data[126:128] == b'MI' else 'little'
    start, total = 128, 0
    while start + 8 <= len(data):
        kind, size = (int.from_bytes(data[at : at + 4], order) for at in (start, start + 4))
        start += 8
        if kind == COMPRESSED:
            packed, inflater = data[start : start + size], zlib.decompressobj()
            while packed and total <= limit:
                total += len(inflater.decompress(packed, 1 << 20))
                packed = inflater.unconsumed_tail
        start += size
    return total > limit
