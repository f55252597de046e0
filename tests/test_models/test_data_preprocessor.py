"""Batches by hand: channel order, normalisation, padding, clips."""

from __future__ import annotations

import pytest
import torch

from mmmtl.models import MultiTaskDataPreprocessor
from mmmtl.models.data_preprocessor import pad, round_up
from mmmtl.registry import MODELS
from mmmtl.structures import MultiTaskDataSample

MEAN, STD = (10.0, 20.0, 30.0), (1.0, 2.0, 4.0)  # RGB


def build(**kwargs) -> MultiTaskDataPreprocessor:
    return MultiTaskDataPreprocessor(**{'tasks': {}, 'mean': MEAN, 'std': STD, **kwargs})


def image(height: int, width: int, bgr: tuple[int, int, int] = (38, 26, 13)) -> torch.Tensor:
    return torch.tensor(bgr, dtype=torch.uint8).view(3, 1, 1).repeat(1, height, width)


def test_bgr_becomes_normalised_rgb() -> None:
    batch = build()({'inputs': [image(2, 3)]})['inputs']
    assert batch.shape == (1, 3, 2, 3) and batch.dtype == torch.float32
    # (R, G, B) = (13, 26, 38): (13 - 10) / 1, (26 - 20) / 2, (38 - 30) / 4.
    assert batch[0, :, 1, 2].tolist() == [3.0, 3.0, 2.0]


def test_imagenet_is_the_default() -> None:
    preprocessor = MultiTaskDataPreprocessor(tasks={})
    batch = preprocessor({'inputs': [image(1, 1, (0, 128, 255))]})['inputs']
    expected = [(255 - 123.675) / 58.395, (128 - 116.28) / 57.12, (0 - 103.53) / 57.375]
    assert batch.flatten().tolist() == pytest.approx(expected, rel=1e-6)
    assert not preprocessor.state_dict()  # nothing of it in a checkpoint


def test_mixed_sizes_are_padded_at_the_bottom_and_the_right() -> None:
    samples = [MultiTaskDataSample(), MultiTaskDataSample()]
    data = build(size_divisor=4)({'inputs': [image(5, 3), image(2, 6)], 'data_samples': samples}, True)
    batch = data['inputs']
    assert batch.shape == (2, 3, 8, 8)
    for row, (height, width) in enumerate([(5, 3), (2, 6)]):
        assert (batch[row, 0, :height, :width] == 3).all()
        assert not batch[row, :, height:].any() and not batch[row, :, :, width:].any()
    assert [sample.padded_shape for sample in data['data_samples']] == [(8, 8), (8, 8)]


@pytest.mark.parametrize(('divisor', 'shape'), [(1, (5, 7)), (5, (5, 10)), (32, (32, 32))])
def test_size_divisor(divisor: int, shape: tuple[int, int]) -> None:
    assert build(size_divisor=divisor)({'inputs': [image(5, 7)]})['inputs'].shape[-2:] == shape


def test_clips() -> None:
    clip = torch.stack([image(2, 3), image(2, 3, (30, 20, 10)), image(2, 3, (34, 24, 12))])
    samples = [MultiTaskDataSample(), MultiTaskDataSample()]
    data = build(size_divisor=2)({'inputs': [clip, clip], 'data_samples': samples})
    assert data['inputs'].shape == (2, 3, 3, 2, 4)
    assert data['inputs'][1, :, :, 0, 0].tolist() == [[3, 3, 2], [0, 0, 0], [2, 2, 1]]
    assert not data['inputs'][..., 3].any()
    assert data['data_samples'][1].padded_shape == (2, 4)


def test_a_stacked_batch_and_no_samples() -> None:
    data = build()({'inputs': torch.stack([image(2, 3)] * 2), 'data_samples': None}, training=True)
    assert data['inputs'].shape == (2, 3, 2, 3) and data['data_samples'] is None


def test_it_is_registered() -> None:
    assert isinstance(MODELS.build(dict(type='MultiTaskDataPreprocessor', tasks={})), MultiTaskDataPreprocessor)


def test_pad() -> None:
    labels = torch.ones(1, 2, 3, dtype=torch.int64)
    assert pad(labels, (3, 4), 255).tolist() == [[[1, 1, 1, 255], [1, 1, 1, 255], [255] * 4]]
    with pytest.raises(ValueError, match=r'cannot pad \(2, 3\) to \(2, 2\).*Resize\(maps=False\)'):
        pad(labels, (2, 2), 255)
    assert [round_up(n, 4) for n in (1, 4, 5, 8)] == [4, 4, 8, 8]
