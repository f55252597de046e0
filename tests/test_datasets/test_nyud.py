"""NYUD: the three layouts deliver the same maps; void, none, classes, signs and errors by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from scipy.io import savemat

from mmmtl.config import resolve
from mmmtl.datasets import NYUD
from mmmtl.datasets.nyuv2 import TO_13
from mmmtl.registry import DATASETS

TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes='nyuv2_40'),
    coarse=dict(type='SemanticSegmentation', classes='nyuv2_13', source='semseg13'),
    depth=dict(type='DepthEstimation', max_depth=10.0),
    normals=dict(type='SurfaceNormals'),
)
SOURCES = ('semseg', 'semseg13', 'depth', 'normals', 'edge')
LOAD = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps')]
BASE = Path(__file__).parents[2] / 'configs/_base_/datasets/nyud_480x640.py'
SIZES = {'0001': (64, 64), '0002': (61, 83), '0007': (61, 83)}
TRUTH = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def truth(name: str) -> TRUTH:
    """Stored labels (0 to 40), depth with zeros, unit normals with zeros, edges of 0 and 1."""
    height, width = SIZES[name]
    rng = np.random.default_rng(int(name))
    labels = (np.arange(height * width).reshape(height, width) % 41).astype(np.uint8)
    depth = rng.uniform(0.5, 9.5, (height, width)).astype(np.float32)
    depth[:3] = 0
    normals = rng.normal(size=(height, width, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[-4:] = 0
    edge = (rng.random((height, width)) < 0.1).astype(np.uint8)
    return labels, depth, normals.astype(np.float32), edge


def write(root: Path, layout: str) -> Path:
    """A tree of three images, each a grey of 10 times its number, in one of the layouts."""
    for folder in ('gt_sets', 'images', 'segmentation', 'depth', 'normals', 'edge'):
        (root / folder).mkdir(parents=True)
    (root / 'gt_sets/train.txt').write_text('0001\n0007\n')
    (root / 'gt_sets/val.txt').write_text('0002\n')
    for name in SIZES:
        labels, depth, normals, edge = truth(name)
        colours = ((normals[..., ::-1] + 1) / 2 * 255).round().astype(np.uint8)
        image = np.full((*labels.shape, 3), 10 * int(name), np.uint8)
        assert cv2.imwrite(str(root / 'images' / f'{name}{".png" if layout == "NYUDv2" else ".jpg"}'), image)
        if layout == 'ASTMT':
            savemat(root / 'segmentation' / f'{name}.mat', {'segmentation': labels.astype(np.float64)})
            savemat(root / 'depth' / f'{name}.mat', {'depth': depth})
            assert cv2.imwrite(str(root / 'normals' / f'{name}.jpg'), cv2.resize(colours[:1, :1], labels.shape[::-1]))
            assert cv2.imwrite(str(root / 'edge' / f'{name}.png'), 255 * edge)
            continue
        assert cv2.imwrite(str(root / 'segmentation' / f'{name}.png'), labels)
        np.save(root / 'depth' / f'{name}.npy', depth if layout == 'NYUD_MT' else depth[..., None])
        if layout == 'NYUD_MT':
            np.save(root / 'normals' / f'{name}.npy', 0.9 * normals)  # as resampling leaves them
            np.save(root / 'edge' / f'{name}.npy', edge.astype(np.float64) / 2)
        else:
            assert cv2.imwrite(str(root / 'normals' / f'{name}.png'), colours)
            assert cv2.imwrite(str(root / 'edge' / f'{name}.png'), 255 * edge)
    return root


def build(root: Path, split: str = 'train', **kwargs: Any) -> NYUD:
    return NYUD(root, split=split, **{'pipeline': LOAD, 'metainfo': dict(tasks=TASKS), **kwargs})


def stored_maps(data: NYUD, index: int) -> dict[str, np.ndarray]:
    """What the readers deliver; `edge` has no task here."""
    root, name = Path(data.data_root), data.get_data_info(index)['video']
    (edge,) = (root / 'edge').glob(f'{name}.*')
    maps = data.get_data_info(index)['maps'] | {'edge': edge}
    return {source: data.read_map(source, maps[source]) for source in SOURCES}


@pytest.mark.parametrize('layout', ['NYUD_MT', 'NYUDv2', 'ASTMT'])
def test_the_layouts(tmp_path: Path, layout: str) -> None:
    root = write(tmp_path, layout)
    train, val = build(root), build(root, 'val')
    assert [train.get_data_info(i)['video'] for i in range(len(train))] == ['0001', '0007'] and len(val) == 1
    for data, index, name in ((train, 0, '0001'), (train, 1, '0007'), (val, 0, '0002')):
        item, maps = data[index], stored_maps(data, index)
        labels, depth, normals, edge = truth(name)
        (image,) = item['imgs']
        assert image.shape == (*SIZES[name], 3) and np.abs(image.astype(int) - 10 * int(name)).max() <= 1
        assert item['gt_maps'].keys() == TASKS.keys()
        assert np.array_equal(maps['semseg'], np.append(255, np.arange(40))[labels])
        assert np.array_equal(maps['semseg13'], np.array([255, *TO_13])[labels])
        assert maps['semseg'].dtype == maps['semseg13'].dtype == np.uint8
        assert np.array_equal(maps['depth'], depth) and maps['edge'].dtype == np.float32
        assert np.array_equal(maps['edge'], edge / 2 if layout == 'NYUD_MT' else edge)
        length = np.linalg.norm(maps['normals'], axis=-1)
        if layout == 'ASTMT':
            assert np.allclose(length, 1, atol=1e-6) and np.abs(maps['normals'] - normals[0, 0]).max() < 0.03
        else:
            assert np.array_equal(length > 0, normals.any(axis=-1)) and not maps['normals'][-4:].any()
            assert np.abs(maps['normals'] - normals).max() < (1e-6 if layout == 'NYUD_MT' else 0.01)
        assert maps['depth'].dtype == maps['normals'].dtype == np.float32


def test_signs_of_the_normals(tmp_path: Path) -> None:
    root = write(tmp_path, 'NYUD_MT')
    maps = build(root, normal_signs=(1, -1, -1))[0]['gt_maps']
    assert np.allclose(maps['normals'], truth('0001')[2] * (1, -1, -1), atol=1e-6)
    with pytest.raises(ValueError, match=r'normal_signs.*\(1, 0, -1\)'):
        build(root, normal_signs=(1, 0, -1))


def test_files_of_several_origins(tmp_path: Path) -> None:
    root, other = write(tmp_path / 'a', 'NYUD_MT'), write(tmp_path / 'b', 'ASTMT')
    (root / 'depth/0001.npy').unlink()
    (other / 'depth/0001.mat').rename(root / 'depth/0001.mat')
    (root / 'normals/0007.npy').unlink()
    first, second = build(root)
    assert np.array_equal(first['gt_maps']['depth'], truth('0001')[1])
    assert second['gt_maps'].keys() == TASKS.keys() - {'normals'}


def test_edges_of_0_and_1(tmp_path: Path) -> None:
    root = write(tmp_path, 'NYUDv2')
    edge = truth('0001')[3]
    assert cv2.imwrite(str(root / 'edge/0001.png'), edge)
    assert edge.any() and np.array_equal(stored_maps(build(root), 0)['edge'], edge)


def test_a_palette_is_no_obstacle(tmp_path: Path) -> None:
    from PIL import Image

    root = write(tmp_path, 'NYUD_MT')
    image = Image.fromarray(truth('0001')[0], mode='P')
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    image.save(root / 'segmentation/0001.png')
    assert cv2.imread(str(root / 'segmentation/0001.png'), cv2.IMREAD_UNCHANGED).ndim == 3
    assert np.array_equal(build(root)[0]['gt_maps']['semseg'], truth('0001')[0] - np.uint8(1))


def break_png(root: Path) -> None:
    cv2.imwrite(str(root / 'segmentation/0001.png'), np.full((64, 64), 41, np.uint8))


def break_suffix(root: Path) -> None:
    (root / 'depth/0001.npy').rename(root / 'depth/0001.tif')


def break_twice(root: Path) -> None:
    savemat(root / 'depth/0001.mat', {'depth': truth('0001')[1]})


def break_shape(root: Path) -> None:
    np.save(root / 'normals/0001.npy', np.zeros((3, 64, 64), np.float32))


def break_pickle(root: Path) -> None:
    np.save(root / 'depth/0001.npy', np.array([{}], dtype=object), allow_pickle=True)


def break_key(root: Path) -> None:
    (root / 'depth/0001.npy').unlink()
    savemat(root / 'depth/0001.mat', {'labels': np.ones((64, 64))})


def break_mat(root: Path) -> None:
    (root / 'depth/0001.npy').unlink()
    (root / 'depth/0001.mat').write_bytes(b'MATLAB 5.0 MAT-file, cut short')


def break_image(root: Path) -> None:
    (root / 'images/0001.jpg').unlink()


def break_list(root: Path) -> None:
    (root / 'gt_sets/train.txt').unlink()


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (break_png, r'segmentation/0001\.png: labels \[41\] are not whole numbers from 0 \(void\) to 40; check'),
        (break_suffix, r'depth/0001\.tif: not one of \.npy, \.mat; convert the file or remove it'),
        (break_twice, r'depth/0001\.npy: .* 0001\.mat; remove one of them'),
        (break_shape, r'normals/0001\.npy: an array of shape \(3, 64, 64\) instead of \(H, W, 3\); convert'),
        (break_pickle, r'depth/0001\.npy: the header promises object of shape \(1,\).*array of numbers'),
        (break_key, r"depth/0001\.mat: no variable 'depth', only \['labels'\]; check that this is the right folder"),
        (
            break_mat,
            r'depth/0001\.mat: not a readable MATLAB file up to version 7\.2 \(.+\); save or download it again',
        ),
        (break_image, r"gt_sets/train\.txt: 1 of \d+ names have no image.*'0001'"),
        (break_list, r'gt_sets/train\.txt: no such list; check data_root and split'),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, damage: Any, message: str) -> None:
    root = write(tmp_path, 'NYUD_MT')
    damage(root)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        build(root)[0]


def test_the_base_config_takes_more_tasks(tmp_path: Path) -> None:
    root = write(tmp_path / 'data', 'NYUDv2')
    child = tmp_path / 'child.py'
    child.write_text(f"_base_ = {str(BASE)!r}\nuse_tasks = ['semseg', 'depth', 'normals', 'edge']\n")
    cfg = resolve(Config.fromfile(child))
    for loader, names in ((cfg.train_dataloader, ['0001', '0007']), (cfg.val_dataloader, ['0002'])):
        data = DATASETS.build({**loader.dataset, 'data_root': str(root), '_scope_': 'mmmtl'})
        for name, item in zip(names, data, strict=True):
            assert item['inputs'].shape == (3, 480, 640)
            size = (480, 640) if loader is cfg.train_dataloader else SIZES[name]
            shapes = {task: tuple(item['data_samples'].gt.get(task).shape[-2:]) for task in cfg.tasks}
            assert shapes == dict.fromkeys(['semseg', 'depth', 'normals', 'edge'], size)
