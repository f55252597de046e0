"""Packing: types, shapes, metainfo, and the check of the labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmmtl.datasets.transforms import PackMultiTaskInputs

IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
MAPS = dict(
    semseg=np.array([[0, 1, 2, 255, 0, 1]] * 4, dtype=np.uint8),
    depth=np.full((4, 6), 2.5, np.float32),
    normals=np.tile(np.float32([0, 0.6, -0.8]), (4, 6, 1)),
)


def test_an_image(make_results) -> None:
    packed = PackMultiTaskInputs()(make_results([IMAGE], MAPS))
    assert set(packed) == {'inputs', 'data_samples'}
    inputs, gt = packed['inputs'], packed['data_samples'].gt
    assert inputs.shape == (3, 4, 6) and inputs.dtype == torch.uint8
    assert inputs[:, 1, 2].tolist() == IMAGE[1, 2].tolist()
    assert gt.semseg.dtype == torch.int64 and gt.semseg.shape == (1, 4, 6)
    assert gt.semseg[0, 0].tolist() == [0, 1, 2, 255, 0, 1]
    assert gt.depth.dtype == gt.normals.dtype == torch.float32
    assert gt.depth.shape == (1, 4, 6) and gt.normals.shape == (3, 4, 6)
    assert gt.normals[:, 2, 3].tolist() == pytest.approx([0, 0.6, -0.8])


def test_a_clip_and_its_metainfo(make_results) -> None:
    extra = dict(video='v', time=9, offset=2, sample_idx=4, slots=(-2, -1, 0), map_shape=(8, 12))
    packed = PackMultiTaskInputs()(make_results([IMAGE, IMAGE + 1, IMAGE + 2], {}, **extra))
    assert packed['inputs'].shape == (3, 3, 4, 6)
    assert packed['inputs'][:, 0, 0, 0].tolist() == [0, 1, 2]
    expected = dict(img_path='frame.png', ori_shape=(4, 6), img_shape=(4, 6), map_paths={}, **extra)
    assert packed['data_samples'].metainfo == expected
    assert packed['data_samples'].gt.keys() == []


def test_an_unlabelled_task_has_no_field(make_results) -> None:
    sample = PackMultiTaskInputs()(make_results([IMAGE], dict(depth=MAPS['depth'])))['data_samples']
    assert sample.gt.keys() == ['depth']


def test_views_are_packed(make_results) -> None:
    maps = {name: array[:, ::-1] for name, array in MAPS.items()}
    packed = PackMultiTaskInputs()(make_results([IMAGE[:, ::-1]], maps))
    assert packed['inputs'][:, 0, 0].tolist() == IMAGE[0, 5].tolist()
    assert packed['data_samples'].gt.semseg[0, 0].tolist() == [1, 0, 255, 2, 1, 0]


def test_motion_that_is_not_known_is_nan(make_results) -> None:
    motion = np.tile(np.float32([3, -1]), (4, 6, 1))
    valid = np.ones((4, 6), bool)
    valid[0, 1] = False
    flow = PackMultiTaskInputs()(make_results([IMAGE], {}, flow=(motion, valid)))['data_samples'].flow
    expected = torch.tensor([3.0, -1.0]).view(2, 1, 1).repeat(1, 4, 6)
    expected[:, 0, 1] = torch.nan
    torch.testing.assert_close(flow, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('semseg', 7, r"semseg\.png: labels \[7\] of task 'semseg'.* 0\.\.2.*`classes`"),
        ('depth', -1, r"depth\.png: a map of task 'depth' must be finite and >= 0"),
        ('depth', np.nan, r"depth\.png: a map of task 'depth' must be finite"),
        ('depth', 2500, r'depth\.png: every depth .* beyond max_depth=10\.0 m.*metres'),
        ('normals', 0.5, r"normals\.png: normals of task 'normals' must be unit vectors"),
    ],
)
def test_impossible_values_name_the_file(make_results, name: str, value: float, message: str) -> None:
    maps = {name: np.full_like(MAPS[name], value)}
    with pytest.raises(ValueError, match=message):
        PackMultiTaskInputs()(make_results([IMAGE], maps))
