"""SyntheticVideo: splits, laziness, determinism, and what its sources hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmmtl.datasets import Draw, SyntheticVideo
from mmmtl.datasets.synthetic import make_scene, render, scene, scene_flow
from mmmtl.datasets.synthetic import video as synthetic_video
from mmmtl.datasets.synthetic.video import FrameReference
from mmmtl.tasks.classes import CLASSES

TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes='synthetic'),
    depth=dict(type='DepthEstimation', max_depth=40.0),
    normals=dict(type='SurfaceNormals'),
)
LOAD = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps')]
PACK = [*LOAD, dict(type='mmmtl.PackMultiTaskInputs')]


def build(**kwargs: Any) -> SyntheticVideo:
    arguments = dict(split='train', num_videos=2, length=6, size=(24, 40), pipeline=LOAD, metainfo=dict(tasks=TASKS))
    return SyntheticVideo(**{**arguments, **kwargs})


def test_the_class_list_is_that_of_the_scenes() -> None:
    assert [getattr(scene, name.upper()) for name in CLASSES['synthetic']] == [*range(7)]


def test_splits_share_no_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: dict[str, list[int]] = {}
    original = synthetic_video.make_scene
    for split in ('train', 'val', 'test'):
        seeds[split] = []

        def remember(seed: int, split: str = split) -> Any:
            seeds[split].append(seed)
            return original(seed)

        monkeypatch.setattr(synthetic_video, 'make_scene', remember)
        build(split=split, num_videos=3, length=1)
    assert [len(set(found)) for found in seeds.values()] == [3, 3, 3]
    assert len(set().union(*seeds.values())) == 9
    images = [build(split=split, num_videos=1, length=1)[0]['imgs'][0] for split in seeds]
    assert not any(np.array_equal(images[i], images[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    with pytest.raises(ValueError, match="split.*'test', 'train', 'val'.*'dev'"):
        build(split='dev')


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The times of the frames that are rendered."""
    times: list[int] = []
    monkeypatch.setattr(synthetic_video, 'render', lambda *given: (times.append(given[1]), render(*given))[1])
    return times


def test_frames_are_rendered_when_asked_for_and_kept(rendered: list[int]) -> None:
    data = build()
    assert not rendered and len(data) == 12
    data[2], data[2], data[8]
    assert rendered == [2, 2]  # of two videos


# The last one makes room for the next: the second time 0 is there, 1 takes the place of 2, and 2 that of 1.
@pytest.mark.parametrize(('kept', 'expected'), [(3, [0, 1, 2]), (2, [0, 1, 2, 1, 2]), (0, [0, 1, 2, 0, 1, 2])])
def test_frames_are_kept_up_to_so_much_memory(
    rendered: list[int], monkeypatch: pytest.MonkeyPatch, kept: int, expected: list[int]
) -> None:
    # Bytes: 3 of the image, 1 of labels, 4 of depth, 12 of normals, 2 of the solid and 1 of what moves.
    monkeypatch.setattr(synthetic_video, 'KEPT_BYTES', kept * 24 * 40 * 23)
    data = build()
    first = [data[i]['imgs'][0] for i in range(3)]
    again = [data[i]['imgs'][0] for i in range(3)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len(data._rendered) == max(kept, 1) and rendered == expected


def test_frame_step_takes_every_nth_frame() -> None:
    data, faster = build(split='val', length=7), build(split='val', length=3, frame_step=3)
    for time in range(3):
        assert np.array_equal(faster[time]['imgs'][0], data[3 * time]['imgs'][0])
        depth = [d.read_map('depth', FrameReference('val_0001', t)) for d, t in ((faster, time), (data, 3 * time))]
        assert np.array_equal(*depth)
    flow, valid = faster.read_flow('val_0000', 1)
    scene = make_scene(1_000_000)
    expected = scene_flow(scene, render(scene, 3, 24, 40), 3, 3)
    assert np.array_equal(flow, expected[0]) and np.array_equal(valid, expected[1])
    with pytest.raises(ValueError, match='frame_step.*not 0'):
        build(frame_step=0)


def test_a_pixel_of_a_frame_has_so_many_bytes() -> None:
    frame = render(make_scene(0), 0, 24, 40)
    arrays = (frame.image, frame.semseg, frame.depth, frame.normals, frame.owner, frame.moving)
    assert sum(array.nbytes for array in arrays) == synthetic_video.BYTES_PER_PIXEL * 24 * 40


def test_deterministic_and_safe_from_changes() -> None:
    data, again = build(), build()
    first = data[3]
    second = again[3]
    assert np.array_equal(first['imgs'][0], second['imgs'][0])
    for name in TASKS:
        assert np.array_equal(first['gt_maps'][name], second['gt_maps'][name])
    kept = first['imgs'][0].copy(), first['gt_maps']['depth'].copy()
    first['imgs'][0][:], first['gt_maps']['depth'][:] = 0, 0
    assert np.array_equal(data[3]['imgs'][0], kept[0]) and np.array_equal(data[3]['gt_maps']['depth'], kept[1])


def test_sources_are_the_frame() -> None:
    item = build()[7]
    frame = render(make_scene(1), 1, 24, 40)
    assert np.array_equal(item['imgs'][0], frame.image)
    assert all(np.array_equal(item['gt_maps'][name], getattr(frame, name)) for name in TASKS)
    assert (item['img_path'], item['map_paths']['depth']) == ('train_0001/000001', 'train_0001/000001')


def test_clips_and_step() -> None:
    data = build(step=2, pipeline=PACK, clip=dict(interval=3, offsets='all', missing='skip'))
    # Frames 0, 2 and 4 of two videos; frame 0 has no clip.
    found = [(item['data_samples'].video, item['data_samples'].time, item['data_samples'].offset) for item in data]
    assert found == [(f'train_000{v}', t, o) for v in range(2) for t in (2, 4) for o in range(3)]
    alone = build()
    for slot, time in enumerate((2, 3, 4)):
        assert np.array_equal(data[5]['inputs'][slot].numpy().transpose(1, 2, 0), alone[time]['imgs'][0])
    with pytest.raises(FileNotFoundError, match=r"frame -1 of video 'train_0000'"):
        build(clip=dict(interval=7))
    assert len(build(clip=dict(interval=7, missing='repeat'))) == 12


@pytest.mark.parametrize('still', [True, False])
def test_a_sample_is_a_function_of_its_draw(still: bool) -> None:
    pipeline = [*LOAD, *([dict(type='mmmtl.StillToClip')] if still else []), dict(type='mmmtl.RandomRotate')]
    pipeline += [
        dict(type='mmmtl.RandomZoom'),
        dict(type='mmmtl.RandomFlip'),
        dict(type='mmmtl.RandomCrop', size=(16, 24)),
    ]
    pipeline += [dict(type='mmmtl.ColorJitter'), dict(type='mmmtl.PackMultiTaskInputs')]
    data = build(pipeline=pipeline, num_videos=1, clip=dict(interval=3, missing='repeat', still=still))

    def sample(draw: Draw) -> bytes:
        np.random.seed(draw.number)  # noqa: NPY002
        torch.manual_seed(draw.number)
        item = data[draw]
        maps = [item['data_samples'].gt.get(name).numpy().tobytes() for name in TASKS]
        return b''.join([item['inputs'].numpy().tobytes(), *maps, bytes([item['data_samples'].offset])])

    draws = [Draw(4, number, seed) for seed in (0, 1) for number in range(10)]
    first = [sample(draw) for draw in draws]
    assert [sample(draw) for draw in reversed(draws)] == first[::-1]
    assert len(set(first)) == len(draws)
