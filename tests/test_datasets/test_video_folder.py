"""VideoFolder: its layout, its errors, and house_video where it is at hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmmtl.datasets import VideoFolder

LOAD = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps')]
PACK = [*LOAD, dict(type='mmmtl.PackMultiTaskInputs')]
HOUSE = Path(__file__).parents[2] / 'data' / 'house_video'


@pytest.fixture
def build(video_folder: Path, tasks: dict[str, Any]):
    def make(root: Path = video_folder, tasks: dict[str, Any] = tasks, **kwargs: Any) -> VideoFolder:
        return VideoFolder(root, **{'split': 'train', 'pipeline': LOAD, 'metainfo': dict(tasks=tasks), **kwargs})

    return make


def test_frames_and_maps_of_three_suffixes(build) -> None:
    data = build(split=None)
    found = [(item['video'], item['time'], sorted(item['gt_maps'])) for item in data]
    everything = ['depth', 'normals', 'semseg']
    assert found == [
        *(('one', t, everything) for t in range(6)),
        *(('two', t, everything) for t in range(5)),
        ('three', 4, ['depth', 'semseg']),
    ]
    for item in data:
        assert np.abs(item['imgs'][0].astype(int) - 20 * item['time']).max() <= 1
        maps = item['gt_maps']
        assert maps['semseg'].dtype == np.uint8 and maps['depth'].dtype == np.float32
        assert (maps['semseg'][0] == 255).all() and (maps['semseg'][1:] == item['time'] % 3).all()
        assert not maps['depth'][0].any() and (maps['depth'][1:] == np.float32(1.5)).all()
        if 'normals' in maps:
            assert not maps['normals'][0].any()
            assert np.allclose(maps['normals'][1:], (0, 0, -1), atol=5e-3)
            assert np.allclose(np.linalg.norm(maps['normals'][1:], axis=-1), 1, atol=1e-6)


def test_the_folder_of_the_frames_may_have_another_name(build, video_folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(video_folder, tmp_path / 'copy'))
    (root / 'frames').rename(root / 'rgb')
    data = build(root, images='rgb')
    assert len(data) == len(build()) and data.known_sources() == build().known_sources()
    with pytest.raises(FileNotFoundError, match='copy/frames/'):
        build(root)


def test_frames_without_neighbours_are_no_video(build, video_folder: Path) -> None:
    for folder in ('frames/one', 'semseg/one', 'depth/one', 'normals/one'):
        for path in sorted((video_folder / folder).iterdir(), reverse=True):
            path.rename(path.with_stem(f'{10 * int(path.stem):06d}'))
    for needs in (dict(clip=dict(interval=2, missing='repeat')), dict(whole_videos=True)):
        with pytest.raises(ValueError, match=r'frames/one: the numbers of the frames \(0, 10, 20, ...\).*still=True'):
            build(**needs)
    assert len(build()) == 11
    assert len(build(clip=dict(interval=2, still=True), pipeline=[])) > 0


def test_what_a_sample_holds(build, video_folder: Path) -> None:
    item = build(split='val', pipeline=PACK, clip=dict(interval=3, offsets=[2]))[0]
    assert item['inputs'].shape == (3, 3, 6, 8)
    assert item['inputs'][:, 0, 0, 0].tolist() == [40, 60, 80]
    sample = item['data_samples']
    assert (sample.video, sample.time, sample.offset, sample.slots) == ('three', 4, 2, (-2, -1, 0))
    assert sample.img_path == str(video_folder / 'frames/three/000004.png')
    assert sample.map_paths['depth'] == str(video_folder / 'depth/three/000004.png')
    assert 'normals' not in sample.gt and sample.gt.semseg.dtype == torch.int64


def test_splits(build) -> None:
    assert {item['video'] for item in build()} == {'one', 'two'}
    assert {item['video'] for item in build(split='val')} == {'three'}


def test_source_names_the_folder(build, video_folder: Path, tasks: dict[str, Any]) -> None:
    (video_folder / 'semseg').rename(video_folder / 'labels')
    with pytest.raises(ValueError, match=r"\['semseg'\]"):
        build(tasks=dict(semseg=tasks['semseg']))
    data = build(tasks=dict(semseg=dict(tasks['semseg'], source='labels')))
    assert len(data) == 11 and 'semseg' in data[0]['gt_maps']


def test_capital_suffixes_and_foreign_files(build, video_folder: Path) -> None:
    frame = video_folder / 'frames/one/000001.jpg'
    frame.rename(frame.with_suffix('.JPG'))
    for name in ('notes.txt', '._000002.jpg', 'cover.jpg'):
        (frame.parent / name).write_bytes(b'-')
    assert len(build()) == 11


def rename(video_folder: Path, name: str, *kinds: str) -> None:
    for kind in kinds:
        for path in sorted((video_folder / kind / 'one').iterdir()):
            path.rename(path.with_name(name.format(int(path.stem)) + path.suffix))


@pytest.mark.parametrize('name', ['frame_{:06d}', '{}', 'cam2_{:03d}_1080p', 'F{:d}x'])
def test_names_of_frames(build, video_folder: Path, name: str) -> None:
    rename(video_folder, name, 'frames')
    rename(video_folder, '{:06d}_label', 'semseg', 'depth', 'normals')
    for i in range(6, 12):  # unpadded numbers beyond 9
        shutil.copyfile(*(video_folder / 'frames/one' / f'{name.format(t)}.jpg' for t in (i - 6, i)))
    data = build()
    assert [data.frames.find('one', t).name for t in range(12)] == [f'{name.format(t)}.jpg' for t in range(12)]
    labels = [data.get_data_info(i) for i in range(len(data))][:6]
    assert [(item['video'], item['time'], item['maps']['depth'].name) for item in labels] == [
        ('one', t, f'{t:06d}_label.png') for t in range(6)
    ]


def test_names_that_leave_the_number_open(build, video_folder: Path, write_image) -> None:
    rename(video_folder, 'r-12.{0}-{0:02d}', 'frames')
    with pytest.raises(ValueError, match=r'frames/one/r-12\.0-00\.jpg: 3 numbers in the name'):
        build()
    rename_back = sorted((video_folder / 'frames/one').iterdir())
    for path in rename_back:
        path.rename(path.with_name(f'{int(path.stem[-2:]):06d}.jpg'))
    write_image(video_folder / 'frames/one/thumb_7.jpg', np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r'frames/one/thumb_7\.jpg: .*differs in form from 000000\.jpg'):
        build()


def test_a_map_has_the_number_of_the_frame_of_its_name(build, video_folder: Path) -> None:
    rename(video_folder, 'cam1_{:02d}', 'frames', 'semseg')
    for path in sorted((video_folder / 'semseg/one').iterdir())[:-1]:
        path.unlink()
    data = build(tasks=dict(semseg=dict(type='SemanticSegmentation', classes=['a', 'b', 'c'])))
    assert [data.get_data_info(i)['time'] for i in range(len(data)) if data.get_data_info(i)['video'] == 'one'] == [5]


# Errors


def test_videos_json(build, video_folder: Path) -> None:
    with pytest.raises(
        ValueError, match=r"videos\.json: no video has split 'trian'; the splits are \['train', 'val'\]"
    ):
        build(split='trian')
    path = video_folder / 'videos.json'
    for content, message in (
        ('{"one": ', r'videos\.json: not valid JSON \(.*line 1'),
        ('["one"]', r'videos\.json: must have the form'),
        ('{"one": "train"}', r'videos\.json: must have the form'),
        ('{"one": {}, "one": {}}', r"videos\.json: not valid JSON \(the key 'one' occurs twice"),
        ('{"../one": {}}', r"videos\.json: '\.\./one' is not a folder inside frames"),
        ('{"/one": {}}', r"videos\.json: '/one' is not a folder inside frames"),
        ('{"": {}}', r"videos\.json: '' is not a folder inside frames"),
        ('{"a\\u0000b": {}}', r'videos\.json: .* is not a folder inside frames'),
        ('{"one": {"split": ["train"]}}', r"videos\.json: the split of video 'one' is \['train'\]"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            build()
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r'videos\.json: no such file'):
        build()


def test_a_listed_video_without_frames(build, video_folder: Path) -> None:
    (video_folder / 'frames/two').rename(video_folder / 'frames/zwei')
    with pytest.raises(FileNotFoundError, match=r'frames/two: no frames.*videos\.json'):
        build()


def test_two_files_of_one_frame(build, video_folder: Path, write_image) -> None:
    write_image(video_folder / 'frames/one/000001.png', np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r'000001\.png: .* 000001\.jpg'):
        build()


def test_a_missing_frame(build, video_folder: Path) -> None:
    (video_folder / 'frames/one/000002.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r'frames/one: .*\b2\b.*000002\.png'):
        build()
    (video_folder / 'depth/one/000002.png').unlink()
    (video_folder / 'semseg/one/000002.png').unlink()
    (video_folder / 'normals/one/000002.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'frames/one: .*-?\d+.*clip'):
        build(clip=dict(interval=3, offsets='all'))
    counted = [(item['video'], item['time']) for item in build(clip=dict(interval=3, missing='skip'))]
    # Every labelled frame with the two before it.
    assert counted == [('one', 5), ('two', 2), ('two', 3), ('two', 4)]


def test_a_clip_longer_than_the_video(build) -> None:
    with pytest.raises(FileNotFoundError, match=r"frame -1 of video 'one'.*key_frame_interval"):
        build(clip=dict(interval=6, missing='error'))
    assert len(build(clip=dict(interval=6, missing='repeat'))) == 11
    assert [(item['video'], item['time']) for item in build(clip=dict(interval=6, missing='skip'))] == [('one', 5)]


def test_an_unreadable_frame(build, video_folder: Path) -> None:
    (video_folder / 'frames/one/000000.jpg').write_bytes(b'')
    with pytest.raises(ValueError, match=r'one/000000\.jpg: not a readable image \(0 bytes\)'):
        build()[0]


def test_a_map_of_another_size(build, video_folder: Path, write_image) -> None:
    write_image(video_folder / 'depth/one/000000.png', np.ones((12, 16), np.uint16))
    with pytest.raises(ValueError, match=r"depth/one/000000\.png: the map of task 'depth' has \(12, 16\).*\(6, 8\)"):
        build()[0]


def test_frames_of_two_sizes(build, video_folder: Path, write_image) -> None:
    write_image(video_folder / 'frames/three/000003.png', np.zeros((12, 16, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r'three/000003\.png: \(12, 16\) pixels, but the frame .*000004\.png.*\(6, 8\)'
    ):
        build(split='val', clip=dict(interval=3, offsets=[2]))[0]


def test_a_label_out_of_range(build, video_folder: Path, write_image) -> None:
    write_image(video_folder / 'semseg/one/000000.png', np.full((6, 8), 7, np.uint8))
    with pytest.raises(ValueError, match=r"semseg/one/000000\.png: labels \[7\] of task 'semseg'.* 0\.\.2"):
        build(pipeline=PACK)[0]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (np.zeros((6, 8, 3), np.uint8), r"semseg/one/000000\.png: 3 channels, but a map of task 'semseg'.*palette"),
        (np.full((6, 8), 1500, np.uint16), r"semseg/one/000000\.png: labels \[1500\] of task 'semseg'.* 0\.\.2"),
        (np.zeros((6, 8, 3), np.uint16), r"semseg/one/000000\.png: 3 channels, but a map of task 'semseg'.*palette"),
    ],
)
def test_a_label_file_of_another_kind(
    build, video_folder: Path, write_image, content: np.ndarray, message: str
) -> None:
    write_image(video_folder / 'semseg/one/000000.png', content)
    with pytest.raises(ValueError, match=message):
        build()[0]


# Real data


@pytest.mark.skipif(not HOUSE.exists(), reason='data/house_video is not there')
@pytest.mark.parametrize(('split', 'videos', 'frames'), [('train', 36, 576), ('val', 8, 192)])
def test_house_video(tasks: dict[str, Any], split: str, videos: int, frames: int) -> None:
    tasks['semseg'] = dict(type='SemanticSegmentation', classes='house_13')
    data = VideoFolder(HOUSE, split=split, pipeline=PACK, metainfo=dict(tasks=tasks))
    assert len(data) == frames
    assert len({data.get_data_info(i)['video'] for i in range(frames)}) == videos
    for index in range(5, frames, 97):
        item = data[index]
        gt = item['data_samples'].gt
        assert item['inputs'].shape == (3, 256, 384) and item['inputs'].float().std() > 5
        depth = gt.depth[gt.depth > 0]
        assert len(depth) > 0.9 * 256 * 384 and depth.min() >= 0.36 and depth.max() < 40
        assert 0.5 < depth.median() < 10
        length = gt.normals.norm(dim=0)
        labelled = length > 0
        assert labelled.float().mean() > 0.9 and (length[labelled] - 1).abs().max() < 1e-5
        # Most of what a camera sees faces it: the normal and the ray (0, 0, 1) are opposed in the middle.
        assert gt.normals[2, 128, 192] <= 0
        assert len(gt.semseg.unique()) > 2
    clips = VideoFolder(
        HOUSE, split=split, pipeline=PACK, clip=dict(offsets='all', missing='skip'), metainfo=dict(tasks=tasks)
    )
    # The first four frames of each video lack a clip of offset 4.
    assert len(clips) == 5 * (frames - 4 * videos)
    assert json.loads((HOUSE / 'videos.json').read_text())[clips.get_data_info(0)['video']]['split'] == split
