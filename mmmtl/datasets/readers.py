"""Stored labels, depths and normals as the maps of the data contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def files_by_stem(folder: Path) -> dict[str, Path]:
    """{name without suffix: file} of the files in a folder that are not hidden; an absent folder has none.

    Raises:
        ValueError: two files have the same name.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith('.'):
            continue
        if (other := files.setdefault(path.stem, path)) != path:
            raise ValueError(f'{path}: the same name as {other.name}; remove one of them')
    return files


def as_map(array: np.ndarray, where: str | Path, *, channels: int) -> np.ndarray:
    """A stored (H, W), (H, W, 1) or (H, W, 3) array as a map of so many channels: (H, W) or (H, W, 3).

    Raises:
        ValueError: it has another shape; `where` stands in the message.
    """
    if channels == 1 and array.ndim == 3 and array.shape[2] == 1:
        return array[..., 0]
    if array.shape[2:] != (() if channels == 1 else (channels,)) or array.ndim < 2:
        wanted = '(H, W)' if channels == 1 else f'(H, W, {channels})'
        raise ValueError(f'{where}: an array of shape {array.shape} instead of {wanted}; convert the file')
    return array


def to_labels(array: np.ndarray, where: str | Path, *, lowest: int, highest: int) -> np.ndarray:
    """Class numbers stored as any type, with `lowest` for void: labels uint8 from 0 on, void as 255.

    Raises:
        ValueError: a value is no integer or outside the range; `where` stands in the message.
    """
    found = np.unique(array)
    wrong = found[(found != np.round(found)) | (found < lowest) | (found > highest)]
    if len(wrong):
        raise ValueError(
            f'{where}: labels {wrong[:8].tolist()} are not whole numbers from {lowest} (void) to {highest}; check that '
            'this is the folder of that data set, unchanged'
        )
    return np.where(array == lowest, 255, array - (lowest + 1)).astype(np.uint8)


def labels_of_colours(rgb: np.ndarray, labels: Mapping[tuple[int, int, int], int], where: str | Path) -> np.ndarray:
    """Labels (H, W) uint8 of a picture (H, W, 3) uint8 in which each class has a colour, or several.

    Args:
        rgb: colours in RGB order.
        labels: {colour: label}, 255 = ignore.
        where: the file, for messages.

    Raises:
        ValueError: it is no picture of three channels of uint8, or has a colour that is not in `labels`.
    """
    rgb = as_map(rgb, where, channels=3)
    if rgb.dtype != np.uint8:
        raise ValueError(f'{where}: {rgb.dtype} instead of uint8 colours; get the file again')
    packed = (rgb.astype(np.int32) << (16, 8, 0)).sum(-1, dtype=np.int32)
    known = {(r << 16) + (g << 8) + b: label for (r, g, b), label in labels.items()}
    codes = np.array(sorted(known), dtype=np.int32)
    found = np.searchsorted(codes, packed).clip(max=len(codes) - 1)
    if len(wrong := np.unique(packed[codes[found] != packed])):
        colours = [(int(code) >> 16, int(code) >> 8 & 255, int(code) & 255) for code in wrong[:4]]
        raise ValueError(
            f"{where}: {len(wrong)} colours are no classes, as RGB {colours}; check that the file is the data set's, "
            'unchanged (no JPEG, not resized)'
        )
    return np.array([known[int(code)] for code in codes], dtype=np.uint8)[found]


def decode_normals(rgb: np.ndarray) -> np.ndarray:
    """Unit vectors (H, W, 3) float32 of uint8 colours v = round((n + 1) / 2 * 255).

    A colour that is far from unit length is none, the zero vector: (0, 0, 0) and grey are so in use.
    """
    vectors = rgb.astype(np.float32) / 127.5 - 1
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    some = np.abs(length - 1) < 0.5
    return np.where(some, vectors / np.where(some, length, 1), 0)


def unit_normals(vectors: np.ndarray) -> np.ndarray:
    """Unit vectors (H, W, 3) float32 of vectors of any length; zero stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    some = length > 1e-3
    return np.where(some, vectors / np.where(some, length, 1), 0).astype(np.float32)


def check_signs(signs: Sequence[int]) -> tuple[int, ...]:
    """Three factors 1 or -1, which turn the stored x, y and z into the package's.

    Raises:
        ValueError: they are something else.
    """
    if len(signs) != 3 or not set(signs) <= {1, -1}:
        raise ValueError(f'normal_signs must be three of 1 and -1, for x, y and z, not {tuple(signs)}')
    return tuple(signs)
