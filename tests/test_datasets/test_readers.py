"""Reading files: what arrives, and errors that name the file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmmtl.datasets.readers import (
    check_signs,
    labels_of_colours,
    list_video,
    listed_files,
    read_names,
    unit_normals,
)
from mmmtl.io.images import read_image
from mmmtl.io.labels import read_raw
from mmmtl.tasks.stored import decode_normals


@pytest.fixture
def colours() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)


@pytest.mark.parametrize('suffix', ['.png', '.webp', '.bmp'])
def test_pictures_are_bgr(tmp_path: Path, write_image, colours: np.ndarray, suffix: str) -> None:
    assert np.array_equal(read_image(write_image(tmp_path / f'p{suffix}', colours)), colours)


def test_jpeg(tmp_path: Path, write_image) -> None:
    path = write_image(tmp_path / 'p.jpg', np.full((16, 16, 3), (200, 100, 50), dtype=np.uint8))
    assert np.abs(read_image(path).astype(int) - (200, 100, 50)).max() <= 3


def test_a_grey_picture_becomes_three_channels(tmp_path: Path, write_image, colours: np.ndarray) -> None:
    read = read_image(write_image(tmp_path / 'p.png', colours[..., 0]))
    assert read.shape == (16, 24, 3) and (read == colours[..., :1]).all()


def test_raw_keeps_depth_and_turns_to_rgb(tmp_path: Path, write_image, colours: np.ndarray) -> None:
    deep = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    raw = read_raw(write_image(tmp_path / 'd.png', deep))
    assert raw.dtype == np.uint16 and np.array_equal(raw, deep)
    assert np.array_equal(read_raw(write_image(tmp_path / 'c.png', colours)), colours[..., ::-1])
    opaque = np.dstack([colours, np.full((16, 24), 255, dtype=np.uint8)])
    assert np.array_equal(read_raw(write_image(tmp_path / 'a.png', opaque)), colours[..., ::-1])


def test_a_raw_pgm_is_big_endian(tmp_path: Path) -> None:
    deep = np.array([[1, 256, 1092], [65535, 0, 513]], dtype=np.uint16)
    path = tmp_path / 'd-1294886362.238178-3118787619.pgm'
    path.write_bytes(b'P5\n3 2\n65535\n' + deep.astype('>u2').tobytes())
    assert np.array_equal(read_raw(path), deep)


def test_two_files_of_one_number_are_refused(tmp_path: Path) -> None:
    for name in ('7.png', '007.png', '8.png'):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r'7\.png: the same number as 0*7\.png'):
        list_video(tmp_path, 'v')


def test_a_list_has_comments_and_names_with_or_without_suffix(tmp_path: Path) -> None:
    path = tmp_path / 'train.txt'
    path.write_text('# first\n  # indented\n\na.jpg\n b.jpg \n')
    names = read_names(path)
    assert names == ['a.jpg', 'b.jpg']
    files = {'a': Path('a.png'), 'a.jpg': Path('a.jpg.png'), 'b': Path('b.png')}
    assert listed_files(names, files, path) == {'a.jpg': files['a.jpg'], 'b': files['b']}, 'a whole name goes first'


def test_signs_are_three() -> None:
    assert check_signs([1, -1, 1]) == (1, -1, 1)
    with pytest.raises(ValueError, match=r'normal_signs.*\(1, -1\)'):
        check_signs([1, -1])


def test_labels_of_colours() -> None:
    labels = {(1, 2, 3): 0, (255, 255, 253): 4, (0, 0, 1): 255, (3, 2, 1): 0}
    rgb = np.array([[(3, 2, 1), (0, 0, 1)], [(255, 255, 253), (1, 2, 3)]], dtype=np.uint8)
    found = labels_of_colours(rgb, labels, 'x.png')
    assert found.dtype == np.uint8 and found.tolist() == [[0, 255], [4, 0]]
    # Above all known colours, between two, and below all.
    for colour in ((255, 255, 254), (1, 2, 4), (0, 0, 0)):
        rgb[0, 1] = colour
        with pytest.raises(ValueError, match=rf'x\.png: 1 colours .*RGB \[\({", ".join(map(str, colour))}'):
            labels_of_colours(rgb, labels, 'x.png')


def test_normals_decode_to_unit_vectors() -> None:
    rgb = np.array([[[255, 128, 128], [128, 0, 128], [0, 0, 0], [37, 218, 73], [127, 128, 127]]], dtype=np.uint8)
    decoded = decode_normals(rgb)
    assert decoded.dtype == np.float32
    # 128 is 1 / 255 above the middle.
    first = np.array([1, 1 / 255, 1 / 255]) / np.linalg.norm([1, 1 / 255, 1 / 255])
    assert np.allclose(decoded[0, 0], first, atol=1e-6)
    assert np.allclose(decoded[0, 1], [1 / 255, -1, 1 / 255], atol=2e-5)
    assert not decoded[0, [2, 4]].any()
    last = np.array([37, 218, 73]) / 127.5 - 1
    assert np.allclose(decoded[0, 3], last / np.linalg.norm(last), atol=1e-6)


def test_vectors_become_unit_vectors() -> None:
    vectors = np.array([[[0, 3, -4], [2e-3, 0, 0], [0, 0, 5e-4], [0, 0, 0]]])
    found = unit_normals(vectors)
    assert found.dtype == np.float32
    assert np.allclose(found, [[[0, 0.6, -0.8], [1, 0, 0], [0, 0, 0], [0, 0, 0]]])


def test_normals_survive_the_file_format() -> None:
    normals = np.random.default_rng(1).normal(size=(20, 20, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    decoded = decode_normals(((normals + 1) / 2 * 255).round().astype(np.uint8))
    angle = np.rad2deg(np.arccos((decoded * normals).sum(-1).clip(-1, 1)))
    assert angle.max() < 0.5 and np.abs(np.linalg.norm(decoded, axis=-1) - 1).max() < 1e-6


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp'])
def test_a_truncated_file_is_named(tmp_path: Path, write_image, colours: np.ndarray, suffix: str) -> None:
    path = write_image(tmp_path / f'cut{suffix}', cv2.resize(colours, (96, 64)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf'cut\{suffix}: not a readable image \(\d+ bytes\); copy or convert'):
        read_image(path)


@pytest.mark.parametrize('content', [b'', b'this is no image\n' * 10])
def test_other_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'other.jpg'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf'other\.jpg: not a readable image \({len(content)} bytes\)'):
        read_image(path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'absent\.jpg: no such image; check data_root'):
        read_image(tmp_path / 'absent.jpg')
