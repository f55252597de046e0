"""CamVid: names, void, continuous val, stills for training; the real one where it is at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmmtl.datasets import CamVid

TASKS = dict(semseg=dict(type='SemanticSegmentation', classes='camvid_11'))
LOAD = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps')]
PACK = [*LOAD, dict(type='mmmtl.PackMultiTaskInputs')]
STILL = [*LOAD, dict(type='mmmtl.StillToClip'), dict(type='mmmtl.PackMultiTaskInputs')]
REAL = Path(__file__).parents[2] / 'data' / 'camvid_480x360'


def build(root: Path, split: str, **kwargs: Any) -> CamVid:
    return CamVid(root, split=split, **{'pipeline': PACK, 'metainfo': dict(tasks=TASKS), **kwargs})


def test_names_with_and_without_f(camvid: Path) -> None:
    found = [(item['data_samples'].video, item['data_samples'].time) for item in build(camvid, 'train')]
    assert found == [('0001TP', 3345), ('0001TP', 3360), ('0006R0', 465), ('0006R0', 480)]


def test_void_is_ignored(camvid: Path) -> None:
    for number, item in enumerate(build(camvid, 'val')):
        labels = item['data_samples'].gt.semseg
        assert (labels[0, 0] == 255).all() and (labels[0, 1:] == number).all()


def test_val_is_continuous(camvid: Path) -> None:
    assert [item['data_samples'].time for item in build(camvid, 'val')] == [*range(3979, 3986)]
    clips = build(camvid, 'val', clip=dict(interval=3, offsets='all', missing='skip'))
    assert len(clips) == 3 * (7 - 2)
    last = clips[len(clips) - 1]
    assert last['data_samples'].offset == 2
    assert np.abs(last['inputs'][:, 0, 5, 5].numpy().astype(int) - [80, 100, 120]).max() <= 1


def test_frames_of_a_full_rate_extraction(camvid: Path) -> None:
    for path in sorted((camvid / 'val').iterdir()):
        number = int(path.stem[-5:])
        path.rename(path.with_stem(f'0016E5_{(number - 7959) // 2 + 1:05d}'))
    with pytest.raises(ValueError, match=r'0016E5_00003\.webp: .* 0016E5_00002\.webp; set frame_step'):
        build(camvid, 'val')
    for path in sorted((camvid / 'valannot').iterdir()):
        path.rename(path.with_stem(f'0016E5_{(int(path.stem[-5:]) - 7959) // 2 + 1:05d}'))
    assert [item['data_samples'].time for item in build(camvid, 'val', frame_step=1)] == [*range(1, 8)]
    with pytest.raises(ValueError, match='frame_step must be at least 1, not -1'):
        build(camvid, 'val', frame_step=-1)


def test_train_stills_become_clips(camvid: Path) -> None:
    data = build(camvid, 'train', clip=dict(interval=5, still=True), pipeline=STILL)
    assert len(data) == 4
    item = data[0]
    assert item['inputs'].shape == (3, 3, 12, 16) and item['data_samples'].gt.semseg.shape == (1, 12, 16)
    alone = build(camvid, 'train', clip=dict(interval=5, still=True, single=True), pipeline=STILL)
    assert len(alone) == 4 and alone[0]['inputs'].shape == (3, 12, 16)
    assert 'offset' not in alone[0]['data_samples']
    with pytest.raises(FileNotFoundError, match=r"frame 3344 of video '0001TP' is missing"):
        build(camvid, 'train', clip=dict(interval=5))


def test_a_frame_without_a_label_is_only_seen(camvid: Path) -> None:
    (camvid / 'valannot/0016E5_07961.png').unlink()
    assert len(build(camvid, 'val')) == 6
    clips = build(camvid, 'val', clip=dict(interval=2, offsets=[1], missing='skip'))
    assert clips[0]['data_samples'].time == 3981  # from 3979 and the unlabelled 3980


def test_a_label_without_a_frame_is_refused(camvid: Path) -> None:
    (camvid / 'val/0016E5_07961.webp').unlink()
    with pytest.raises(FileNotFoundError, match=r"frame 3980 of video '0016E5' is missing, but there is a label"):
        build(camvid, 'val')


def test_an_absent_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'CamVid found no frame with a label.*nowhere.*check data_root, split'):
        build(tmp_path / 'nowhere', 'val')


@pytest.mark.skipif(not REAL.exists(), reason='data/camvid_480x360 is not there')
def test_real_camvid() -> None:
    train = build(REAL, 'train', clip=dict(interval=5, still=True), pipeline=STILL)
    assert len(train) == 367
    item = train[200]
    assert item['inputs'].shape == (3, 3, 360, 480) and item['inputs'].float().std() > 20
    val = build(REAL, 'val')
    assert len(val) == 101
    samples = [val.get_data_info(i) for i in range(101)]
    assert {sample['video'] for sample in samples} == {'0016E5'}
    assert np.diff([sample['time'] for sample in samples]).tolist() == [1] * 100
    labels = val[50]['data_samples'].gt.semseg
    assert set(labels.unique().tolist()) <= {*range(11), 255} and len(labels.unique()) > 6
    # From frame 4 on, every clip is there.
    assert len(build(REAL, 'val', clip=dict(offsets='all', missing='skip'))) == 5 * (101 - 4)
