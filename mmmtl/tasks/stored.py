"""What the numbers in a user's label files mean."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mmmtl.structures import Array

Unit = str | float
"""The name of a unit, or what one step of the stored numbers stands for."""
ALLOWED = 0.99 / 255
"""Error of a stored coordinate of a normal, a little less than the least of 8 bits for the sake of rounding."""
LAST = 65535
"""The largest number of 16 bits."""


def single_plane(array: Array) -> Array:
    """Return a (H, W, 1) array as (H, W), and truth values as 0 and 1; leave others as they are."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    return array.astype(np.uint8) if array.dtype == bool else array


def scale(array: Array, unit: Unit, steps: dict[str, float]) -> Array:
    """Return stored numbers in the unit of a map, float32.

    Args:
        array: numbers.
        unit: a key of `steps`, or the value of one step.
        steps: {unit: stored steps in one unit of the map}.
    """
    numbers = array.astype(np.float32)
    scaled: Array = numbers / steps[unit] if isinstance(unit, str) else numbers * unit
    return scaled.astype(np.float32)


def to_uint16(array: Array, unit: Unit, steps: dict[str, float], what: str) -> Array:
    """Return uint16 numbers that `scale` turns into a map again, to half a unit; those below 0 become 0.

    Raises:
        ValueError: a value beyond the largest number; `what` is for the message.
    """
    numbers = np.rint(array * steps[unit] if isinstance(unit, str) else array.astype(np.float64) / unit)
    if not numbers.max(initial=0) <= LAST:
        raise ValueError(
            f'{what} reaches {array.max():g}, more than 16 bits hold in the unit {unit!r}; write .npy files instead'
        )
    return numbers.clip(0).astype(np.uint16)


def binary_map(array: Array, where: str, unit: Unit | None) -> Array:
    """Return a map of 0 to 1, 255 = ignore, float32, of a stored mask (H, W).

    Whole numbers are labels (0, 1, 255 = ignore) or grey levels, v / 255. Without a unit the numbers tell: 0 and 1
    alone are labels; with others, but no 1 beside 255, they are grey levels.

    Raises:
        ValueError: numbers of more than 8 bits, or with 1 and 255, which may be either.
    """
    if array.ndim != 2 or array.dtype.kind == 'f':
        return array
    if array.dtype.itemsize > 1:
        raise ValueError(
            f'{where}: {array.dtype} instead of one channel of uint8, or floats of 0 to 1; convert the file'
        )
    if unit is None and (array == 1).any() and (array == 255).any():
        raise ValueError(
            f'{where}: 1 beside 255, so the numbers may be labels (255 = ignore) or grey levels; say which in `unit` '
            "of the data set: 'label' or 'grey'"
        )
    if unit == 'label' or (unit is None and array.max() <= 1):
        return array.astype(np.float32)
    return array.astype(np.float32) / 255


def examine_mask(maps: Iterable[Array], zero: str, fix: str, *, zeros_suffice: bool = False) -> str | None:
    """Return what is wrong with all masks of a data set together, or None: all void, or 0 and 255 (ignore) alone.

    Args:
        maps: masks, of which no more are read than needed.
        zero: name of the number 0, for the message.
        fix: advice about masks of 0 and 255.
        zeros_suffice: whether nothing is wrong if the first mask is 0 everywhere.
    """
    found: set[float] = set()
    for array in maps:
        found |= set(np.unique(array).tolist())
        if found - {0, 255} or (zeros_suffice and found == {0}):
            return None
    if found == {0, 255}:
        return f'they hold {zero} and 255 (ignore) alone: a mask 0 / 255, whose 255 would be ignored; {fix}'
    return 'no pixel of them is labelled' if found == {255} else None


def decode_normals(rgb: Array) -> Array:
    """Return unit vectors, (H, W, 3) float32, of uint8 colours v = round((n + 1) / 2 * 255).

    Colours far from unit length become the zero vector, none: data sets use (0, 0, 0) and grey for it.
    """
    vectors = rgb.astype(np.float32) / 127.5 - 1
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    some = np.abs(length - 1) < 0.5
    return np.where(some, vectors / np.where(some, length, 1), 0)


def encode_normals(normals: Array) -> Array:
    """Return the colours, (..., 3) uint8, that `decode_normals` turns into these unit vectors again, to 1/255.

    They are v = round((n + 1) / 2 * 255). Decoding scales vectors to unit length, which moves some by more than that;
    these get the best of the neighbouring colours. The zero vector becomes black.
    """
    colours = np.rint(127.5 * (normals + 1)).clip(0, 255).astype(np.uint8)
    far = np.abs(decode_normals(colours) - normals).max(axis=-1) > ALLOWED
    steps = np.stack(np.meshgrid(*3 * [(-1, 0, 1)]), axis=-1).reshape(-1, 1, 3)
    near = (colours[far].astype(np.int16) + steps).clip(0, 255).astype(np.uint8)
    best = np.abs(decode_normals(near) - normals[far]).max(axis=-1).argmin(axis=0)
    colours[far] = near[best, np.arange(near.shape[1])]
    return np.where(normals.any(axis=-1, keepdims=True), colours, 0).astype(np.uint8)


def check_normal_colours(rgb: Array, where: str) -> None:
    """Refuse colours if most are not unit vectors: a photograph, or classes drawn in colours.

    Black and mid grey, which stand for no normal, do not count.
    """
    length = np.linalg.norm(rgb.astype(np.float32) / 127.5 - 1, axis=-1)
    none = (rgb == 0).all(axis=-1) | (length < 0.1)
    strange = np.count_nonzero((np.abs(length - 1) > 0.1) & ~none)
    if 2 * strange > np.count_nonzero(~none):
        raise ValueError(
            f'{where}: {100 * strange / np.count_nonzero(~none):.0f} % of the colours are not unit vectors, so this is '
            'not a map of normals v = round((n + 1) / 2 * 255); check the folder'
        )
