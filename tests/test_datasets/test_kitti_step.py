"""KITTI-STEP: the channel of the classes, void, sequences and missing frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmmtl.datasets import KITTISTEP
from mmmtl.datasets.kitti_step import VAL_SEQUENCES

TASKS = dict(semseg=dict(type='SemanticSegmentation', classes='cityscapes_19'))
LOAD = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps')]


@pytest.fixture
def step(tmp_path: Path, write_image) -> Path:
    """Sequences 0000 and 0001 of five and four frames."""
    for sequence, length in (('0000', 5), ('0001', 4)):
        for time in range(length):
            write_image(tmp_path / f'images/train/{sequence}/{time:06d}.png', np.full((2, 2, 3), 10 * time, np.uint8))
            rgb = np.array([[[0, 1, 2], [18, 9, 9]], [[255, 0, 0], [13, 0, 7]]], np.uint8)
            write_image(tmp_path / f'panoptic_maps/train/{sequence}/{time:06d}.png', rgb[..., ::-1])
    return tmp_path


def build(root: Path, **kwargs: Any) -> KITTISTEP:
    return KITTISTEP(root, **{'split': 'train', 'pipeline': LOAD, 'metainfo': dict(tasks=TASKS), **kwargs})


def test_labels_are_the_red_channel(step: Path) -> None:
    (step / 'images/train/0000/000001_copy.png').write_bytes((step / 'images/train/0000/000001.png').read_bytes())
    data = build(step)
    assert len(data) == 9 and len(set(VAL_SEQUENCES)) == 9
    assert data[0]['gt_maps']['semseg'].tolist() == [[0, 18], [255, 13]]


def test_clips(step: Path) -> None:
    data = build(step, clip=dict(interval=4, offsets='all', missing='skip'))
    assert [(item['video'], item['time']) for item in data] == [
        *[('0000', 3)] * 4, *[('0000', 4)] * 4, *[('0001', 3)] * 4,
    ]  # fmt: skip
    assert [image[0, 0, 0] for image in data[7]['imgs']] == [10, 30, 40]


def test_a_missing_frame(step: Path) -> None:
    for folder in ('images', 'panoptic_maps'):
        (step / folder / 'train/0000/000001.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'train/0000: frame -2 .* labelled frame 0'):
        build(step, clip=dict(interval=3, offsets=[2], missing='error'))
    skipped = build(step, clip=dict(interval=3, offsets=[2], missing='skip'))
    assert [(item['video'], item['time']) for item in skipped] == [('0000', 4), ('0001', 2), ('0001', 3)]
    repeated = build(step, clip=dict(interval=3, offsets=[2], missing='repeat'))
    assert [[image[0, 0, 0] for image in item['imgs']] for item in repeated][:4] == [
        [0, 0, 0], [0, 20, 20], [20, 20, 30], [20, 30, 40],
    ]  # fmt: skip


def test_a_grey_map_is_named(step: Path, write_image) -> None:
    write_image(step / 'panoptic_maps/train/0000/000000.png', np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match=r'0000/000000\.png: an array of shape \(2, 2\) instead of \(H, W, 3\)'):
        build(step)[0]
    write_image(step / 'panoptic_maps/train/0000/000000.png', np.zeros((2, 2, 3), np.uint16))
    with pytest.raises(ValueError, match=r'0000/000000\.png: .*uint16.*uint8'):
        build(step)[0]
