"""Image files, read and written with errors that name the file, and the resizing of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from mmmtl.structures import Array

from .files import read_bytes
from .headers import MAX_IMAGE_BYTES, MAX_PIXELS, bits_of, open_image, orientation_of, unreadable
from .outputs import whole_file

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.ppm', '.pgm', '.tif', '.tiff', '.gif')
UNREAD_SUFFIXES = ('.avif', '.heic', '.heif', '.jp2', '.jxl')
"""Suffixes of images that have no reader here."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""

Orientation = Literal['apply', 'ignore', 'refuse']
"""What to do with an image whose EXIF orientation says that it is not shown as it is stored."""

NO_IMAGE = 'no such image; check data_root and that the data set is complete'
PICTURES = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'RGBX', 'CMYK', 'I;16', 'I;16B', 'I')
"""Modes, as Pillow calls them, of files that hold colours or grey levels."""
DARKEST = 1 << 14
"""A 16-bit image without a level of at least this holds the numbers of a sensor with fewer bits."""
UNCHECKED = ('JPEG', 'MPO', 'TIFF')
"""Formats, as Pillow calls them, whose damaged files OpenCV reads without an error."""


def read_image(path: str | Path, *, orientation: Orientation = 'apply', max_pixels: int = MAX_PIXELS) -> Array:
    """Read an image file as (H, W, 3) uint8 BGR.

    Grey levels and palettes become colours; of 16 bits the upper eight count.

    Args:
        path: the file.
        orientation: 'apply' turns an image as its EXIF orientation says, as viewers do. 'ignore' keeps it as stored.
            'refuse' is for labelled images, whose labels may have been drawn either way.
        max_pixels: refuse a larger image before it is decoded; Pillow refuses more than 179 million pixels.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged or of an unknown format, too large, several images in one file, transparent, numbers that
            are not colours, or turned (`orientation='refuse'`).
    """
    data = read_bytes(path, max_bytes=MAX_IMAGE_BYTES, missing=NO_IMAGE)
    return decode_image(data, path, orientation=orientation, max_pixels=max_pixels)


def decode_image(
    data: bytes, path: str | Path, *, orientation: Orientation = 'apply', max_pixels: int = MAX_PIXELS
) -> Array:
    """Return the image in the bytes of a file, like `read_image`; `path` is its name in messages."""
    image = open_image(data, path, max_pixels=max_pixels)
    turn = orientation_of(image, data)
    if turn != 1 and (orientation == 'refuse' or (orientation == 'ignore' and image.format == 'TIFF')):
        raise ValueError(
            f'{path}: EXIF orientation {turn}, so viewers turn it, and its labels may fit the turned or the stored '
            "image; write the pixels upright (for example with ImageMagick's `mogrify -auto-orient`), or set "
            "orientation='apply' or 'ignore' in the data set"
        )
    colours = _colours(image, data, path)
    # OpenCV turns TIFF files itself.
    return colours if turn == 1 or orientation == 'ignore' or image.format == 'TIFF' else _turn(colours, turn)


def _colours(image: Image.Image, data: bytes, path: str | Path) -> Array:
    """Decode an image as (H, W, 3) uint8 BGR."""
    bits = bits_of(image, data)
    if image.mode not in PICTURES or bits > 16 or (image.mode == 'CMYK' and image.format == 'TIFF'):
        raise ValueError(
            f'{path}: {bits} bits of mode {image.mode} are neither colours nor grey levels; save the image with 8 bits '
            'a channel'
        )
    if bits == 16 and image.mode.startswith('I') and 'transparency' in image.info:
        raise ValueError(f'{path}: 16 bits of grey with a transparent level; save the image with 8 bits a channel')
    if image.mode.endswith('A') or 'transparency' in image.info:
        colours = opaque(_by_pillow(image, 'RGBA', data, path), path)
        if bits <= 8:
            return colours
    if image.format in UNCHECKED:
        stored = _by_pillow(image, image.mode, data, path)
        if image.format != 'TIFF' and image.mode in ('L', 'RGB'):  # the same numbers as OpenCV's
            return cv2.cvtColor(stored, cv2.COLOR_GRAY2BGR if image.mode == 'L' else cv2.COLOR_RGB2BGR)
    raw = decode(data, path, cv2.IMREAD_COLOR if bits <= 8 else cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    if raw.shape[:2] != image.size[::-1] or raw.shape[2:] != (3,):
        raise unreadable(path, data)
    if bits == 16:
        if 0 < raw.max() < DARKEST:
            raise ValueError(
                f'{path}: 16 bits, but no level above {raw.max()}, so the image would be dark; scale it to 8 bits'
            )
        raw = (raw >> 8).astype(np.uint8)
    return raw


def _by_pillow(image: Image.Image, mode: str, data: bytes, path: str | Path) -> Array:
    """Decode with Pillow, which refuses most damage."""
    try:
        return np.asarray(image.convert(mode))
    except Exception as error:  # Pillow raises many types of errors for damaged files
        raise unreadable(path, data) from error


def decode(data: bytes, path: str | Path, flags: int) -> Array:
    """Decode with OpenCV, as stored."""
    try:
        array: Array | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise unreadable(path, data) from error
    if array is None:
        raise unreadable(path, data)
    return array


def opaque(pixels: Array, path: str | Path) -> Array:
    """Return (H, W, 3) BGR of an array RGB or RGBA, all uint8; refuse it if a pixel is not opaque."""
    if pixels[..., 3:].min(initial=255) < 255:
        raise ValueError(f'{path}: some pixels are transparent; lay the image over a background and save it opaque')
    return np.ascontiguousarray(pixels[..., 2::-1])


def _turn(array: Array, orientation: int) -> Array:
    """Return an image as viewers show it, for its EXIF orientation, 2 to 8."""
    if orientation >= 5:
        array = array.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def resize_image(image: Array, size: tuple[int, int]) -> Array:
    """Resize (H, W, 3) uint8 to `size` (height, width): area average if it shrinks, bilinear otherwise."""
    if image.shape[:2] == size:
        return image
    if size[0] < image.shape[0] and size[1] < image.shape[1]:
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    # OpenCV's own rounding of bytes makes an enlarged image darker, by an eighth of a level on average.
    return cv2.convertScaleAbs(cv2.resize(image.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR))


def write_png(path: Path, array: Array) -> None:
    """Write one or three (BGR) channels of uint8 or uint16: an image, labels or depth. Create the folder."""
    _write(path, array, '.png')


def write_jpeg(path: Path, array: Array) -> None:
    """Write (H, W, 3) uint8 BGR with a quality of 95, at which hardly anything is lost. Create the folder."""
    _write(path, array, '.jpg', (cv2.IMWRITE_JPEG_QUALITY, 95))


def _write(path: Path, array: Array, kind: str, options: Sequence[int] = ()) -> None:
    # OpenCV's own writer says nothing of a full disk.
    encoded, data = cv2.imencode(kind, np.ascontiguousarray(array), options)
    if not encoded:
        raise ValueError(f'{path}: OpenCV cannot make such a file of {array.dtype} {array.shape}')
    with whole_file(path) as partial:
        try:
            partial.write_bytes(data.tobytes())
        except OSError as error:
            raise OSError(error.errno, f'{error.strerror}; check the free space and the folder', str(path)) from error
