"""Listing files, and reading stored labels, depths and normals as the maps of the data contract."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from mmmtl.io.images import IMAGE_SUFFIXES, read_raw
from mmmtl.tasks.base import IGNORE

from .frames import FrameKey

Key = TypeVar('Key', bound=Hashable)


def list_files(
    folder: Path, key: Callable[[Path], Key | None], pattern: str = '*', *, fix: str = 'remove one of them'
) -> dict[Key, Path]:
    """Return {key: file}, sorted by path, of the files in a folder; none where it is absent.

    Args:
        folder: where to look.
        key: what a file is called, mostly (video, time) or its stem; None leaves it out. Hidden files are left out.
        pattern: of `Path.glob`.
        fix: what to do about two files of one key, for the message.

    Raises:
        ValueError: two files have the same key.
    """
    files: dict[Key, Path] = {}
    for path in sorted(folder.glob(pattern)):
        if path.name.startswith('.') or (found := key(path)) is None:
            continue
        if (other := files.setdefault(found, path)) != path:
            raise ValueError(f'{path}: the same name or number as {other.name}; {fix}')
    return files


def list_stems(folder: Path) -> dict[str, Path]:
    """Return {name without suffix: file} of a folder, see `list_files`."""
    return list_files(folder, lambda path: path.stem)


def list_video(folder: Path, video: str) -> dict[FrameKey, Path]:
    """Return {(video, number): file} of a folder of images whose names are numbers, see `list_files`."""

    def key(path: Path) -> FrameKey | None:
        return (video, int(path.stem)) if path.suffix.lower() in IMAGE_SUFFIXES and path.stem.isdecimal() else None

    return list_files(folder, key)


def read_names(path: Path) -> list[str]:
    """Return the names in a list of a split, one per line.

    Raises:
        FileNotFoundError: no such list.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such list; check data_root and split')
    return path.read_text().split()


def read_map_by_kind(path: Path) -> np.ndarray:
    """Read a map from an image file whose kind says what it holds.

    One channel of 8 bits is labels (255 = ignore), one of 16 bits depth in millimetres (0 = none), three of 8 bits
    normals, v = round((n + 1) / 2 * 255) with (0, 0, 0) = none.

    Raises:
        ValueError: it is of another kind.
    """
    raw = read_raw(path)
    if (raw.dtype, raw.ndim) == (np.uint8, 2):
        return raw
    if (raw.dtype, raw.ndim) == (np.uint16, 2):
        return raw.astype(np.float32) / 1000
    if (raw.dtype, raw.ndim) == (np.uint8, 3):
        return decode_normals(raw)
    raise ValueError(
        f'{path}: {raw.dtype} of shape {raw.shape} is no label map; write labels as one channel of uint8, depth as '
        'one of uint16 (millimetres), normals as RGB of uint8'
    )


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
    return np.where(array == lowest, IGNORE, array - (lowest + 1)).astype(np.uint8)


def labels_of_colours(rgb: np.ndarray, labels: Mapping[tuple[int, int, int], int], where: str | Path) -> np.ndarray:
    """Labels (H, W) uint8 of an image (H, W, 3) uint8 in which each class has a colour, or several.

    Args:
        rgb: colours in RGB order.
        labels: {colour: label}, 255 = ignore.
        where: the file, for messages.

    Raises:
        ValueError: it is no image of three channels of uint8, or has a colour that is not in `labels`.
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
