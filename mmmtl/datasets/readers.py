"""Lists of files and names, and readers of stored labels, depths and normals."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Container, Hashable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from mmmtl.io.files import is_foreign, read_text
from mmmtl.io.images import IMAGE_SUFFIXES, UNREAD_SUFFIXES
from mmmtl.io.labels import read_raw
from mmmtl.structures import Array
from mmmtl.tasks.base import IGNORE
from mmmtl.tasks.stored import single_plane

from .frames import FrameKey

Key = TypeVar('Key', bound=Hashable)

MAP_SUFFIXES = (*IMAGE_SUFFIXES, '.npy')
UNREADABLE = (*UNREAD_SUFFIXES, '.dng', '.exr', '.hdr', '.mat', '.npz', '.pfm', '.pt', '.svg')
"""Files that hold images or maps, but have no reader here."""


def list_files(
    folder: Path, key: Callable[[Path], Key | None], pattern: str = '*', *, fix: str = 'remove one of them'
) -> dict[Key, Path]:
    """Return {key: file}, sorted by path, of the files in a folder; {} if it is missing.

    Args:
        folder: where to look.
        key: returns the key of a file, mostly (video, time) or its stem, or None to leave it out. Hidden files and
            those of the system are left out.
        pattern: pattern for `Path.glob`.
        fix: advice in the error message if two files share a key.
    """
    files: dict[Key, Path] = {}
    for path in sorted(folder.glob(pattern)):
        if is_foreign(path) or (found := key(path)) is None:
            continue
        if (other := files.setdefault(found, path)) != path:
            raise ValueError(f'{path}: the same name or number as {other.name}; {fix}')
    return files


def list_stems(folder: Path, suffixes: Container[str] | None = None) -> dict[str, Path]:
    """Return {name without suffix: file} of a folder, of all files or those with a suffix in any case.

    Where suffixes are given, a file of a kind that cannot be read (`UNREADABLE`) is refused.
    """

    def key(path: Path) -> str | None:
        suffix = path.suffix.lower()
        if suffixes is None or suffix in suffixes:
            return path.stem
        if suffix in UNREADABLE:
            raise ValueError(f'{path}: there is no reader of {suffix} files; convert it to PNG, TIFF or .npy')
        return None

    return list_files(folder, key)


def list_video(folder: Path, video: str, frames: Mapping[FrameKey, Path] | None = None) -> dict[FrameKey, Path]:
    """Return {(video, number): file} of a folder of numbered files: 7.png, 000007.png, frame_000007.jpg.

    Files without a number are left out. A map that has the name of a frame has its number. Otherwise the names may
    differ only in one number.

    Args:
        folder: where to look.
        video: name of the video.
        frames: the images of the video, for a folder of maps; None for the images themselves.

    Raises:
        ValueError: a number occurs twice, or the names leave open which number is meant.
    """
    stems = list_stems(folder, IMAGE_SUFFIXES if frames is None else MAP_SUFFIXES)
    numbers = {path.stem: time for (_, time), path in (frames or {}).items()}
    if not stems.keys() <= numbers.keys():
        numbers = _numbers_of_names({stem: path for stem, path in stems.items() if re.search(r'\d', stem)})
    files: dict[FrameKey, Path] = {}
    for stem, path in stems.items():
        if stem in numbers and (other := files.setdefault((video, numbers[stem]), path)) != path:
            raise ValueError(f'{path}: the same number as {other.name}; remove one of them')
    return files


def _numbers_of_names(files: Mapping[str, Path]) -> dict[str, int]:
    """Return the number of each file, by name: the one that differs from file to file."""
    parts = {stem: re.split(r'(\d+)', stem) for stem in files}
    if not parts:
        return {}
    stem, *others = sorted(parts, key=lambda stem: (len(stem), stem))
    texts, columns = parts[stem][::2], range(1, len(parts[stem]), 2)
    for other in others:
        if parts[other][::2] != texts:
            raise ValueError(
                f'{files[other]}: its name differs in form from {files[stem].name}, so the numbers of the frames are '
                'not certain; rename or remove one of them'
            )
    changing = [column for column in columns if len({int(split[column]) for split in parts.values()}) > 1]
    if len(changing) > 1 or (len(columns) > 1 and not changing):
        raise ValueError(
            f'{files[stem]}: {len(columns)} numbers in the name, and it is unclear which one is the frame number; '
            'rename the files in this folder so that only the frame number differs'
        )
    column = changing[0] if changing else columns[0]
    return {stem: int(split[column]) for stem, split in parts.items()}


def read_names(path: Path) -> list[str]:
    """Return the names in the list of a split, one per line, without blank lines and lines that begin with #.

    Raises:
        FileNotFoundError: no such list.
        ValueError: neither UTF-8 nor UTF-16, or a name that occurs twice.
    """
    lines = read_text(path, missing='no such list; check data_root and split').splitlines()
    names = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith('#')]
    if repeated := [name for name, number in Counter(names).items() if number > 1]:
        raise ValueError(f'{path}: {repeated[:4]} occur more than once; remove the repetitions')
    return names


def listed_files(names: Sequence[str], files: Mapping[str, Path], where: Path) -> dict[str, Path]:
    """Return {name without suffix: file} of the names in a list, which may end in the suffix of an image.

    Args:
        names: result of `read_names`.
        files: result of `list_stems`.
        where: the list, for messages.

    Raises:
        FileNotFoundError: names without a file.
        ValueError: no names, or two names of one file.
    """
    if not names:
        raise ValueError(f'{where}: an empty list; write one name per line')
    found: dict[str, Path] = {}
    missing = []
    for name in names:
        bare, suffix = os.path.splitext(name)
        stem = bare if name not in files and suffix.lower() in IMAGE_SUFFIXES else name
        if stem not in files:
            missing.append(name)
        elif stem in found:
            raise ValueError(f'{where}: {name!r} names a file for the second time; remove the repetition')
        else:
            found[stem] = files[stem]
    if missing:
        raise FileNotFoundError(
            f'{where}: {len(missing)} of {len(names)} names have no image, the first are {missing[:3]}; names are file '
            'names, with or without suffix: correct the list, or unpack the missing images'
        )
    return found


def read_stored(path: Path, kind: type, *, channels: int = 1, lossy: bool = False) -> Array:
    """Return the numbers of an image file, (H, W) or (H, W, 3) in RGB order; refuse types other than `kind`."""
    raw = as_map(read_raw(path, lossy=lossy), path, channels=channels)
    if raw.dtype != kind:
        raise ValueError(f'{path}: {raw.dtype} instead of {kind.__name__}; get the file again, or convert it')
    return raw


def as_map(array: Array, where: str | Path, *, channels: int) -> Array:
    """Return a stored (H, W), (H, W, 1) or (H, W, 3) array as a map, (H, W) or (H, W, 3); refuse other shapes.

    Arrays that do not hold numbers, as .mat files may, are refused, too.
    """
    if array.dtype.kind not in 'biuf':
        raise ValueError(f'{where}: an array of {array.dtype} instead of numbers; check the folder')
    if channels == 1:
        array = single_plane(array)
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
        rgb: colours in RGB order, checked by the caller (`read_stored`).
        labels: {colour: label}, 255 = ignore; other colours are refused.
        where: the file, for messages.
    """
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


def unit_normals(vectors: Array) -> Array:
    """Return unit vectors, (H, W, 3) float32, of longer or shorter ones; those below 0.001 become zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    some = length > 1e-3
    return np.where(some, vectors / np.where(some, length, 1), 0).astype(np.float32)


def check_signs(signs: Sequence[int]) -> tuple[int, ...]:
    """Return three factors 1 or -1, which turn the stored x, y and z into the package's; refuse others."""
    if len(signs) != 3 or not set(signs) <= {1, -1}:
        raise ValueError(f'normal_signs must be three of 1 and -1, for x, y and z, not {tuple(signs)}')
    return tuple(signs)
