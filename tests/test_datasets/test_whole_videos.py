"""Whole videos: all frames in order with what labels they have, shared out to processes, with their exact motion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset

from mmmtl.datasets import SyntheticVideo, VideoFolder, VideoSampler, samplers
from mmmtl.datasets.samplers import video_ranges
from mmmtl.datasets.synthetic import Scene, make_scene, render, scene_flow
from mmmtl.datasets.synthetic.scene import CameraPath, Motion, Solid
from mmmtl.evaluation.motion import collision_free, estimate_flow, follow, forward_backward_visible, inside

TASKS = dict(semseg=dict(type='SemanticSegmentation', classes='synthetic'))
PIPELINE = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps'), dict(type='mmmtl.PackMultiTaskInputs')]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Video a: frames 2-7 and 9-10, labels at 4, 6 and 9; video b: frame 0, without a label; video c: frames 0-2."""
    (tmp_path / 'videos.json').write_text('{"a": {}, "b": {}, "c": {}}')
    for video, times, labelled in (('a', [*range(2, 8), 9, 10], (4, 6, 9)), ('b', [0], ()), ('c', range(3), (1,))):
        for time in times:
            path = tmp_path / 'frames' / video / f'{time:06d}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((4, 6, 3), time, dtype=np.uint8))
        for time in labelled:
            path = tmp_path / 'semseg' / video / f'{time:06d}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((4, 6), 1, dtype=np.uint8))
    return tmp_path


def whole(folder: Path, **kwargs: Any) -> VideoFolder:
    return VideoFolder(str(folder), whole_videos=True, pipeline=PIPELINE, metainfo=dict(tasks=TASKS), **kwargs)


def test_all_frames_of_the_labelled_videos_in_order(folder: Path) -> None:
    data = whole(folder)
    samples = [data[i]['data_samples'] for i in range(len(data))]
    expected = [('a', t) for t in (2, 3, 4, 5, 6, 7, 9, 10)] + [('c', t) for t in range(3)]
    assert [(s.video, s.time) for s in samples] == expected
    assert [(s.video, s.time) for s in samples if 'semseg' in s.gt] == [('a', 4), ('a', 6), ('a', 9), ('c', 1)]
    assert [int(data[i]['inputs'][0, 0, 0]) for i in range(len(data))] == [time for _, time in expected]
    assert data[0]['inputs'].shape == (3, 4, 6)
    assert not any('offset' in s or 'flow' in s for s in samples)


def test_a_label_without_an_image(folder: Path) -> None:
    (folder / 'frames' / 'a' / '000006.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'frames/a: .*\b6\b.*000006\.png'):
        whole(folder)
    data = whole(folder, clip=dict(missing='skip'))
    assert [data.get_data_info(i)['time'] for i in range(len(data))] == [2, 3, 4, 5, 7, 9, 10, 0, 1, 2]


def test_a_clip_counts_for_nothing(folder: Path) -> None:
    plain = whole(folder)
    for clip in (dict(interval=5, offsets='all'), dict(interval=100), dict(single=True, missing='skip')):
        assert len(whole(folder, clip=clip)) == len(plain)
    with pytest.raises(ValueError, match=r'clip\.still'):
        whole(folder, clip=dict(still=True))


def test_single_frames_are_no_videos(folder: Path) -> None:
    (folder / 'videos.json').write_text('{"a": {}}')
    for time in (2, 3, 5, 6, 7, 10):
        (folder / 'frames' / 'a' / f'{time:06d}.png').unlink()
    (folder / 'semseg' / 'a' / '000006.png').unlink()
    with pytest.raises(ValueError, match='single frames'):  # 4 and 9
        len(whole(folder))
    (folder / 'frames' / 'a' / '000009.png').unlink()
    (folder / 'semseg' / 'a' / '000009.png').unlink()
    with pytest.raises(ValueError, match='single frames'):
        len(whole(folder))


def test_step_takes_labels_away_and_no_frames(folder: Path) -> None:
    data = whole(folder, step=2)
    assert len(data) == 11
    labelled = [s.time for i in range(len(data)) if 'semseg' in (s := data[i]['data_samples']).gt]
    assert labelled == [4, 9, 1]


# ---------------------------------------------------------------- the sampler


def test_a_gap_ends_a_video(folder: Path) -> None:
    assert video_ranges(whole(folder)) == [range(6), range(6, 8), range(8, 11)]


def test_videos_of_the_same_name_in_two_data_sets(folder: Path) -> None:
    both = ConcatDataset([whole(folder), whole(folder)])
    ranges = video_ranges(both)
    assert [len(r) for r in ranges] == [6, 2, 3, 6, 2, 3]
    assert list(VideoSampler(both)) == list(range(22))


@pytest.mark.parametrize('world_size', [1, 2, 3, 5])
def test_every_video_goes_to_one_process(folder: Path, monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
    data = whole(folder)
    shares = []
    for rank in range(world_size):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, world_size))
        sampler = VideoSampler(data, seed=3)
        shares.append(list(sampler))
        assert len(sampler) == len(shares[-1])
    assert sorted(index for share in shares for index in share) == list(range(11))
    for share in shares:
        assert share == sorted(share), 'in order'
        assert all(len({*video} & {*share}) in (0, len(video)) for video in video_ranges(data)), 'whole'
    # The longest first, to whom has least.
    assert [len(share) for share in shares] == {1: [11], 2: [6, 5], 3: [6, 3, 2], 5: [6, 3, 2, 0, 0]}[world_size]


