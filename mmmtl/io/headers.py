"""The header of an image file: what must hold before its pixels are decoded."""

from __future__ import annotations

import io
import re
from pathlib import Path

from PIL import Image

MAX_IMAGE_BYTES = 1 << 30
"""The limit of image files, in bytes."""
MAX_HEADER = 1 << 16
"""The limit of the header of a PGM or PPM file with its comments, in bytes."""
MAX_PIXELS = 1 << 26
"""The default limit of images, 67 million pixels: decoding takes up to 1.2 GB, of 16 bits a channel."""

FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')
"""The formats that are tried, as Pillow calls them."""

MAX_SCANS = 100
"""The most scans of a progressive JPEG, which has about ten; each takes the time of a whole image."""

ORIENTATION = 0x0112
PNG_METADATA = (b'eXIf', b'Raw profile type', b'adobe.xmp')
"""Names of the parts of a PNG file that can hold an orientation."""

BITS_PER_SAMPLE, PHOTOMETRIC, TILE_WIDTH, TILE_LENGTH = 258, 262, 322, 323


def open_image(data: bytes, path: str | Path, *, max_pixels: int) -> Image.Image:
    """Return an image whose header has been read, and whose pixels have not.

    Raises:
        ValueError: not an image of `FORMATS`, too large, several images in one file, or grey levels that readers
            understand differently: PGM and PPM files that do not fill their bits, TIFF files in which white is zero.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        pixels = image.width * image.height
        if image.format == 'PNG':
            if data[12:16] != b'IHDR':
                raise ValueError('the header is not the first part')
            # Decoders may trust the length of a part, and Pillow's compares no checksums.
            Image.open(io.BytesIO(data), formats=('PNG',)).verify()
        if image.format == 'TIFF' and _stored_pixels(image) < pixels:
            raise ValueError('some rows are missing')
        if tile := getattr(image, 'tag_v2', {}).get(TILE_WIDTH):
            pixels = max(pixels, tile * image.tag_v2.get(TILE_LENGTH, 1))  # type: ignore[attr-defined]
        # A JPEG of a phone may hold further views, which Pillow calls MPO: the first is the image.
        frames = 1 if image.format == 'MPO' else getattr(image, 'n_frames', 1)
    except Image.DecompressionBombError as error:
        raise ValueError(f'{path}: {error}; resize the image') from None
    except Exception as error:  # Pillow raises many types of errors for damaged files
        raise unreadable(path, data) from error
    if pixels > max_pixels:
        raise ValueError(
            f'{path}: {image.width} x {image.height} pixels in the header, more than the limit of {max_pixels}; check '
            'the file and resize the image, or raise max_pixels'
        )
    if getattr(image, 'tag_v2', {}).get(PHOTOMETRIC) == 0:
        raise ValueError(f'{path}: a TIFF file in which white is zero, which some readers invert; save it as PNG')
    if frames != 1:
        raise ValueError(f'{path}: {frames} images in one file; save the one that is meant, or a video')
    if image.format in ('JPEG', 'MPO') and (scans := data.count(b'\xff\xda')) > MAX_SCANS:
        raise ValueError(f'{path}: a JPEG of {scans} scans, more than {MAX_SCANS}; save it again')
    if image.format == 'PPM' and (highest := _highest_level(data)) not in (b'255', b'65535'):
        raise ValueError(
            f'{path}: the highest grey level in the header is {highest.decode("ascii", "replace")}, but only images '
            'with 255 or 65535 are read right; save it as PNG'
        )
    return image


def unreadable(path: str | Path, data: bytes) -> ValueError:
    """Return the error of an image that cannot be decoded."""
    if not data:
        return ValueError(f'{path}: not a readable image (0 bytes), the file is empty; copy or convert the file again')
    return ValueError(f'{path}: not a readable image ({len(data)} bytes); copy or convert the file again')


def orientation_of(image: Image.Image, data: bytes) -> int:
    """Return the EXIF orientation, 1 (upright as stored) to 8."""
    if image.format == 'PNG' and not any(name in data for name in PNG_METADATA):
        return 1  # without it Pillow would decode all pixels to look behind them
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged metadata, which says nothing about the pixels
        return 1
    return found if found in range(1, 9) else 1


def bits_of(image: Image.Image, data: bytes) -> int:
    """Return the bits of a channel in the file, which Pillow may change in memory."""
    if image.format == 'PNG':
        return data[24]
    if image.format == 'TIFF':
        return int(max(image.tag_v2.get(BITS_PER_SAMPLE, (1,))))  # type: ignore[attr-defined]
    if image.mode == '1':
        return 1
    return 16 if image.mode.startswith('I') else 8


def _stored_pixels(image: Image.Image) -> int:
    """Return how many pixels the strips or tiles of a TIFF file have together."""
    boxes = [part[1] for part in image.tile if part[1] is not None]  # type: ignore[attr-defined]
    return sum(int((right - left) * (lower - upper)) for left, upper, right, lower in boxes)


def _highest_level(data: bytes) -> bytes:
    """Return the highest grey level as the header of a PGM or PPM file has it; '1' for PBM, 'missing' for none."""
    fields = re.sub(rb'#[^\r\n]*', b' ', data[:MAX_HEADER]).split(maxsplit=4)
    if fields[0] in (b'P1', b'P4'):
        return b'1'
    return fields[3][:10] if len(fields) > 3 else b'missing'
