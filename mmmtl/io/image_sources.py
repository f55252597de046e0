"""Images as users give them: files, folders, patterns, URLs, arrays and Pillow's images."""

from __future__ import annotations

import glob
import http.client
import os
import urllib.request
import warnings
from collections.abc import Iterable, Iterator
from multiprocessing import TimeoutError as NotReady
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

import numpy as np
from PIL import Image, ImageOps

from mmmtl.structures import Array

from .files import is_foreign
from .images import IMAGE_SUFFIXES, decode_image, opaque, read_image
from .source_names import NUMBERED, is_address, source_name, without_user

ImageSource = str | Path | Array | Image.Image
"""A file, an http URL, (H, W, 3) uint8 BGR, or a PIL image."""

MAX_DOWNLOAD = 1 << 26
"""The most bytes that are downloaded from a URL."""

TIMEOUT = 30.0
"""Seconds to wait for a server that says nothing."""

MAX_SECONDS = 120.0
"""The most seconds that a download may take."""

PIL_MODES = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'RGBX', 'CMYK', 'YCbCr', 'HSV', 'LAB')
"""PIL modes with 8 bits or fewer, which Pillow converts to RGB without loss of range."""


class FoundImages(NamedTuple):
    """The images of a folder or a pattern, sorted, and the other files there, which are left out."""

    images: list[Path]
    others: list[Path]


def is_one_image(images: object) -> bool:
    """Return whether this is one image, and not a folder, a pattern or several images."""
    if isinstance(images, (str, Path)):
        return is_url(images) or not (os.path.isdir(images) or _is_pattern(images))
    return isinstance(images, (np.ndarray, Image.Image))


def is_url(source: object) -> bool:
    """Return whether this is the address of an image on a server."""
    return isinstance(source, str) and source.lower().startswith(('http://', 'https://'))


def is_image_name(source: str) -> bool:
    """Return whether a name is that of an image, and not of a video, a stream or numbered images.

    An address that is not http is a stream, whatever its suffix.
    """
    if is_url(source):
        return Path(urlparse(source).path).suffix.lower() in IMAGE_SUFFIXES
    if not os.path.exists(source) and (is_address(source) or NUMBERED.search(source)):
        return False
    return Path(source).suffix.lower() in IMAGE_SUFFIXES


def find_images(source: str | Path) -> FoundImages:
    """Return the images of a folder, or those that match a pattern such as 'photos/**/*.jpg'.

    Hidden files do not count. A warning says how many images are in the subfolders of a folder, which are not read.

    Raises:
        ValueError: no image there.
    """
    paths = map(Path, glob.glob(str(source), recursive=True)) if _is_pattern(source) else Path(source).iterdir()
    found = FoundImages([], [])
    for path in sorted(path for path in paths if path.is_file() and not is_foreign(path)):
        (found.images if path.suffix.lower() in IMAGE_SUFFIXES else found.others).append(path)
    below = 0 if _is_pattern(source) else _count_below(source)
    hint = f"images in subfolders: {below}; to read them, give '{glob.escape(str(source))}/**/*'"
    if not found.images:
        fix = hint if below else f'images are files {", ".join(IMAGE_SUFFIXES)}; name videos one by one'
        raise ValueError(f'{source_name(source)}: no image there; {fix}')
    if below:
        warnings.warn(f'{source}: {hint}', stacklevel=2)
    return found


def _count_below(folder: str | Path) -> int:
    """Return how many images are in the subfolders of a folder, at any depth; links are not followed."""
    count = 0
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_foreign(Path(name))]
        if Path(place) != Path(folder):
            count += sum(Path(name).suffix.lower() in IMAGE_SUFFIXES and not is_foreign(Path(name)) for name in names)
    return count


def list_images(images: ImageSource | Iterable[ImageSource]) -> Iterator[ImageSource]:
    """Yield every image of a source, or of each of several: a folder and a pattern stand for all their images."""
    if is_one_image(images):
        yield images  # type: ignore[misc]
    elif isinstance(images, (str, Path)):
        yield from find_images(images).images
    elif not isinstance(images, Iterable) or isinstance(images, (bytes, dict)):
        raise ValueError(f'images must be files, URLs, arrays or PIL images, not {type(images).__name__}')
    else:
        for image in images:
            yield from list_images(image) if isinstance(image, (str, Path)) else [image]


def name_image(source: object, number: int) -> str:
    """Return the name of an image for messages and outputs: as `source_name` has it, or 'image_<number>'."""
    if isinstance(source, (str, Path)):
        return source_name(source)
    return str(getattr(source, 'filename', '') or f'image_{number}')


