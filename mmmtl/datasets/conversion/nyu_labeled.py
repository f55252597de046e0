"""Readers of the official labelled file of NYU Depth v2 and the files of its splits and classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mmmtl.io.arrays import read_mat
from mmmtl.structures import Array

SPLITS = dict(train=795, val=654)
NUM_LABELS, NUM_CLASSES = 894, 40


@contextmanager
def open_labeled(path: Path) -> Iterator[Any]:
    """Yield the contents of nyu_depth_v2_labeled.mat, an HDF5 file; its arrays have MATLAB's axes in reverse order."""
    try:
        import h5py
    except ImportError:
        raise SystemExit(f'{path} is an HDF5 file: pip install h5py') from None
    try:
        file = h5py.File(path)
    except FileNotFoundError:
        raise FileNotFoundError(f'{path}: no such file') from None
    except OSError as error:
        raise ValueError(f'{path}: not an HDF5 file ({error}); download it again') from error
    with file:
        yield file


def read_splits(path: Path, count: int) -> dict[str, list[int]]:
    """Return the numbers of the images, from 1 to `count`, of the splits `train` and `val`."""
    numbers = {split: read_mat(path, key).ravel() for split, key in (('train', 'trainNdxs'), ('val', 'testNdxs'))}
    return {split: sorted(int(n) for n in found if n <= count) for split, found in numbers.items()}


def read_class_mapping(path: Path) -> Array:
    """Return the class, 1 to 40, of each label 1 to 894; label 0 becomes 0, void."""
    classes = read_mat(path, 'mapClass').ravel()
    if len(classes) != NUM_LABELS or classes.min() < 1 or classes.max() > NUM_CLASSES:
        raise ValueError(
            f'{path}: mapClass has {len(classes)} classes from {classes.min()} to {classes.max()}, not {NUM_LABELS} '
            f'from 1 to {NUM_CLASSES}; get classMapping40.mat again'
        )
    return np.append(0, classes).astype(np.uint8)


def read_strings(file: Any, key: str) -> list[str]:
    """Return the strings of a MATLAB cell array, which are references to arrays of UTF-16 codes."""
    return [''.join(map(chr, np.asarray(file[reference]).ravel())) for reference in np.asarray(file[key]).ravel()]
