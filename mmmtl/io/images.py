"""Image files, read and written with errors that name the file, and the resizing of images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mmmtl.structures import Array

from .outputs import whole_file

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.ppm')
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


def read_image(path: str | Path, flags: int = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) -> Array:
    """Read and decode an image file, by default as (H, W, 3) uint8 BGR."""
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except FileNotFoundError:
        raise FileNotFoundError(f'{path}: no such image; check data_root and that the data set is complete') from None
    image = cv2.imdecode(data, flags) if len(data) else None
    if image is None:
        raise ValueError(f'{path}: not a readable image ({len(data)} bytes); copy or convert the file again')
    return image


def read_raw(path: str | Path) -> Array:
    """Read an image file without conversion: any bit depth and channels, RGB order, and the indices of a palette."""
    array = read_image(path, cv2.IMREAD_UNCHANGED)
    if array.ndim == 2:
        return array
    if _has_palette(path):
        return _read_indices(path)
    return np.ascontiguousarray(array[..., 2::-1])


def _has_palette(path: str | Path) -> bool:
    """Return whether a file is a PNG with colour type 3 in its header."""
    with Path(path).open('rb') as file:
        header = file.read(26)
    return header[:4] == b'\x89PNG' and header[25:] == b'\x03'


def _read_indices(path: str | Path) -> Array:
    """Read the indices of an image with a palette; OpenCV would return the colours."""
    from PIL import Image

    with Image.open(path) as image:
        return np.array(image)


def resize_image(image: Array, size: tuple[int, int]) -> Array:
    """Resize (H, W, 3) to `size` (height, width): area average if it shrinks, bilinear otherwise."""
    if image.shape[:2] == size:
        return image
    shrinks = size[0] < image.shape[0] and size[1] < image.shape[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def write_png(path: Path, array: Array) -> None:
    """Write one or three (BGR) channels of uint8 or uint16: an image, labels or depth. Create the folder."""
    with whole_file(path) as partial:
        if not cv2.imwrite(str(partial), np.ascontiguousarray(array)):
            raise OSError(f'{path}: could not be written; check the free space and the permissions of the folder')