# ---------------------------------------------------------------- exact motion


def synthetic(**kwargs: Any) -> SyntheticVideo:
    arguments = dict(split='val', num_videos=2, length=4, size=(24, 40), whole_videos=True, metainfo=dict(tasks=TASKS))
    return SyntheticVideo(**{**arguments, 'pipeline': PIPELINE, **kwargs})


def test_a_sample_has_the_motion_from_the_frame_before() -> None:
    data = synthetic(exact_flow=True)
    assert ['flow' in data[i]['data_samples'] for i in range(8)] == [False, True, True, True] * 2
    motion, valid = data.read_flow('val_0001', 1)
    flow = data[6]['data_samples'].flow
    assert flow.shape == (2, 24, 40) and flow.dtype == torch.float32
    assert np.array_equal(flow.permute(1, 2, 0).numpy()[valid], motion[valid])
    assert not any('flow' in data[i]['data_samples'] for data in (synthetic(),) for i in range(8))


def test_the_motion_goes_through_a_resize_alone() -> None:
    load = [*PIPELINE[:2]]
    resized = synthetic(exact_flow=True, pipeline=[*load, dict(type='mmmtl.Resize', size=(12, 20)), PIPELINE[2]])
    assert resized[1]['inputs'].shape == (3, 12, 20)
    assert resized[1]['data_samples'].flow.shape == (2, 24, 40), 'that of the original image'
    cropped = synthetic(exact_flow=True, pipeline=[*load, dict(type='mmmtl.RandomCrop', size=(12, 20)), PIPELINE[2]])
    with pytest.raises(ValueError, match=r'RandomCrop: the motion between frames \(`exact_flow`\) only follows Resize'):
        cropped[1]


def test_without_motion_in_the_files_there_is_none(folder: Path) -> None:
    data = whole(folder, exact_flow=True)
    assert not any('flow' in data[i]['data_samples'] for i in range(len(data)))


