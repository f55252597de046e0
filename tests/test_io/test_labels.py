"""Label files whose numbers are easily misread."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmmtl.io.labels import read_raw

VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128, 0, 128, 128, 128, 128, 128]
"""The colours of PASCAL VOC's first eight classes; that of class 7 is grey."""


@pytest.mark.parametrize('classes', [(0, 7), (7, 7), (0, 1)])
def test_a_coloured_palette_of_which_greys_are_used(tmp_path: Path, classes: tuple[int, int]) -> None:
    labels = np.array([classes, classes], dtype=np.uint8)
    image = Image.fromarray(labels, mode='P')
    image.putpalette(VOC)
    image.save(tmp_path / 'car.png')
    assert np.array_equal(read_raw(tmp_path / 'car.png'), labels)


def test_a_palette_of_other_greys_is_refused(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), mode='P')
    image.putpalette([0, 0, 0, 80, 80, 80, 255, 255, 255])
    image.save(tmp_path / 'small.png')
    with pytest.raises(ValueError, match='index 1 of its palette is grey level 80'):
        read_raw(tmp_path / 'small.png')


def test_black_and_white_among_colours_are_refused(tmp_path: Path) -> None:
    """Pillow makes such a file of a mask that is stored in colour."""
    mask = np.zeros((4, 6, 3), np.uint8)
    mask[:2] = 255
    Image.fromarray(mask).convert('P').save(tmp_path / 'mask.png')
    with pytest.raises(ValueError, match='is grey level 255'):
        read_raw(tmp_path / 'mask.png')


def test_numbers_of_sixteen_bits(tmp_path: Path) -> None:
    colours = np.array([[[1, 300, 65535], [256, 2, 3]]], dtype=np.uint16)
    cv2.imwrite(str(tmp_path / 'panoptic.png'), colours[..., ::-1])
    assert np.array_equal(read_raw(tmp_path / 'panoptic.png'), colours)


@pytest.mark.parametrize(
    ('bits', 'row', 'numbers'),
    [(1, b'\x50', [0, 1, 0, 1]), (2, b'\x1b', [0, 1, 2, 3]), (4, b'\x01\x9f', [0, 1, 9, 15])],
)
def test_numbers_of_few_bits(tmp_path: Path, bits: int, row: bytes, numbers: list[int]) -> None:
    header = struct.pack('>IIBBBBB', 4, 1, bits, 0, 0, 0, 0)
    parts = b'IHDR' + header, b'IDAT' + zlib.compress(b'\0' + row), b'IEND'
    chunks = (struct.pack('>I', len(part) - 4) + part + struct.pack('>I', zlib.crc32(part)) for part in parts)
    (tmp_path / 'classes.png').write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(chunks))
    found = read_raw(tmp_path / 'classes.png')
    assert found.tolist() == [numbers] and found.dtype == np.uint8


def test_numbers_with_signs(tmp_path: Path) -> None:
    for numbers in ([[-1, 0], [1500, -9999]], [[7, 0], [1500, 2]]):
        cv2.imwrite(str(tmp_path / 'depth.tif'), np.array(numbers, dtype=np.int16))
        assert read_raw(tmp_path / 'depth.tif').tolist() == numbers
    cv2.imwrite(str(tmp_path / 'labels.tif'), np.array([[-1, 3]], dtype=np.int8))
    with pytest.raises(ValueError, match='signed numbers of 8 bits'):
        read_raw(tmp_path / 'labels.tif')
