"""Cityscapes-DVPS and SemKITTI-DVPS: names, ids, depth, and the frames between the labelled ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmmtl.datasets import CityscapesDVPS, SemKITTIDVPS

LOAD = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps')]
CITYSCAPES = dict(
    semseg=dict(type='SemanticSegmentation', classes='cityscapes_19'),
    depth=dict(type='DepthEstimation', max_depth=80.0),
)
SEMKITTI = dict(CITYSCAPES, semseg=dict(type='SemanticSegmentation', classes='semantickitti_19'))
IDS = np.array([[0, 10, 18], [11000, 13007, 18999], [32, 32, 255]], np.uint16)
DEPTH = np.array([[0, 256, 384]] * 3, np.uint16)


def grey(value: int) -> np.ndarray:
    return np.full((3, 3, 3), value, np.uint8)


@pytest.fixture
def cityscapes_dvps(tmp_path: Path, write_image) -> Path:
    """A short snippet, labelled at 4, 9 and 14, and one of a long sequence, at 279 and 284, with the frames between."""
    folder = tmp_path / 'video_sequence/train'
    for seq, video, labelled in (('000000', 'lindau_000003', (4, 9, 14)), ('000001', 'frankfurt_000000', (279, 284))):
        for place, time in enumerate(labelled):
            stem = f'{seq}_{place:06d}_{video}_{time:06d}'
            write_image(folder / f'{stem}_leftImg8bit.png', grey(time % 256))
            write_image(folder / f'{stem}_gtFine_instanceTrainIds.png', IDS)
            write_image(folder / f'{stem}_depth.png', DEPTH)
        city = video.split('_')[0]
        for time in range(labelled[0] - 4, labelled[-1]):
            if time not in labelled:
                name = f'{video}_{time:06d}_leftImg8bit.png'
                write_image(tmp_path / f'leftImg8bit_sequence/val/{city}/{name}', grey(time % 256))
    return tmp_path


def build(root: Path, **kwargs: Any) -> CityscapesDVPS:
    return CityscapesDVPS(root, **{'split': 'train', 'pipeline': LOAD, 'metainfo': dict(tasks=CITYSCAPES), **kwargs})


def test_ids_and_depth(cityscapes_dvps: Path) -> None:
    data = build(cityscapes_dvps)
    assert [(item['video'], item['time']) for item in data] == [
        ('000000', 4), ('000000', 9), ('000000', 14), ('000001', 279), ('000001', 284),
    ]  # fmt: skip
    maps = data[0]['gt_maps']
    assert maps['semseg'].tolist() == [[0, 10, 18], [11, 13, 18], [255, 255, 255]]
    assert maps['depth'].dtype == np.float32 and maps['depth'][0].tolist() == [0, 1, 1.5]


def test_labels_of_8_bits_are_classes_without_instances(cityscapes_dvps: Path, write_image) -> None:
    (file,) = cityscapes_dvps.rglob('*_000004_gtFine_instanceTrainIds.png')
    write_image(file, np.array([[0, 10, 18], [1, 2, 3], [255, 255, 255]], np.uint8))
    assert build(cityscapes_dvps)[0]['gt_maps']['semseg'].tolist() == [[0, 10, 18], [1, 2, 3], [255, 255, 255]]


def test_clips_with_the_frames_between(cityscapes_dvps: Path) -> None:
    data = build(cityscapes_dvps, clip=dict(interval=5, offsets=[4], missing='error'))
    assert [[int(image[0, 0, 0]) for image in item['imgs']] for item in data] == [
        [0, 3, 4], [5, 8, 9], [10, 13, 14], [275 - 256, 278 - 256, 279 - 256], [280 - 256, 283 - 256, 284 - 256],
    ]  # fmt: skip
    name = 'leftImg8bit_sequence/val/frankfurt/frankfurt_000000_000280_leftImg8bit.png'
    (cityscapes_dvps / name).unlink()
    with pytest.raises(FileNotFoundError, match=r'leftImg8bit_sequence/val/frankfurt: frame 280 .* labelled frame 284'):
        build(cityscapes_dvps, clip=dict(interval=5, offsets=[4]))


def test_clips_of_labelled_frames(cityscapes_dvps: Path) -> None:
    clip = dict(interval=3, offsets=[2], missing='skip')
    data = build(cityscapes_dvps, frame_step=5, clip=clip)
    assert [[int(image[0, 0, 0]) for image in item['imgs']] for item in data] == [[4, 9, 14]]
    with pytest.raises(ValueError, match='frame_step.*0'):
        build(cityscapes_dvps, frame_step=0)
    with pytest.raises(ValueError, match=r'000000_000001_lindau_000003_000009_.* 000000_000000_'):
        build(cityscapes_dvps, frame_step=10)


def test_other_depth_and_labels_are_named(cityscapes_dvps: Path, write_image) -> None:
    stem = cityscapes_dvps / 'video_sequence/train/000000_000000_lindau_000003_000004'
    write_image(stem.with_name(f'{stem.name}_depth.png'), DEPTH.astype(np.uint8))
    with pytest.raises(ValueError, match=r'_depth\.png: uint8 instead of uint16'):
        build(cityscapes_dvps)[0]


def test_semkitti(tmp_path: Path, write_image) -> None:
    folder = tmp_path / 'video_sequence/val'
    for time in range(3):
        stem = f'000008_{time:06d}'
        write_image(folder / f'{stem}_leftImg8bit.png', grey(10 * time))
        write_image(folder / f'{stem}_gtFine_class.png', np.array([[0, 18, 255]] * 3, np.uint8))
        write_image(folder / f'{stem}_gtFine_instance.png', np.array([[7, 0, 0]] * 3, np.uint16))
        write_image(folder / f'{stem}_depth_718.8560180664062.png', DEPTH)
    (folder / '000008_000001_gtFine_class.png').unlink()
    arguments = dict(split='val', pipeline=LOAD, metainfo=dict(tasks=SEMKITTI))
    data = SemKITTIDVPS(tmp_path, **arguments)
    assert [sorted(item['gt_maps']) for item in data] == [['depth', 'semseg'], ['depth'], ['depth', 'semseg']]
    assert data[0]['gt_maps']['semseg'][0].tolist() == [0, 18, 255]
    assert data[0]['gt_maps']['depth'][0].tolist() == [0, 1, 1.5]
    names = data.tasks['semseg'].classes
    assert (names[0], names[8], names[18]) == ('car', 'road', 'traffic-sign')
    clips = SemKITTIDVPS(tmp_path, **arguments, clip=dict(interval=2, offsets=[1], missing='skip'))
    assert [[int(image[0, 0, 0]) for image in item['imgs']] for item in clips] == [[10, 0, 20]]
    with pytest.raises(FileNotFoundError, match=r"video_sequence/val: frame -1 of video '000008' is missing"):
        SemKITTIDVPS(tmp_path, **arguments, clip=dict(interval=2, offsets=[1]))
