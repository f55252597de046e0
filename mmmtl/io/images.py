"""Reading and writing image files, with errors that name the file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.ppm')
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


def read_image(path: str | Path, flags: int = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) -> np.ndarray:
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
    """An image file as it is: any depth and number of channels, colours in RGB order; with a palette, the indices."""
    array = read_image(path, cv2.IMREAD_UNCHANGED)
    if array.ndim == 2:
        return array
    if _has_palette(path):
        return _read_indices(path)
    return np.ascontiguousarray(array[..., 2::-1])


def _has_palette(path: str | Path) -> bool:
    """Whether a file is a PNG of colour type 3, which stands in its first chunk."""
    with Path(path).open('rb') as file:
        header = file.read(26)
    return header[:4] == b'\x89PNG' and header[25:] == b'\x03'


def _read_indices(path: str | Path) -> np.ndarray:
    """The indices of an image with a palette, of which OpenCV gives the colours alone."""
    from PIL import Image

    with Image.open(path) as image:
        return np.array(image)


def write_png(path: Path, array: np.ndarray) -> None:
    """Write an image in BGR, labels, or depth: one or three channels of uint8 or uint16. Makes the folder.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.ascontiguousarray(array)):
        raise OSError(f'{path}: could not be written; check the free space and the rights of the folder')