def test_motion_that_should_be_there_and_is_not(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(self: VideoFolder, video: str, time: int) -> None:
        raise FileNotFoundError(f'{time}.flo: no such file')

    monkeypatch.setattr(VideoFolder, 'read_flow', absent)
    assert whole(folder)[1]['inputs'] is not None
    with pytest.raises(FileNotFoundError, match=r'2\.flo: no such file\. Or estimate it: dict\(type=.Temporal'):
        whole(folder, exact_flow=True)[1]


@pytest.mark.parametrize('seed', range(4))
def test_the_motion_of_a_scene_is_that_of_its_surfaces(seed: int) -> None:
    """Labels, solids and colours of a frame are found again in the next, where the motion says."""
    scene = make_scene(seed)
    for t in (0, 9):
        first, second = render(scene, t, 96, 160), render(scene, t + 1, 96, 160)
        motion, valid = scene_flow(scene, first, t)
        assert motion.dtype == np.float32 and valid.all()
        flow = torch.from_numpy(motion.transpose(2, 0, 1))
        seen = inside(flow) & collision_free(flow)
        assert seen.float().mean() > 0.95
        for name in ('semseg', 'owner'):
            before, after = (torch.from_numpy(getattr(f, name).astype(np.int64))[None] for f in (first, second))
            # Pixels at the edge of a surface round to either side of it.
            agree = (follow(after, flow) == before)[0][seen].float().mean()
            assert agree > 0.975, (name, t)
        if seed % 2:  # a street, where the camera moves most
            colours = [torch.from_numpy(f.image.transpose(2, 0, 1).astype(np.float64)) for f in (first, second)]
            error = (follow(colours[1], flow) - colours[0]).abs()[:, seen].mean()
            resting = (colours[1] - colours[0]).abs()[:, seen].mean()
            assert error < 0.8 * resting
        # OpenCV finds the same motion in the images.
        grey = [torch.from_numpy(cv2.cvtColor(f.image, cv2.COLOR_BGR2GRAY)) for f in (first, second)]
        forward, backward = estimate_flow(*grey), estimate_flow(*grey[::-1])
        sure = seen & forward_backward_visible(forward, backward)
        assert (forward - flow)[:, sure].norm(dim=0).mean() < 0.35


def test_a_moving_solid_takes_its_pixels_along() -> None:
    """A box swings to the right before a camera at rest; everything else stays."""
    room = make_scene(0)
    texture = room.sky
    motion = Motion(direction=(1.0, 0.0), amplitude=1.0, rate=0.1)
    box = Solid('box', 4, (0.0, -1.0, 5.0), (0.5, 0.5, 0.5), texture, motion=motion)
    camera = CameraPath(centre=(0.0, 0.0), height=1.0)
    scene = Scene(seed=0, camera=camera, solids=(box,), sky=texture)
    frame = render(scene, 0, 48, 80)
    flow, valid = scene_flow(scene, frame, 0)
    on_box = frame.owner == 0
    assert valid.all() and on_box.any() and (frame.depth[on_box] == pytest.approx(4.5, abs=1e-4))
    assert np.abs(flow[~on_box]).max() < 1e-6
    # The focal length is 48 pixels, the face is 4.5 m away and moves by sin(0.1) m.
    for step in (1, 3):
        flow, _ = scene_flow(scene, frame, 0, step)
        expected = [48 * np.sin(0.1 * step) / 4.5, 0]
        assert flow[on_box] == pytest.approx(np.broadcast_to(expected, (on_box.sum(), 2)), abs=1e-4)


def test_a_moving_camera_leaves_a_solid_behind() -> None:
    """A camera without turns passes a box at rest: it moves the other way, by the focal length over its distance."""
    texture = make_scene(0).sky
    box = Solid('box', 4, (0.0, -1.0, 5.0), (0.5, 0.5, 0.5), texture)
    camera = CameraPath(centre=(0.0, 0.0), height=1.0, reach=(1.0, 0.0))
    scene = Scene(seed=0, camera=camera, solids=(box,), sky=texture)
    frame = render(scene, 2, 48, 80)
    on_box = frame.owner == 0
    assert on_box.any()
    for step in (1, 3):
        way = camera.pose(2 + step)[:2, 3] - camera.pose(2)[:2, 3]
        assert abs(way[0]) > 0.03 * step
        flow, _ = scene_flow(scene, frame, 2, step)
        assert flow[on_box] == pytest.approx(np.broadcast_to(-48 * way / 4.5, (on_box.sum(), 2)), abs=1e-4)
