"""What the numbers in a user's label files mean: units, masks, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmmtl.datasets import VideoFolder

TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes=['a', 'b', 'c']),
    depth=dict(type='DepthEstimation', max_depth=80.0),
    disparity=dict(type='DisparityEstimation'),
    saliency=dict(type='SaliencyDetection'),
    edge=dict(type='EdgeDetection'),
    normals=dict(type='SurfaceNormals'),
)
SIZE = (4, 6)


@pytest.fixture
def read(tmp_path: Path, write_image):
    """Write a label as PNG or, for other types, as .npy, and read it as a VideoFolder does."""
    (tmp_path / 'videos.json').write_text(json.dumps({'v': {'split': 'train'}}))
    write_image(tmp_path / 'frames/v/000000.png', np.zeros((*SIZE, 3), np.uint8))

    def make(source: str, stored: np.ndarray, unit: Any = None) -> np.ndarray:
        path = tmp_path / source / 'v' / '000000.png'
        if stored.dtype in (np.uint8, np.uint16):
            write_image(path, stored[..., ::-1] if stored.ndim == 3 else stored)
        else:
            path.parent.mkdir(parents=True)
            np.save(path.with_suffix('.npy'), stored)
        units = {} if unit is None else dict(unit={source: unit})
        pipeline = [dict(type=f'mmmtl.{name}') for name in ('LoadFrames', 'LoadMaps')]
        tasks = {source: TASKS[source]}
        data = VideoFolder(tmp_path, pipeline=pipeline, metainfo=dict(tasks=tasks), **units)
        return data[0]['gt_maps'][source]

    return make


def full(value: float, kind: type) -> np.ndarray:
    array = np.full(SIZE, value, kind)
    array[0] = 0
    return array


@pytest.mark.parametrize(
    ('source', 'stored', 'unit', 'right'),
    [
        ('depth', full(5000, np.uint16), None, 5.0),
        ('depth', full(500, np.uint16), 'cm', 5.0),
        ('depth', full(5 * 256, np.uint16), 'm/256', 5.0),
        ('depth', full(25000, np.uint16), 'm/5000', 5.0),
        ('depth', full(5, np.uint16), 'm', 5.0),
        ('depth', full(200, np.uint8), 2, 400.0),
        ('depth', full(20, np.uint8), 0.25, 5.0),
        ('depth', full(5, np.float32), None, 5.0),
        ('depth', full(5, np.float64), 'm', 5.0),
        ('depth', full(5000, np.float32), 'mm', 5.0),
        ('depth', full(70000, np.int32), None, 70.0),
        ('disparity', full(50 * 256 + 1, np.uint16), 'cityscapes', 50.0),
        ('disparity', full(50 * 256, np.uint16), 'px/256', 50.0),
        ('disparity', full(50, np.uint8), 'px', 50.0),
        ('disparity', full(50, np.float32), None, 50.0),
        ('disparity', full(200, np.uint8), 0.25, 50.0),
        ('saliency', full(255, np.uint8), None, 1.0),
        ('saliency', full(1, np.uint8), None, 1.0),
        ('saliency', full(51, np.uint8), None, 0.2),
        ('saliency', full(255, np.uint8), 'label', 255.0),
        ('saliency', full(1, np.uint8), 'grey', 1 / 255),
        ('saliency', full(1, bool), None, 1.0),
        ('edge', full(255, np.uint8), None, 1.0),
        ('edge', full(0.5, np.float32), None, 0.5),
    ],
)
def test_values(read, source: str, stored: np.ndarray, unit: Any, right: float) -> None:
    found = read(source, stored, unit)
    assert found.dtype == np.float32 and found.shape == SIZE
    assert not found[0].any() and (found[1:] == np.float32(right)).all()


@pytest.mark.parametrize('kind', [np.uint8, np.uint16, np.int64, bool])
def test_class_numbers_of_any_type(read, kind: type) -> None:
    found = read('semseg', full(1, kind))
    assert found.dtype == np.uint8 and np.array_equal(found, full(1, np.uint8))


def test_normals_of_both_conventions(read) -> None:
    up = np.zeros((*SIZE, 3), np.uint8)
    up[:] = (51, 209, 189)  # x left, y up and z backward
    found = read('normals', up, 'opengl')
    assert np.allclose(found, (-0.6, -0.64, -0.48), atol=0.01)
    assert np.abs(np.linalg.norm(found, axis=-1) - 1).max() < 1e-6


def test_normals_that_point_away_count_among_those_there_are(read) -> None:
    away = np.zeros((*SIZE, 3), np.uint8)
    away[:2] = (128, 128, 255)
    with pytest.raises(ValueError, match='away from the camera'):
        read('normals', away)


def test_normals_along_the_image_may_be_rounded_away_from_the_camera(read) -> None:
    sideways = np.full((*SIZE, 3), (255, 128, 128), np.uint8)  # 128 is a little above 0
    assert read('normals', sideways)[..., 2].min() > 0


def mixed(*values: int) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), SIZE)


@pytest.mark.parametrize(
    ('source', 'stored', 'unit', 'message'),
    [
        ('depth', full(8, np.uint8), None, '8-bit depth.*uint16 millimetres'),
        ('depth', full(8, np.uint8), 'mm', '8-bit depth.*uint16 millimetres'),
        ('depth', np.zeros((*SIZE, 3), np.uint8), None, '3 channels.*depth'),
        ('disparity', full(8, np.uint16), None, "'px/256'.*'cityscapes'"),
        ('saliency', mixed(0, 1, 255), None, "'label' or 'grey'"),
        ('saliency', full(1000, np.uint16), None, 'uint16'),
        ('semseg', full(1500, np.uint16), None, r'\[1500\]'),
        ('semseg', full(0.5, np.float32), None, 'float32'),
        ('semseg', np.zeros((*SIZE, 3), np.uint8), None, '3 channels.*semseg'),
        ('normals', np.random.default_rng(0).integers(60, 160, (*SIZE, 3), dtype=np.uint8), None, 'not unit vectors'),
        ('normals', full(3, np.uint8), None, '1 channels.*normals'),
        ('normals', np.full((*SIZE, 3), (128, 128, 255), np.uint8), None, "away from the camera.*'opengl'"),
        ('normals', np.full((*SIZE, 3), (0.5, 0.5, 1), np.float32), None, r'unit vectors.*2 \* v - 1'),
    ],
)
def test_refusals_name_the_file(read, source: str, stored: np.ndarray, unit: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf'{source}/v/000000\.(?s:.*){message}'):
        read(source, stored, unit)


@pytest.mark.parametrize(
    ('source', 'unit', 'message'),
    [
        ('depth', 'km', "'km' is not one of 'mm', 'cm', 'm'"),
        ('depth', -1.0, '-1.0 is not one of'),
        ('depth', 0, 'unit 0 is not one of'),
        ('semseg', 'mm', "'mm' is not one of none"),
        ('normals', 0.5, '0.5 is not one of'),
    ],
)
def test_units_that_a_task_does_not_know(read, source: str, unit: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(source, full(1, np.uint8), unit)


def test_a_unit_of_no_source(read, tmp_path: Path) -> None:
    read('depth', full(5000, np.uint16))
    build = dict(metainfo=dict(tasks=dict(depth=TASKS['depth'])))
    with pytest.raises(ValueError, match=r"'dpeth'.*\['depth'\]"):
        VideoFolder(tmp_path, unit=dict(dpeth='cm'), **build)
    with pytest.raises(ValueError, match='unit must be'):
        VideoFolder(tmp_path, unit='cm', **build)


def test_tasks_of_two_kinds_do_not_share_files(read, tmp_path: Path, write_image) -> None:
    read('semseg', mixed(0, 255))
    tasks = dict(semseg=TASKS['semseg'], saliency=dict(TASKS['saliency'], source='semseg'))
    data = VideoFolder(tmp_path, metainfo=dict(tasks=tasks))
    with pytest.raises(ValueError, match=r"000000\.png: .*\['semseg', 'saliency'\]"):
        data.read_map('semseg', tmp_path / 'semseg/v/000000.png')
