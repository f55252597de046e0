"""Readers of the official labelled file of NYU Depth v2 and the files of its splits and classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from mmmtl.io.arrays import read_mat
from mmmtl.io.child import ChildReader
from mmmtl.structures import Array

SPLITS = dict(train=795, val=654)
Result = TypeVar('Result')

NUM_LABELS, NUM_CLASSES = 894, 40
MAX_BYTES = 1 << 28
"""The limit of an array; an image has less than 1 MB."""


class LabeledFile:
    """The contents of nyu_depth_v2_labeled.mat, an HDF5 file.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: no such file.
        ImportError: h5py is not installed.
        ValueError: no HDF5 file; and from all methods: an array is missing, damaged or too large.
    """

    def __init__(self, path: Path) -> None:
        try:
            import h5py
        except ImportError:
            raise ImportError(f'{path} is an HDF5 file: pip install h5py') from None
        if not path.is_file():
            raise FileNotFoundError(f'{path}: no such file')
        self.path = path
        self._file = self._guarded(lambda: h5py.File(path, 'r'))

    def __enter__(self) -> LabeledFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def count(self, key: str) -> int:
        """Return how many images have an array in the file."""
        return int(self._guarded(lambda: len(self._file[key])))

    def read(self, key: str, index: int) -> Array:
        """Return an image's array, with MATLAB's order of the axes: (H, W, 3) or (H, W)."""

        def load() -> Array:
            stored = self._file[key]
            check_size(key, math.prod(stored.shape[1:]) * stored.dtype.itemsize)
            array = np.asarray(stored[index])
            if array.dtype.kind not in 'biuf' or array.ndim < 2:
                raise ValueError(f'{key} holds {array.dtype} of shape {array.shape}')
            return array.T  # HDF5 reverses the order of the axes

        return self._guarded(load)

    def strings(self, key: str) -> list[str]:
        """Return the strings of a cell array, which are references to arrays of UTF-16 codes."""

        def load() -> list[str]:
            check_size(key, math.prod(self._file[key].shape) * 8)
            stored = [self._file[reference] for reference in np.asarray(self._file[key]).ravel()]
            for text in stored:
                check_size(key, math.prod(text.shape) * 8)
            return [''.join(map(chr, np.asarray(text).ravel())) for text in stored]

        return self._guarded(load)

    def _guarded(self, load: Callable[[], Result]) -> Result:
        try:
            return load()
        except Exception as error:  # h5py raises many types of errors for damaged files
            raise ValueError(f'{self.path}: not a readable HDF5 file ({error!r}); download it again') from error


def check_size(key: str, size: int) -> None:
    """Refuse an array above the limit, before it is read."""
    if size > MAX_BYTES:
        raise ValueError(f'{key} has {size} bytes, more than the limit of {MAX_BYTES}')


def read_splits(path: Path, count: int) -> dict[str, list[int]]:
    """Return the numbers of the images, from 1 to `count`, of the splits `train` and `val`."""
    with ChildReader() as child:
        stored = {split: child(read_mat, path, key) for split, key in (('train', 'trainNdxs'), ('val', 'testNdxs'))}
    for split, numbers in stored.items():
        if numbers.dtype.kind not in 'iuf' or not (numbers >= 1).all() or (numbers != np.round(numbers)).any():
            raise ValueError(f'{path}: the numbers of {split} are not whole numbers from 1; get splits.mat again')
    return {split: sorted(int(n) for n in numbers.ravel() if n <= count) for split, numbers in stored.items()}


def read_class_mapping(path: Path) -> Array:
    """Return the class, 1 to 40, of each label 1 to 894; label 0 becomes 0, void."""
    with ChildReader() as child:
        classes = child(read_mat, path, 'mapClass').ravel()
    if (
        classes.dtype.kind not in 'iuf'
        or len(classes) != NUM_LABELS
        or not np.isin(classes, range(1, NUM_CLASSES + 1)).all()
    ):
        raise ValueError(
            f'{path}: mapClass holds {len(classes)} values of {classes.dtype}, not {NUM_LABELS} whole numbers '
            f'from 1 to {NUM_CLASSES}; get classMapping40.mat again'
        )
    return np.append(0, classes).astype(np.uint8)
