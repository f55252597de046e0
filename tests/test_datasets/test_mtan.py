"""MTAN's NumPy layouts and Auto-lambda's PNGs: images, void, units and errors by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mmmtl.datasets import MTANCityscapes, MTANNYUv2
from mmmtl.datasets.cityscapes import TRAIN_IDS

NYU = dict(
    semseg=dict(type='SemanticSegmentation', classes='nyuv2_13'),
    depth=dict(type='DepthEstimation', max_depth=10.0),
    normals=dict(type='SurfaceNormals'),
)
CITY = dict(
    semseg=dict(type='SemanticSegmentation', classes='cityscapes_19'),
    seven=dict(type='SemanticSegmentation', classes='cityscapes_7', source='semseg7'),
    two=dict(type='SemanticSegmentation', classes=['ground', 'other'], source='semseg2'),
    disparity=dict(type='DisparityEstimation'),
    raw=dict(type='DisparityEstimation', unit='raw', source='disparity'),
)
LOAD = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps')]
PACK = [*LOAD, dict(type='mmmtl.PackMultiTaskInputs')]


def save(root: Path, name: str, array: np.ndarray) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.png':
        assert cv2.imwrite(str(path), array)
    else:
        np.save(path, array)


def cycle(size: tuple[int, int], low: int, high: int) -> np.ndarray:
    """The numbers from `low` to `high` in turn."""
    return np.arange(size[0] * size[1]).reshape(size) % (high - low + 1) + low


@pytest.fixture
def nyuv2(tmp_path: Path) -> Path:
    """Three train images (0, 1, 10), one of odd size; the first row has no depth, the second no normal."""
    for split, number, size in (
        ('train', 0, (64, 64)),
        ('train', 10, (64, 64)),
        ('train', 1, (61, 83)),
        ('val', 0, (61, 83)),
    ):
        rng = np.random.default_rng(number)
        normals = rng.normal(size=(*size, 3))
        normals[1] = 0
        depth = rng.uniform(1, 9, (*size, 1))
        depth[0] = 0
        save(tmp_path, f'{split}/image/{number}.npy', np.tile([0.2, 0.5, 1.0], (*size, 1)).astype(np.float32))
        save(tmp_path, f'{split}/label/{number}.npy', cycle(size, -1, 12).astype(np.float32))
        save(tmp_path, f'{split}/depth/{number}.npy', depth)
        save(tmp_path, f'{split}/normal/{number}.npy', normals)
    return tmp_path


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """One train image: labels from -1 on, disparity p / 65535 of p = 0, 1, 257 and 32257 in turn."""
    tmp_path, size = tmp_path / 'cityscapes', (32, 64)
    save(tmp_path, 'train/image/0.npy', np.tile([0.2, 0.5, 1.0], (*size, 1)))
    for classes in (2, 7, 19):
        save(tmp_path, f'train/label_{classes}/0.npy', cycle(size, -1, classes - 1))
    p = np.array([0, 1, 257, 32257])[cycle(size, 0, 3)]
    save(tmp_path, 'train/depth/0.npy', (p / 65535).astype(np.float32)[..., None])
    return tmp_path


def build(cls: type, root: Path, tasks: dict[str, Any], split: str = 'train', **kwargs: Any) -> Any:
    return cls(root, split=split, **{'pipeline': LOAD, 'metainfo': dict(tasks=tasks), **kwargs})


def test_nyuv2(nyuv2: Path) -> None:
    data = build(MTANNYUv2, nyuv2, NYU)
    assert [data.get_data_info(i)['video'] for i in range(len(data))] == ['0', '1', '10']
    assert len(build(MTANNYUv2, nyuv2, NYU, 'val')) == 1
    for index, (number, size) in enumerate(((0, (64, 64)), (1, (61, 83)), (10, (64, 64)))):
        (image,), maps = data[index]['imgs'], data[index]['gt_maps']
        assert image.dtype == np.uint8 and image.shape == (*size, 3)
        assert (image == (255, 128, 51)).all()  # BGR of RGB 0.2, 0.5, 1.0
        stored = cycle(size, -1, 12)
        assert np.array_equal(maps['semseg'], np.where(stored < 0, 255, stored)) and maps['semseg'].dtype == np.uint8
        rng = np.random.default_rng(number)
        normals = rng.normal(size=(*size, 3))
        depth = rng.uniform(1, 9, (*size, 1))[..., 0]
        assert np.allclose(maps['depth'][1:], depth[1:]) and not maps['depth'][0].any()
        expected = normals / np.linalg.norm(normals, axis=-1, keepdims=True)
        assert np.allclose(maps['normals'][2:], expected[2:], atol=1e-6) and not maps['normals'][1].any()
        assert maps['depth'].dtype == maps['normals'].dtype == np.float32
    assert build(MTANNYUv2, nyuv2, NYU, pipeline=PACK)[1]['data_samples'].gt.semseg.shape == (1, 61, 83)
    turned = build(MTANNYUv2, nyuv2, NYU, normal_signs=(-1, 1, -1))[0]['gt_maps']['normals']
    assert np.array_equal(turned, data[0]['gt_maps']['normals'] * np.float32((-1, 1, -1)))


def test_cityscapes(cityscapes: Path) -> None:
    (item,) = build(MTANCityscapes, cityscapes, CITY)
    for task, classes in (('two', 2), ('seven', 7), ('semseg', 19)):
        stored = cycle((32, 64), -1, classes - 1)
        assert np.array_equal(item['gt_maps'][task], np.where(stored < 0, 255, stored))
    # Pixels of the official encoding, (p - 1) / 256; and the stored value again where the task learns that.
    assert np.allclose(item['gt_maps']['disparity'][0, :4], [0, 0, 1, 126], atol=1e-4)
    assert np.allclose(item['gt_maps']['raw'][0, :4], [0, 0, 257 / 65535, 32257 / 65535], rtol=1e-5, atol=0)


def test_values_between_the_codes_are_never_negative(cityscapes: Path) -> None:
    save(cityscapes, 'train/depth/0.npy', np.full((32, 64, 1), 0.4 / 65535))  # as interpolation leaves it
    (item,) = build(MTANCityscapes, cityscapes, CITY)
    assert not item['gt_maps']['disparity'].any()


def test_libmtl_has_seven_classes_as_label(cityscapes: Path) -> None:
    (cityscapes / 'train/label_7').rename(cityscapes / 'train/label')
    (item,) = build(MTANCityscapes, cityscapes, CITY)
    assert item['gt_maps'].keys() == CITY.keys()


def test_auto_lambda(tmp_path: Path) -> None:
    ids = cycle((16, 64), 0, 33).astype(np.uint8)
    save(tmp_path, 'val/image/3.png', np.full((16, 64, 3), (1, 2, 3), np.uint8))
    save(tmp_path, 'val/seg/3.png', ids)
    save(tmp_path, 'val/depth/3.png', np.array([0, 1, 257, 32257], np.uint16)[cycle((16, 64), 0, 3)])
    (item,) = build(MTANCityscapes, tmp_path, CITY, 'val')
    assert (item['imgs'][0] == (1, 2, 3)).all() and item['gt_maps'].keys() == CITY.keys() - {'two'}
    expected = [TRAIN_IDS.index(label) if label in TRAIN_IDS else 255 for label in range(34)]
    assert item['gt_maps']['semseg'].ravel()[:34].tolist() == expected
    assert item['gt_maps']['seven'].ravel()[[7, 10, 11, 23, 26, 33]].tolist() == [0, 0, 1, 4, 6, 6]
    assert item['gt_maps']['disparity'][0, :4].tolist() == [0, 0, 1, 126]


def test_what_is_wrong_is_named(nyuv2: Path, cityscapes: Path) -> None:
    wrong = {
        'image': (np.full((64, 64, 3), 200.0), r'image/0\.npy: float64 from 200\.0 to 200\.0 .*255'),
        'label': (
            np.full((64, 64), 0.5),
            r'label/0\.npy: labels \[0\.5\] are not whole numbers from -1 \(void\) to 12',
        ),
        'depth': (np.ones((3, 64, 64)), r'depth/0\.npy: an array of shape \(3, 64, 64\) instead of \(H, W\)'),
    }
    for folder, (array, message) in wrong.items():
        path = nyuv2 / f'train/{folder}/0.npy'
        kept = path.read_bytes()
        np.save(path, array)
        with pytest.raises(ValueError, match=message):
            build(MTANNYUv2, nyuv2, NYU)[0]
        path.write_bytes(kept)
    (nyuv2 / 'train/image/10.npy').unlink()
    with pytest.raises(FileNotFoundError, match=r"'10' is missing, but there is a label for it: .*train/label/10\.npy"):
        build(MTANNYUv2, nyuv2, NYU)
    save(cityscapes, 'train/depth/0.npy', np.full((32, 64, 1), 3.0))
    with pytest.raises(ValueError, match=r'depth/0\.npy: 3\.0 to 3\.0 .*65535'):
        build(MTANCityscapes, cityscapes, dict(disparity=CITY['disparity']))[0]
    with pytest.raises(ValueError, match='found no frame with a label'):
        build(MTANCityscapes, cityscapes, CITY, 'test')