def load_image(source: ImageSource) -> Array:
    """Return an image as (H, W, 3) uint8 BGR, turned upright if the file says how.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a source of another kind, an address that is not http, an unreadable image, or an array
            of another shape or type.
    """
    if isinstance(source, np.ndarray):
        return check_image(source)
    if isinstance(source, Image.Image):
        return _from_pillow(source)
    if is_url(source):
        return _download(str(source))
    if not isinstance(source, (str, Path)) or not str(source):
        found = repr(source) if isinstance(source, str) else type(source).__name__
        raise ValueError(f'an image must be a file, a URL, an array or a PIL image, not {found}')
    name = source_name(source)
    if is_address(str(source)) and not os.path.exists(source):
        raise ValueError(f'{name}: an address that is not http:// or https://; download the image and give the file')
    try:
        return read_image(source)
    except FileNotFoundError:
        raise FileNotFoundError(f'{name}: no such image') from None
    except OSError as error:
        raise ValueError(f'{name}: cannot be read ({error.strerror})') from error


def check_image(array: Array) -> Array:
    """Return an array (H, W, 3) uint8 BGR in plain memory; refuse other arrays with the fix."""
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size:
        return np.ascontiguousarray(array)
    if not array.size:
        fix = 'it has no pixels'
    elif array.dtype.kind == 'f':
        fix = 'for values from 0 to 1: (array * 255).round().astype(np.uint8)'
    elif array.dtype == np.uint16:
        fix = 'for 16 bits: (array // 257).astype(np.uint8)'
    elif array.dtype != np.uint8:
        fix = 'convert the values to uint8, 0 to 255'
    elif array.ndim == 2 or array.shape[2:] == (1,):
        fix = 'for grey: cv2.cvtColor(array, cv2.COLOR_GRAY2BGR)'
    elif array.ndim == 3 and array.shape[2] == 4:
        fix = 'for an alpha channel: array[..., :3]'
    elif array.ndim == 3 and array.shape[0] == 3:
        fix = 'for channels first: array.transpose(1, 2, 0)'
    else:
        fix = 'give several images as a list'
    raise ValueError(f'an image must be (H, W, 3) uint8 BGR, not {array.shape} {array.dtype}; {fix}')


def _from_pillow(image: Image.Image) -> Array:
    name = name_image(image, 0)
    if image.mode not in PIL_MODES:
        raise ValueError(f'{name}: PIL mode {image.mode} has no range of colours; convert it to RGB first')
    if not image.width * image.height:
        raise ValueError(f'{name}: an image of {image.width}x{image.height} pixels')
    try:
        image.load()
        pixels = np.asarray(_turned(image).convert('RGBA' if image.has_transparency_data else 'RGB'))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f'{name}: not a readable image ({error}); copy or convert the file again') from error
    return opaque(pixels, name)


def _turned(image: Image.Image) -> Image.Image:
    """Return the image upright; a damaged orientation counts as none, as in viewers."""
    try:
        return ImageOps.exif_transpose(image) or image
    except Exception:  # Pillow raises many types of errors for damaged EXIF data
        return image


def _download(url: str) -> Array:
    """Return the image behind a URL."""
    name = source_name(url)
    if without_user(url) != url:
        raise ValueError(f'{name}: the URL contains a user name or password; download the image and give the file')
    try:
        # In a thread: a server can send every part of its answer, the headers too, byte by byte.
        with ThreadPool(1) as pool:
            content = pool.apply_async(_read_url, [url]).get(MAX_SECONDS)
    except NotReady:
        raise ValueError(
            f'{name}: download did not finish within {MAX_SECONDS:g} s; download it and give the file'
        ) from None
    except http.client.InvalidURL:
        # Its message has parts of the address.
        raise ValueError(f'{name}: not an address; characters such as spaces are written as %20') from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ValueError(f'{name}: cannot be downloaded ({error})') from error
    if len(content) > MAX_DOWNLOAD:
        raise ValueError(f'{name}: more than {MAX_DOWNLOAD} bytes; download it and give the file')
    return decode_image(content, name)


def _read_url(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
        content: bytes = answer.read(MAX_DOWNLOAD + 1)
    return content


def _is_pattern(source: str | Path) -> bool:
    """Return whether a name has wildcards and is not itself a file."""
    text = str(source)
    return glob.has_magic(text) and not is_address(text) and not os.path.exists(text)
