"""VSPW: void, order in time, and the files that its archive should not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmmtl.config import resolve
from mmmtl.datasets import VSPW
from mmmtl.registry import DATASETS
from mmmtl.tasks.classes import CLASSES

BASE = Path(__file__).parents[2] / 'configs/_base_/datasets/vspw_video_256x448.py'

TASKS = dict(semseg=dict(type='SemanticSegmentation', classes='vspw_124'))
LOAD = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps')]
LABELS = np.array([[0, 1, 2], [124, 254, 255]], np.uint8)
NUMBERS = (226, 228, 230, 233, 235)


@pytest.fixture
def vspw(tmp_path: Path, write_image) -> Path:
    """Two train videos of five frames each, numbered unevenly, and files of macOS."""
    (tmp_path / 'train.txt').write_text('1_abc\n2_def\n')
    for video in ('1_abc', '2_def'):
        for place, number in enumerate(NUMBERS):
            folder = tmp_path / 'data' / video
            write_image(folder / f'origin/{number:08d}.jpg', np.full((2, 3, 3), 40 * place, np.uint8))
            write_image(folder / f'mask/{number:08d}.png', LABELS)
        (folder / f'origin/._{NUMBERS[0]:08d}.jpg').write_bytes(b'\x00\x05\x16\x07')
        (folder / f'mask/._{NUMBERS[0]:08d}.png').write_bytes(b'\x00\x05\x16\x07')
    return tmp_path


def build(root: Path, **kwargs: Any) -> VSPW:
    return VSPW(root, **{'split': 'train', 'pipeline': LOAD, 'metainfo': dict(tasks=TASKS), **kwargs})


def test_labels(vspw: Path) -> None:
    data = build(vspw)
    assert len(data) == 10
    assert data[0]['gt_maps']['semseg'].tolist() == [[255, 0, 1], [123, 255, 255]]
    assert data[0]['gt_maps']['semseg'].dtype == np.uint8
    names = list(CLASSES['vspw_124'])
    assert len(names) == 124
    # As label_num_dic_final.json has them, from 1 on.
    assert [names[i - 1] for i in (1, 29, 49, 61, 67, 124)] == ['wall', 'sky', 'car', 'person', 'tree', 'train']


def test_a_label_out_of_range_is_named(vspw: Path, write_image) -> None:
    path = write_image(vspw / 'data/1_abc/mask/00000226.png', np.array([[1, 125, 253]] * 2, np.uint8))
    with pytest.raises(ValueError, match=rf'{path.name}: labels \[125, 253\] are not in 0\.\.124, 254 or 255'):
        build(vspw)[0]


def test_time_is_counted_in_frames_at_hand(vspw: Path) -> None:
    data = build(vspw, clip=dict(interval=3, offsets=[2], missing='skip'))
    assert [(item['video'], item['time']) for item in data] == [(v, t) for v in ('1_abc', '2_def') for t in (2, 3, 4)]
    greys = [[int(image[0, 0, 0]) for image in item['imgs']] for item in data][:3]
    assert np.abs(np.array(greys) - [[0, 40, 80], [40, 80, 120], [80, 120, 160]]).max() <= 2
    with pytest.raises(FileNotFoundError, match=r'data/1_abc/origin: frame -2 of .* is missing; the clip'):
        build(vspw, clip=dict(interval=3, offsets=[2]))


def test_empty_files_are_left_out_with_a_warning(vspw: Path, caplog: pytest.LogCaptureFixture) -> None:
    (vspw / 'data/1_abc/origin/00000228.jpg').write_bytes(b'')
    (vspw / 'data/2_def/mask/00000235.png').write_bytes(b'')
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        data = build(vspw)
    finally:
        logger.removeHandler(caplog.handler)
    assert '2 empty files are left out, the first is' in caplog.text and '1_abc/origin/00000228.jpg' in caplog.text
    assert [(item['video'], item['time']) for item in data] == [
        *(('1_abc', time) for time in (0, 2, 3, 4)),
        *(('2_def', time) for time in (0, 1, 2, 3)),
    ]
    # It is a gap all the same: of 1_abc, the clip of frame 2 lacks a frame, and frame 4 of 2_def is only seen.
    clips = build(vspw, clip=dict(interval=2, offsets=[1], missing='skip'))
    assert [(item['video'], item['time']) for item in clips] == [('1_abc', 4), ('2_def', 2), ('2_def', 3)]


def test_what_is_not_there(vspw: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'val\.txt: no such list; check data_root and split'):
        build(vspw, split='val')
    (vspw / 'train.txt').write_text('1_abc\n3_ghi\n')
    with pytest.raises(FileNotFoundError, match=r'data/3_ghi/origin: no frames.*train\.txt'):
        build(vspw)


def test_the_base_config_scores_at_the_labels_own_size(vspw: Path) -> None:
    (vspw / 'train.txt').rename(vspw / 'val.txt')
    cfg = resolve(Config.fromfile(BASE))
    loader = cfg.val_dataloader.dataset
    # In steps of 5 there would be frame 0 alone, which has no clip.
    data = DATASETS.build({**loader, 'data_root': str(vspw), 'step': 1, '_scope_': 'mmmtl'})
    assert len(data) == 2 * 5 and {data.get_data_info(i)['time'] for i in range(len(data))} == {4}
    item = data[4]
    assert item['inputs'].shape == (3, 3, 256, 448)
    assert item['data_samples'].offset == 4 and item['data_samples'].gt.semseg.tolist() == [
        [[255, 0, 1], [123, 255, 255]]
    ]
