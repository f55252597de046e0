"""Lists of files, and readers of stored labels, depths and normals."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from mmmtl.io.images import IMAGE_SUFFIXES, read_raw
from mmmtl.structures import Array
from mmmtl.tasks.base import IGNORE

from .frames import FrameKey

Key = TypeVar('Key', bound=Hashable)


def list_files(
    folder: Path, key: Callable[[Path], Key | None], pattern: str = '*', *, fix: str = 'remove one of them'
) -> dict[Key, Path]:
    """Return {key: file}, sorted by path, of the files in a folder; {} if it is missing.

    Args:
        folder: where to look.
        key: returns the key of a file, mostly (video, time) or its stem, or None to leave it out. Hidden files are left
            out.
        pattern: of `Path.glob`.
        fix: advice in the error message if two files share a key.
    """
    files: dict[Key, Path] = {}
    for path in sorted(folder.glob(pattern)):
        if path.name.startswith('.') or (found := key(path)) is None:
            continue
        if (other := files.setdefault(found, path)) != path:
            raise ValueError(f'{path}: the same name or number as {other.name}; {fix}')
    return files


def list_stems(folder: Path) -> dict[str, Path]:
    """Return {name without suffix: file} of a folder."""
    return list_files(folder, lambda path: path.stem)


def list_video(folder: Path, video: str) -> dict[FrameKey, Path]:
    """Return {(video, number): file} of a folder of images whose names are numbers."""

    def key(path: Path) -> FrameKey | None:
        return (video, int(path.stem)) if path.suffix.lower() in IMAGE_SUFFIXES and path.stem.isdecimal() else None

    return list_files(folder, key)


def read_names(path: Path) -> list[str]:
    """Return the names in the list of a split, one per line."""
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such list; check data_root and split')
    return path.read_text().split()


def read_map_by_kind(path: Path) -> Array:
    """Return the map in an image file, whose number type and channels tell what it holds.

    One channel of 8 bits holds labels (255 = ignore), one of 16 bits depth in millimetres (0 = none), three of 8 bits
    normals, v = round((n + 1) / 2 * 255) with (0, 0, 0) = none.
    """
    raw = read_raw(path)
    if (raw.dtype, raw.ndim) == (np.uint8, 2):
        return raw
    if (raw.dtype, raw.ndim) == (np.uint16, 2):
        return raw.astype(np.float32) / 1000
    if (raw.dtype, raw.ndim) == (np.uint8, 3):
        return decode_normals(raw)
    raise ValueError(
        f'{path}: {raw.dtype} of shape {raw.shape} is of no known kind; write labels as one channel of uint8, '
        'depth as one of uint16 (millimetres), normals as RGB of uint8'
    )


def as_map(array: Array, where: str | Path, *, channels: int) -> Array:
    """Return a stored (H, W), (H, W, 1) or (H, W, 3) array as a map, (H, W) or (H, W, 3); refuse other shapes."""
    if channels == 1 and array.ndim == 3 and array.shape[2] == 1:
        return array[..., 0]
    if array.shape[2:] != (() if channels == 1 else (channels,)) or array.ndim < 2:
        wanted = '(H, W)' if channels == 1 else f'(H, W, {channels})'
        raise ValueError(f'{where}: an array of shape {array.shape} instead of {wanted}; convert the file')
    return array


def to_labels(array: Array, where: str | Path, *, lowest: int, highest: int) -> Array:
    """Return labels, uint8 from 0 on, void as 255, of class numbers of any type that start with `lowest` for void.

    Numbers that are not whole or outside the range are refused.
    """
    found = np.unique(array)
    wrong = found[(found != np.round(found)) | (found < lowest) | (found > highest)]
    if len(wrong):
        raise ValueError(
            f'{where}: labels {wrong[:8].tolist()} are not whole numbers from {lowest} (void) to {highest}; check the '
            'folder, and that its files are unchanged'
        )
    return np.where(array == lowest, IGNORE, array - (lowest + 1)).astype(np.uint8)


def labels_of_colours(rgb: Array, labels: Mapping[tuple[int, int, int], int], where: str | Path) -> Array:
    """Return the labels, (H, W) uint8, of an image, (H, W, 3) uint8, in which each class has one colour or several.

    Args:
        rgb: colours in RGB order.
        labels: {colour: label}, 255 = ignore; other colours are refused.
        where: the file, for messages.
    """
    rgb = as_map(rgb, where, channels=3)
    if rgb.dtype != np.uint8:
        raise ValueError(f'{where}: {rgb.dtype} instead of uint8 colours; get the file again')
    packed = (rgb.astype(np.int32) << (16, 8, 0)).sum(-1, dtype=np.int32)
    known = {(r << 16) + (g << 8) + b: label for (r, g, b), label in labels.items()}
    codes = np.array(sorted(known), dtype=np.int32)
    found: Array = np.searchsorted(codes, packed).clip(max=len(codes) - 1)
    if len(wrong := np.unique(packed[codes[found] != packed])):
        colours = [(int(code) >> 16, int(code) >> 8 & 255, int(code) & 255) for code in wrong[:4]]
        raise ValueError(
            f'{where}: {len(wrong)} colours belong to no class, as RGB {colours}; check that the file is the '
            "data set's, unchanged (no JPEG, not resized)"
        )
    return np.array([known[int(code)] for code in codes], dtype=np.uint8).take(found)


def decode_normals(rgb: Array) -> Array:
    """Return unit vectors, (H, W, 3) float32, of uint8 colours v = round((n + 1) / 2 * 255).

    Colours far from unit length become the zero vector, none: data sets use (0, 0, 0) and grey for it.
    """
    vectors = rgb.astype(np.float32) / 127.5 - 1
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    some = np.abs(length - 1) < 0.5
    return np.where(some, vectors / np.where(some, length, 1), 0)


def unit_normals(vectors: Array) -> Array:
    """Return unit vectors, (H, W, 3) float32, of vectors of any length; zero stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    some = length > 1e-3
    return np.where(some, vectors / np.where(some, length, 1), 0).astype(np.float32)


def check_signs(signs: Sequence[int]) -> tuple[int, ...]:
    """Return three factors 1 or -1, which turn the stored x, y and z into the package's; refuse others."""
    if len(signs) != 3 or not set(signs) <= {1, -1}:
        raise ValueError(f'normal_signs must be three of 1 and -1, for x, y and z, not {tuple(signs)}')
    return tuple(signs)
