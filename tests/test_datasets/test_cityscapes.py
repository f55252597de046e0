"""Cityscapes: clips by frame number, both numberings, classes and disparity by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config

from mmmtl.config import resolve
from mmmtl.datasets import Cityscapes
from mmmtl.registry import DATASETS

BASE = Path(__file__).parents[2] / 'configs/_base_/datasets/cityscapes_512x1024.py'
TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes='cityscapes_19'),
    categories=dict(type='SemanticSegmentation', classes='cityscapes_7', source='semseg7'),
    disparity=dict(type='DisparityEstimation'),
    raw=dict(type='DisparityEstimation', unit='raw', source='disparity'),
)
LOAD = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps')]

# Label ids 0 to 33 and the two 255 of the fixture; 255 = ignored.
CLASSES_19 = [255] * 7 + [0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
CLASSES_19 += [255, 255, 16, 17, 18, 255, 255]
CLASSES_7 = [255] * 7 + [0] * 4 + [1] * 6 + [2] * 4 + [3] * 2 + [4] + [5] * 2 + [6] * 8 + [255, 255]


def build(root: Path, **kwargs: Any) -> Cityscapes:
    arguments = dict(split='train', pipeline=LOAD, metainfo=dict(tasks=TASKS))
    return Cityscapes(root, **{**arguments, **kwargs})


def test_both_numberings(cityscapes: Path) -> None:
    data = build(cityscapes, clip=dict(interval=5, offsets='all'))
    frames = [(item['video'], item['offset'], [image[0, 0, 0] for image in item['imgs']]) for item in data]
    short, long = 'aachen_000000', 'aachen_000001'
    assert frames == [
        (short, 0, [19, 18, 19]),
        (short, 1, [18, 17, 19]),
        (short, 2, [17, 18, 19]),
        (short, 3, [16, 18, 19]),
        (short, 4, [15, 18, 19]),
        (long, 0, [294 - 256, 293 - 256, 294 - 256]),
        (long, 1, [293 - 256, 292 - 256, 294 - 256]),
        (long, 2, [292 - 256, 293 - 256, 294 - 256]),
        (long, 3, [291 - 256, 293 - 256, 294 - 256]),
        (long, 4, [290 - 256, 293 - 256, 294 - 256]),
    ]


def test_classes(cityscapes: Path) -> None:
    maps = build(cityscapes)[0]['gt_maps']
    assert maps['semseg'].ravel().tolist() == CLASSES_19
    assert maps['categories'].ravel().tolist() == CLASSES_7


def test_class_lists_fit(cityscapes: Path) -> None:
    # The names are in the order of the labels: id 7 is road and flat, id 26 car and vehicle.
    data = build(cityscapes)
    names, categories = data.tasks['semseg'].classes, data.tasks['categories'].classes
    by_id = {7: ('road', 'flat'), 17: ('pole', 'object'), 21: ('vegetation', 'nature'), 23: ('sky', 'sky')}
    by_id |= {
        11: ('building', 'construction'),
        24: ('person', 'human'),
        26: ('car', 'vehicle'),
        33: ('bicycle', 'vehicle'),
    }
    for label, expected in by_id.items():
        assert (names[CLASSES_19[label]], categories[CLASSES_7[label]]) == expected


def test_disparity(cityscapes: Path) -> None:
    maps = build(cityscapes)[0]['gt_maps']
    assert maps['disparity'].dtype == maps['raw'].dtype == np.float32
    # (p - 1) / 256 pixels; p = 0 has none, and p = 1, 0 pixels, counts as none.
    assert maps['disparity'][:, 0].tolist() == [0, 0, 1, 126]
    assert np.allclose(maps['raw'][:, 0], [0, 0, 257 / 65535, 32257 / 65535], rtol=1e-6, atol=0)


def test_disparity_of_the_sequences(cityscapes: Path) -> None:
    (cityscapes / 'disparity').rename(cityscapes / 'disparity_sequence')
    assert [item['gt_maps']['disparity'][3, 0] for item in build(cityscapes)] == [126, 126]


def test_a_resize_changes_no_disparity(cityscapes: Path) -> None:
    # It stays in pixels at the full width: a score of half the width is in the same unit.
    resize = [*LOAD, dict(type='mmmtl.Resize', size=(4, 5))]
    maps = build(cityscapes, pipeline=resize)[0]['gt_maps']
    assert maps['disparity'].shape == (4, 5) and maps['disparity'][:, 0].tolist() == [0, 0, 1, 126]
    assert np.allclose(maps['raw'][:, 0], [0, 0, 257 / 65535, 32257 / 65535], rtol=1e-6, atol=0)


def write_camera(root: Path, video: str, time: int, text: str) -> None:
    path = root / f'camera/train/aachen/{video}_{time:06d}_camera.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_depth(cityscapes: Path) -> None:
    write_camera(
        cityscapes, 'aachen_000000', 19, json.dumps({'extrinsic': {'baseline': 0.2}, 'intrinsic': {'fx': 2260.0}})
    )
    tasks = dict(TASKS, depth=dict(type='DepthEstimation', max_depth=500.0))
    first, second = build(cityscapes, metainfo=dict(tasks=tasks))
    # 0.2 m * 2260 pixels / 1 and 126 pixels; none of p = 0 and of p = 1, which is infinitely far.
    assert np.allclose(first['gt_maps']['depth'][:, 4], [0, 0, 452, 452 / 126], rtol=1e-6, atol=0)
    assert first['gt_maps']['depth'].dtype == np.float32
    assert second['gt_maps'].keys() == TASKS.keys(), 'it has no camera file'


@pytest.mark.parametrize(
    'text', ['{', '[]', '{"extrinsic": {"baseline": 0.2}}', '{"extrinsic": {"baseline": 0}, "intrinsic": {"fx": 1}}']
)
def test_a_bad_camera_file_is_named(cityscapes: Path, text: str) -> None:
    write_camera(cityscapes, 'aachen_000000', 19, text)
    data = build(cityscapes, metainfo=dict(tasks=dict(depth=dict(type='DepthEstimation', max_depth=500.0))))
    with pytest.raises(ValueError, match=r'aachen_000000_000019_camera\.json: .*; get the file again'):
        data[0]


def test_a_label_without_disparity(cityscapes: Path) -> None:
    next((cityscapes / 'disparity/train/aachen').glob('aachen_000001*')).unlink()
    assert [sorted(item['gt_maps']) for item in build(cityscapes)] == [sorted(TASKS), ['categories', 'semseg']]
    only = dict(raw=TASKS['raw'])
    assert [item['video'] for item in build(cityscapes, metainfo=dict(tasks=only))] == ['aachen_000000']


def test_a_missing_frame_is_named_by_its_file(cityscapes: Path) -> None:
    name = 'leftImg8bit_sequence/train/aachen/aachen_000001_000292_leftImg8bit.png'
    (cityscapes / name).unlink()
    with pytest.raises(FileNotFoundError, match=r'leftImg8bit_sequence/train/aachen: frame 292 .* labelled frame 294'):
        build(cityscapes, clip=dict(interval=5, offsets='all'))
    skipped = build(cityscapes, clip=dict(interval=5, offsets='all', missing='skip'))
    # The clips of offsets 1 and 2 need it, so none of frame 294 is left.
    assert [(item['time'], item['offset']) for item in skipped] == [(19, offset) for offset in range(5)]


def test_single_frames_without_the_sequences(cityscapes: Path) -> None:
    (cityscapes / 'leftImg8bit_sequence').rename(cityscapes / 'leftImg8bit')
    assert [item['imgs'][0][0, 0, 0] for item in build(cityscapes)] == [19, 294 - 256]
    with pytest.raises(FileNotFoundError, match=r'frame 19 .*gtFine/val/aachen/aachen_000000_000019'):
        (cityscapes / 'gtFine/train').rename(cityscapes / 'gtFine/val')
        build(cityscapes, split='val')


def test_seven_classes_and_depth_of_stills(cityscapes: Path, tmp_path: Path) -> None:
    (cityscapes / 'leftImg8bit_sequence').rename(cityscapes / 'leftImg8bit')
    for video, time in (('aachen_000000', 19), ('aachen_000001', 294)):
        camera = json.dumps({'extrinsic': {'baseline': 0.2}, 'intrinsic': {'fx': 2260.0}})
        write_camera(cityscapes, video, time, camera)
    child = tmp_path / 'child.py'
    child.write_text(
        f"""_base_ = {str(BASE)!r}
tasks = dict(
    semseg=dict(classes='cityscapes_7', source='semseg7'), depth=dict(type='DepthEstimation', max_depth=500.0)
)
use_tasks = ['semseg', 'depth']
"""
    )
    cfg = resolve(Config.fromfile(child))
    data = DATASETS.build({**cfg.train_dataloader.dataset, 'data_root': str(cityscapes), '_scope_': 'mmmtl'})
    gt = data[0]['data_samples'].gt
    assert data[0]['inputs'].shape == (3, 512, 1024) and sorted(gt.keys()) == ['depth', 'semseg']
    assert gt.semseg[gt.semseg != 255].max() <= 6
    # A zoom divides the depth of 452 m / 126.
    assert min(abs(gt.depth.unique()[1] * zoom - 452 / 126) for zoom in (1, 1.2, 1.5)) < 1e-4
