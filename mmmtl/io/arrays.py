"""Readers of array files, with errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmmtl.structures import Array


def read_npy(path: Path) -> Array:
    """Read the array of a NumPy file."""
    try:
        array: Array = np.load(path, allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise ValueError(f'{path}: no readable array ({error}); copy or convert the file again') from error
    return array


def read_mat(path: Path, key: str) -> Array:
    """Read a variable of a MATLAB file up to version 7.2."""
    from scipy.io import loadmat, whosmat

    try:
        found: dict[str, Array] = loadmat(str(path), variable_names=[key])
    except FileNotFoundError:
        raise
    except Exception as error:  # SciPy raises many types of errors for damaged files
        raise ValueError(f'{path}: no readable MATLAB file up to version 7.2 ({error}); save it again') from error
    if key not in found:
        names = [name for name, *_ in whosmat(path)]
        raise ValueError(f'{path}: no variable {key!r}, only {names}; check that this is the right folder')
    return found[key]
