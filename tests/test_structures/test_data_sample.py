"""The data sample and the camera change: what they hold and how they are copied, moved and saved."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmmtl.structures import CameraChange, MultiTaskDataSample


def make_sample() -> MultiTaskDataSample:
    gt = PixelData(depth=torch.full((1, 2, 3), 4.0), semseg=torch.arange(6).view(1, 2, 3))
    return MultiTaskDataSample(gt=gt, metainfo=dict(img_path='a/000001.jpg', offset=2, slots=(-2, -1, 0)))


def test_ground_truth_and_metainfo() -> None:
    sample = make_sample()

    assert 'gt' in sample
    assert 'pred' not in sample
    assert set(sample.gt.keys()) == {'depth', 'semseg'}
    assert sample.gt.depth.tolist() == [[[4.0] * 3] * 2]
    assert sample.gt.semseg.tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert sample.gt.shape == (2, 3)
    assert (sample.img_path, sample.offset, sample.slots) == ('a/000001.jpg', 2, (-2, -1, 0))


def test_an_unlabelled_task_is_a_missing_field() -> None:
    sample = make_sample()

    assert 'normals' not in sample.gt
    assert sample.gt.get('normals') is None


def test_predictions_are_set_replaced_and_deleted() -> None:
    sample = make_sample()
    sample.pred = PixelData(depth=torch.ones(1, 2, 3))
    sample.pred = PixelData(depth=torch.zeros(1, 2, 3))
    assert 'pred' in sample
    assert not sample.pred.depth.any()
    assert sample.gt.depth.any()

    del sample.pred
    assert 'pred' not in sample
    assert 'gt' in sample
    del sample.gt
    assert 'gt' not in sample


@pytest.mark.parametrize('field', ['gt', 'pred'])
def test_only_pixel_data_is_taken(field: str) -> None:
    with pytest.raises(AssertionError, match='PixelData'):
        setattr(MultiTaskDataSample(), field, dict(depth=torch.ones(1, 2, 3)))


def test_maps_of_a_sample_have_one_size() -> None:
    with pytest.raises(AssertionError, match='height and width'):
        make_sample().gt.normals = torch.zeros(3, 4, 4)


def test_copies_are_deep_and_travel_between_processes() -> None:
    sample = make_sample()
    for other in (copy.deepcopy(sample), pickle.loads(pickle.dumps(sample))):
        other.gt.depth.zero_()
        assert type(other) is MultiTaskDataSample
        assert sample.gt.depth.eq(4).all()
        assert other.gt.semseg.tolist() == sample.gt.semseg.tolist()
        assert other.metainfo == sample.metainfo


def test_predictions_of_a_clone_are_its_own() -> None:
    sample = make_sample()
    clone = sample.clone()
    clone.pred = PixelData(depth=torch.ones(1, 2, 3))

    assert type(clone) is MultiTaskDataSample
    assert 'pred' not in sample
    assert clone.gt.depth.tolist() == sample.gt.depth.tolist()


def test_moving_and_casting_reach_the_maps() -> None:
    moved = make_sample().to('meta')

    assert moved.gt.depth.device.type == 'meta'
    assert moved.offset == 2
    assert make_sample().gt.depth.device.type == 'cpu'


def test_as_a_dict_for_the_metric() -> None:
    sample = make_sample()
    sample.pred = PixelData(depth=torch.ones(1, 2, 3))
    flat = sample.to_dict()

    assert set(flat) == {'gt', 'pred', 'img_path', 'offset', 'slots'}
    assert set(flat['gt']) == {'depth', 'semseg'}
    assert flat['pred']['depth'].tolist() == [[[1.0] * 3] * 2]


def test_no_change_of_camera_by_default() -> None:
    change = CameraChange()

    np.testing.assert_array_equal(change.linear, np.eye(3))
    assert change.linear.dtype == np.float32
    assert change.depth_ratio == 1.0
    # Each has its own matrix, and changes can be compared although they hold arrays.
    other = CameraChange(depth_ratio=np.ones((2, 2)))
    assert change.linear is not other.linear
    assert change != other
    with pytest.raises(AttributeError):
        change.depth_ratio = 2.0  # type: ignore[misc]
