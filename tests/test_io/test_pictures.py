"""Images of phones, scanners and sensors: read as viewers show them, or refused."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mmmtl.io import read_image, read_raw
from mmmtl.io.headers import ORIENTATION
from mmmtl.io.image_sources import load_image


def turned(path: Path, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)).save(path, exif=exif)
    return path


def test_exif_orientation(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[..., ::-1]
    path = turned(tmp_path / 'phone.png', 6)
    assert np.array_equal(read_image(path), np.rot90(stored, -1))
    assert np.array_equal(read_image(path, orientation='ignore'), stored)
    for refuse in (lambda: read_image(path, orientation='refuse'), lambda: read_raw(path)):
        with pytest.raises(ValueError, match=r'phone\.png: .*EXIF orientation 6'):
            refuse()
    assert np.array_equal(read_image(turned(tmp_path / 'upright.png', 1), orientation='refuse'), stored)


def test_sixteen_bits(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 65535]], np.uint16)
    cv2.imwrite(str(tmp_path / 'deep.png'), deep)
    assert read_image(tmp_path / 'deep.png')[..., 0].tolist() == [[0, 1, 255]]
    for most in (4095, 16383):  # of 12 and of 14 bits
        cv2.imwrite(str(tmp_path / 'thermal.png'), np.array([[3000, most]], np.uint16))
        with pytest.raises(ValueError, match=rf'thermal\.png: 16 bits, but no level above {most}'):
            read_image(tmp_path / 'thermal.png')
    cv2.imwrite(str(tmp_path / 'alpha.png'), np.array([[[0, 257, 65535, 65535]]], np.uint16))
    assert read_image(tmp_path / 'alpha.png').tolist() == [[[0, 1, 255]]]
    cv2.imwrite(str(tmp_path / 'alpha.png'), np.array([[[0, 257, 4095, 65535]]], np.uint16))
    with pytest.raises(ValueError, match=r'alpha\.png: 16 bits, but no level above 4095'):
        read_image(tmp_path / 'alpha.png')
    cv2.imwrite(str(tmp_path / 'float.tif'), np.ones((2, 2), np.float32))
    with pytest.raises(ValueError, match=r'float\.tif: 32 bits of mode F'):
        read_image(tmp_path / 'float.tif')


@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
@pytest.mark.parametrize('options', [dict(quality=95, subsampling=0), dict(quality=60, progressive=True)])
def test_a_jpeg_is_what_opencv_decodes(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 51, 3), np.uint8)).convert(mode)
    picture.save(tmp_path / 'a.jpg', **options)
    assert np.array_equal(read_image(tmp_path / 'a.jpg'), cv2.imread(str(tmp_path / 'a.jpg')))


@pytest.mark.parametrize(('name', 'options'), [('a.jpg', {}), ('a.tif', dict(compression='tiff_lzw'))])
def test_damage_that_opencv_does_not_tell_is_refused(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    path = tmp_path / name
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path, **options)
    whole = path.read_bytes()
    read_image(path)
    refused = silent = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        damaged = bytearray(whole)
        at = int(rng.integers(len(whole) // 3, len(whole) - 600))
        damaged[at : at + 64] = rng.bytes(64)
        path.write_bytes(damaged)
        try:
            with Image.open(path) as image:
                image.load()
        except Exception:
            silent += cv2.imread(str(path)) is not None
            refused += 1
            with pytest.raises(ValueError, match=name.replace('.', r'\.')):
                read_image(path)
    assert refused > 3 and silent, 'the damage tells nothing'


@pytest.mark.parametrize('place', ['eXIf', 'XMP', None])
def test_a_png_is_turned_without_decoding_it_twice(
    tmp_path: Path, place: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks, exif = PngImagePlugin.PngInfo(), Image.Exif()
    exif[ORIENTATION] = 6
    if place == 'XMP':
        chunks.add_itxt('XML:com.adobe.xmp', 'x tiff:Orientation="6"')
    more = dict(exif=exif) if place == 'eXIf' else {}
    Image.new('RGB', (8, 4)).save(tmp_path / 'a.png', pnginfo=chunks, **more)
    loads: list[object] = []
    monkeypatch.setattr(PngImagePlugin.PngImageFile, 'load', lambda image: loads.append(image))

    assert read_image(tmp_path / 'a.png').shape == ((8, 4, 3) if place else (4, 8, 3))
    assert place or not loads


def test_transparent_pixels(tmp_path: Path) -> None:
    rgba = np.full((2, 2, 4), (1, 2, 3, 255), np.uint8)
    Image.fromarray(rgba).save(tmp_path / 'a.png')
    assert (read_image(tmp_path / 'a.png') == (3, 2, 1)).all()
    rgba[0, 0, 3] = 0
    Image.fromarray(rgba).save(tmp_path / 'a.png')
    with pytest.raises(ValueError, match=r'a\.png: some pixels are transparent'):
        read_image(tmp_path / 'a.png')


@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'PA', 'P'])
def test_transparent_pixels_of_pillow(mode: str) -> None:
    image = Image.new('RGBA', (4, 4), (200, 0, 0, 255)).convert(mode)
    if mode == 'P':
        image.info['transparency'] = image.getpixel((0, 0))
    else:
        assert load_image(image).shape == (4, 4, 3)
        image.putalpha(0)
    with pytest.raises(ValueError, match='image_0: some pixels are transparent'):
        load_image(image)


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match=r'http://127\.0\.0\.1:9/a b\.jpg: not an address'):
        load_image('http://127.0.0.1:9/a b.jpg')


def test_a_phone_with_two_views(tmp_path: Path) -> None:
    first, second = (Image.new('RGB', (16, 8), colour) for colour in ((250, 0, 0), (0, 250, 0)))
    first.save(tmp_path / 'a.jpg', 'MPO', save_all=True, append_images=[second])
    image = read_image(tmp_path / 'a.jpg')
    assert image.shape == (8, 16, 3) and image[..., 2].min() > 200 > image[..., 1].max()
    with pytest.raises(ValueError, match=r'a\.jpg: a (MPO|JPEG) file'):
        read_raw(tmp_path / 'a.jpg')


def test_a_flipped_bit_of_a_label_is_found(tmp_path: Path) -> None:
    path = tmp_path / 'a.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 9, (40, 40), dtype=np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r'a\.png: not a readable image'):
        read_raw(path)


def test_a_transparent_level_of_16_bits_is_refused(tmp_path: Path) -> None:
    grey = Image.fromarray(np.full((4, 6), 30_000, np.uint16))
    grey.save(tmp_path / 'a.png')
    assert (read_image(tmp_path / 'a.png') == 30_000 >> 8).all()
    data = (tmp_path / 'a.png').read_bytes()
    chunk = b'tRNS' + (1).to_bytes(2, 'big')
    place = data.index(b'IDAT') - 4
    (tmp_path / 'a.png').write_bytes(
        data[:place] + (2).to_bytes(4, 'big') + chunk + zlib.crc32(chunk).to_bytes(4, 'big') + data[place:]
    )
    with pytest.raises(ValueError, match=r'a\.png: 16 bits of grey with a transparent level'):
        read_image(tmp_path / 'a.png')
