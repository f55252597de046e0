"""Label files: the numbers that an image file stores, exactly."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from mmmtl.structures import Array

from .files import read_bytes
from .headers import MAX_IMAGE_BYTES, MAX_PIXELS, bits_of, open_image, orientation_of, unreadable
from .images import NO_IMAGE, decode

EXACT = ('BMP', 'PNG', 'PPM', 'TIFF')
"""The formats, as Pillow calls them, that keep every number: JPEG and WebP change them, GIF renumbers palettes."""
LOSSY_TIFF = ('jpeg', 'tiff_jpeg', 'webp', 'jpeg2000')
SIGNED = 2
"""The sample format of signed integers in TIFF files."""
LABELS = ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I', 'I;16', 'I;16B', 'F')
"""Modes, as Pillow calls them, whose numbers can be read exactly."""


def read_raw(path: str | Path, *, lossy: bool = False, max_pixels: int = MAX_PIXELS) -> Array:
    """Read the numbers that an image file stores: (H, W), or (H, W, 3) in RGB order.

    Pixels of one bit are 0 and 1, those of two and four bits 0 to 3 and 15, and those of a palette are its indices. The
    type is uint8, uint16, int32 or float32.

    Args:
        path: the file.
        lossy: also read JPEG and WebP, for data sets that are published so.
        max_pixels: refuse a larger image before it is decoded.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged or of an unknown format, too large, lossy, turned by EXIF, transparent, or numbers that can
            be understood in two ways.
    """
    data = read_bytes(path, max_bytes=MAX_IMAGE_BYTES, missing=NO_IMAGE)
    image = open_image(data, path, max_pixels=max_pixels)
    bits = bits_of(image, data)
    _check_format(image, bits, data, path, lossy=lossy)
    try:
        if image.mode == 'RGB' and bits == 16:
            array = decode(data, path, cv2.IMREAD_UNCHANGED)[..., ::-1]
        else:
            array = np.array(image)
    except Exception as error:  # Pillow raises many types of errors for damaged files
        raise unreadable(path, data) from error
    if image.mode.endswith('A'):
        array = _without_alpha(array, path)
    if image.mode == 'P':
        _check_palette(image, array, path)
    elif bits in (2, 4):
        array = array // (255 // (2**bits - 1))  # Pillow stretches them to 0..255
    if array.dtype.kind in 'bi' and bits <= 16 and array.min(initial=0) >= 0:  # a TIFF file may have signs
        array = array.astype(np.uint8 if bits <= 8 else np.uint16)
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder('='), copy=False))


def _check_format(image: Image.Image, bits: int, data: bytes, path: str | Path, *, lossy: bool) -> None:
    """Refuse files that do not say for certain which numbers were meant."""
    fix = 'save labels as PNG, TIFF or .npy, from the originals'
    if image.format not in EXACT and not (lossy and image.format in ('JPEG', 'MPO', 'WEBP')):
        reason = 'renumbers colours' if image.format == 'GIF' else 'may change every number'
        raise ValueError(f'{path}: a {image.format} file, which {reason}; {fix}')
    if image.mode not in LABELS or (image.mode.endswith('A') and bits > 8):
        raise ValueError(f'{path}: {bits} bits of mode {image.mode} are not a label; save it as one channel or as RGB')
    if image.format == 'TIFF':
        if image.info.get('compression') in LOSSY_TIFF:
            raise ValueError(f'{path}: {image.info["compression"]} compression, which changes numbers; {fix}')
        if bits in (2, 4):
            raise ValueError(f'{path}: a TIFF file of fewer than 8 bits; {fix}')
        if bits == 8 and SIGNED in np.atleast_1d(image.getexif().get(TiffImagePlugin.SAMPLEFORMAT, 0)):
            raise ValueError(f'{path}: a TIFF file of signed numbers of 8 bits, whose signs would be lost; {fix}')
    if (turn := orientation_of(image, data)) != 1:
        raise ValueError(f'{path}: a label with EXIF orientation {turn}; write the pixels upright and remove the tag')


def _without_alpha(array: Array, path: str | Path) -> Array:
    """Return the channels of a label without its last one, which must be opaque."""
    if array[..., -1].min() < 255:
        raise ValueError(f'{path}: a label with transparent pixels; save it without an alpha channel')
    return array[..., 0] if array.shape[2] == 2 else array[..., :3]


def _check_palette(image: Image.Image, indices: Array, path: str | Path) -> None:
    """Refuse greys that are not their indices, if the palette has no colours or only black and white are used.

    Either may be the label: programs that shrink PNG files make such palettes of grey levels. Black and white may stand
    for 0 and 1.
    """
    palette = np.array(image.getpalette('RGB') or [], dtype=np.uint8).reshape(-1, 3)
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    if used[-1] >= len(palette):
        raise ValueError(f'{path}: index {used[-1]} of a palette with {len(palette)} colours; save the label again')
    colours = palette[used]
    greys = colours[:, 0]
    in_colour = (colours != colours[:, :1]).any()
    among_colours = (palette != palette[:, :1]).any() and not np.isin(greys, (0, 255)).all()
    black_and_white = used[-1] <= 1 and (greys == 255 * used.astype(int)).all()
    if in_colour or among_colours or (greys == used).all() or black_and_white:
        return
    wrong = int(np.flatnonzero(greys != used)[0])
    raise ValueError(
        f'{path}: index {used[wrong]} of its palette is grey level {greys[wrong]}, and either may be the label; save '
        'it as one channel of 8 bits'
    )
