"""Reading picture and map files, with errors that name the file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.ppm')


def read_picture(path: str | Path, flags: int = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) -> np.ndarray:
    """A decoded image file: by default (H, W, 3) uint8 BGR.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no readable image.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except FileNotFoundError:
        raise FileNotFoundError(f'{path}: no such image; check data_root and that the data set is complete') from None
    image = cv2.imdecode(data, flags) if len(data) else None
    if image is None:
        raise ValueError(f'{path}: not a readable image ({len(data)} bytes); copy or convert the file again')
    return image


def read_raw(path: str | Path) -> np.ndarray:
    """An image file as it is: any depth and number of channels; colours in RGB order."""
    array = read_picture(path, cv2.IMREAD_UNCHANGED)
    return array if array.ndim == 2 else np.ascontiguousarray(array[..., 2::-1])


def decode_normals(rgb: np.ndarray) -> np.ndarray:
    """Unit vectors (H, W, 3) float32 of uint8 colours v = round((n + 1) / 2 * 255); (0, 0, 0) = none."""
    normals = rgb.astype(np.float32) / 127.5 - 1
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[~rgb.any(axis=-1)] = 0
    return normals
