"""Images and labels in every encoding that users bring, with the arrays that are right."""

from __future__ import annotations

import io
from typing import NamedTuple

import cv2
import numpy as np
from hypothesis import strategies as st
from PIL import Image

from .png import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, chunk, encode_png


class Encoded(NamedTuple):
    """A file, and what it means: the stored numbers, and the colours (BGR) that viewers show; None if undefined."""

    name: str
    data: bytes
    stored: np.ndarray | None
    shown: np.ndarray | None
    tolerance: int = 0


SIZES = st.tuples(st.integers(1, 19), st.integers(1, 23))
COMPRESSIONS = ('raw', 'tiff_lzw', 'tiff_adobe_deflate', 'packbits')


def bgr(array: np.ndarray) -> np.ndarray:
    """Grey levels or RGB, uint8, as BGR."""
    return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array[..., ::-1]


def save(array: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@st.composite
def png_files(draw: st.DrawFn) -> Encoded:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size, interlaced = draw(SIZES), draw(st.booleans())
    colour, bits = draw(
        st.sampled_from(
            [(GREY, b) for b in (1, 2, 4, 8, 16)]
            + [(PALETTE, b) for b in (1, 2, 4, 8)]
            + [(kind, b) for kind in (RGB, GREY_ALPHA, RGBA) for b in (8, 16)]
        )
    )
    channels = {GREY: (), PALETTE: (), RGB: (3,), GREY_ALPHA: (2,), RGBA: (4,)}[colour]
    highest, extra = 2**bits, b''
    if colour == PALETTE:
        highest = int(rng.integers(1, 2**bits + 1))
        palette = rng.integers(0, 256, (highest, 3), dtype=np.uint8)
        extra = chunk(b'PLTE', palette.tobytes())
        if draw(st.booleans()):
            extra += chunk(b'tRNS', bytes([255] * int(rng.integers(1, highest + 1))))
    array = rng.integers(0, highest, (*size, *channels)).astype(np.uint16 if bits == 16 else np.uint8)
    stored: np.ndarray | None = array
    if colour in (GREY_ALPHA, RGBA):
        opaque = draw(st.booleans())
        if opaque:
            array[..., -1] = 2**bits - 1
        values = array[..., 0] if colour == GREY_ALPHA else array[..., :3]
        seen = array[..., -1].min() == 2**bits - 1
        stored, array_shown = (values if bits == 8 else None, values) if seen else (None, None)
    else:
        array_shown = palette[array] if colour == PALETTE else array
    shown = None if array_shown is None else bgr(_levels(array_shown, 8 if colour == PALETTE else bits))
    data = encode_png(array, colour=colour, bits=bits, interlaced=interlaced, extra=extra)
    return Encoded(f'colour{colour}_{bits}.png', data, stored, shown)


def _levels(array: np.ndarray, bits: int) -> np.ndarray:
    """Numbers of some bits as levels of eight."""
    return (array >> 8 if bits == 16 else array * (255 // (2**bits - 1))).astype(np.uint8)


@st.composite
def grey_palettes(draw: st.DrawFn) -> Encoded:
    """What optimisers make of grey levels: either index or level may be the label."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(1, 16))
    levels = np.sort(rng.choice(256, count, replace=False)).astype(np.uint8)
    if draw(st.booleans()):
        levels = np.arange(count, dtype=np.uint8)
    array = rng.integers(0, count, draw(SIZES)).astype(np.uint8)
    extra = chunk(b'PLTE', np.repeat(levels[:, None], 3, axis=1).tobytes())
    same = (levels[array] == array).all()
    data = encode_png(array, colour=PALETTE, bits=8, extra=extra)
    return Encoded('grey_palette.png', data, array if same else None, bgr(levels[array]))


@st.composite
def lossless_files(draw: st.DrawFn) -> Encoded:
    """TIFF, BMP and PPM."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(SIZES)
    kind = draw(st.sampled_from(['TIFF', 'BMP', 'PPM']))
    modes = dict(TIFF=['1', 'L', 'P', 'RGB', 'RGBA', 'LA', 'I;16', 'I', 'F'], BMP=['1', 'L', 'P', 'RGB'])
    mode = draw(st.sampled_from(modes.get(kind, ['L', 'RGB', 'I;16'])))
    options = {'compression': draw(st.sampled_from(COMPRESSIONS))} if kind == 'TIFF' else {}
    array = rng.integers(0, 256, (*size, *{'RGB': (3,), 'RGBA': (4,), 'LA': (2,)}.get(mode, ())), dtype=np.uint8)
    stored, shown = array, None
    if mode == '1':
        stored = array % 2
        data = save(stored.astype(bool), kind, **options)
        shown = bgr(255 * stored)
    elif mode == 'P':
        palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
        image = Image.fromarray(array).convert('P')
        image.putpalette(palette.tobytes())
        data, shown = save(image, kind, **options), bgr(palette[array])
    elif mode in ('RGBA', 'LA'):
        array[..., -1] = 255
        stored = array[..., 0] if mode == 'LA' else array[..., :3]
        data, shown = save(array, kind, **options), bgr(stored)
    elif mode in ('I;16', 'I', 'F'):
        kinds = {'I;16': np.uint16, 'I': np.int32, 'F': np.float32}
        stored = rng.integers(0, 65536, size).astype(kinds[mode])
        stored.flat[0] = 60000
        data = save(stored, kind, **options)
        shown = bgr((stored >> 8).astype(np.uint8)) if mode == 'I;16' else None
    else:
        data, shown = save(array, kind, **options), bgr(array)
    return Encoded(f'{mode.replace(";", "")}.{kind.lower()}', data, stored, shown)


@st.composite
def other_files(draw: st.DrawFn) -> Encoded:
    """JPEG, WebP and GIF, which may change numbers; deep colours of OpenCV; several images in one file."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(SIZES)
    smooth = np.add.outer(np.arange(size[0]) * 3, np.arange(size[1]) * 2)[..., None] + rng.integers(0, 120, 3)
    array = smooth.astype(np.uint8)
    kind = draw(st.sampled_from(['jpeg', 'grey jpeg', 'webp', 'lossy webp', 'gif', 'deep', 'several', 'inverted']))
    if kind.endswith('jpeg'):
        grey = kind.startswith('grey')
        shown = array[..., 0] if grey else array
        data = save(shown, 'JPEG', quality=100, subsampling=0, progressive=draw(st.booleans()))
        return Encoded('photo.jpg', data, None, bgr(shown), tolerance=6)
    if kind.endswith('webp'):
        exact = kind == 'webp'
        data = save(array, 'WEBP', lossless=exact, quality=100)
        return Encoded('photo.webp', data, None, bgr(array), tolerance=0 if exact else 25)
    if kind == 'gif':
        palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
        image = Image.fromarray(array[..., 0]).convert('P')
        image.putpalette(palette.tobytes())
        return Encoded('drawing.gif', save(image, 'GIF'), None, bgr(palette[array[..., 0]]))
    if kind == 'deep':
        deep = rng.integers(5000, 65536, (*size, 3), dtype=np.uint16)
        suffix = draw(st.sampled_from(['.png', '.tiff']))
        data = cv2.imencode(suffix, deep[..., ::-1])[1].tobytes()
        return Encoded(f'deep{suffix}', data, deep, (deep[..., ::-1] >> 8).astype(np.uint8))
    if kind == 'several':
        form = draw(st.sampled_from(['GIF', 'TIFF', 'WEBP', 'PNG']))
        images = [Image.fromarray(np.full((4, 4, 3), 50 * i, np.uint8)) for i in range(3)]
        data = save(images[0], form, save_all=True, append_images=images[1:])
        return Encoded(f'several.{form.lower()}', data, None, None)
    data = save(array[..., 0], 'TIFF', tiffinfo={262: 0})
    return Encoded('white_is_zero.tif', data, None, None)


@st.composite
def turned_files(draw: st.DrawFn) -> Encoded:
    """Images with an EXIF orientation."""
    orientation = draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    array = rng.integers(0, 256, (*draw(SIZES), 3), dtype=np.uint8)
    kind = draw(st.sampled_from(['PNG', 'WEBP', 'TIFF']))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = save(array, kind, exif=exif, **({'lossless': True} if kind == 'WEBP' else {}))
    turns = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: np.rot90,
    }
    stored = array if orientation == 1 and kind != 'WEBP' else None
    return Encoded(f'turned{orientation}.{kind.lower()}', data, stored, bgr(turns[orientation](array)))


FILES = st.one_of(
    png_files(), png_files(), grey_palettes(), lossless_files(), lossless_files(), other_files(), turned_files()
)
