"""The base of the data sets: clips of frames that may be missing, randomness, wrappers, what reaches a checkpoint."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import ConcatDataset, RepeatDataset
from torch.utils.data import DataLoader

from mmmtl.config import resolve
from mmmtl.datasets import Draw, Frame, InfiniteDrawSampler, MultiTaskDataset

PACK = [dict(type=f'mmmtl.{name}') for name in ('LoadFrames', 'LoadMaps', 'PackMultiTaskInputs')]
METAINFO = dict(tasks=dict(depth=dict(type='DepthEstimation', max_depth=100.0)))


class Numbers(MultiTaskDataset):
    """Videos in memory: {video: existing frames}; a frame's image and depth hold its number."""

    def __init__(self, videos: Mapping[str, Any], *, labelled: Any = None, **kwargs: Any):
        self.videos, self.labelled = videos, labelled
        super().__init__(**{'metainfo': METAINFO, **kwargs})

    def load_frames(self) -> Iterator[Frame]:
        for video, times in self.videos.items():
            labelled = times if self.labelled is None else self.labelled
            for time in dict.fromkeys([*labelled, *times]):
                reference = (video, time)
                yield Frame(
                    video, time, reference if time in times else None, {'depth': reference} if time in labelled else {}
                )

    def read_image(self, reference: tuple[str, int]) -> np.ndarray:
        return np.full((4, 6, 3), reference[1], dtype=np.uint8)

    def read_map(self, source: str, reference: tuple[str, int]) -> np.ndarray:
        return np.full((4, 6), 1 + reference[1], dtype=np.float32)


def times(item: dict[str, Any]) -> list[int]:
    return [time for _, time in item['frames']]


def offsets_and_times(data: MultiTaskDataset) -> list[tuple[int, int, list[int]]]:
    return [(item['time'], item['offset'], times(item)) for item in data]


def draws_of(item: dict[str, Any]) -> list[float]:
    return item['rng'].random(4).tolist()


# Items


def test_an_image_model_on_videos_sees_single_labelled_frames() -> None:
    data = Numbers({'v': range(4)}, labelled=[1, 3])
    assert [times(item) for item in data] == [[1], [3]]
    item = data[1]
    assert item['maps'] == {'depth': ('v', 3)} and item['sample_idx'] == 1 and list(item['tasks']) == ['depth']
    assert not {'offset', 'slots'} & set(item)


def test_all_offsets_of_every_frame() -> None:
    data = Numbers({'v': range(9)}, labelled=[6, 8], clip=dict(interval=3, offsets='all'))
    assert offsets_and_times(data) == [
        (6, 0, [6, 5, 6]),
        (6, 1, [5, 4, 6]),
        (6, 2, [4, 5, 6]),
        (8, 0, [8, 7, 8]),
        (8, 1, [7, 6, 8]),
        (8, 2, [6, 7, 8]),
    ]
    assert [data[i]['slots'] for i in range(3)] == [(None, -1, 0), (-1, -2, 0), (-2, -1, 0)]


@pytest.mark.parametrize(('offsets', 'count'), [('all', 10), ('random', 2), ([0, 3], 4), ([2], 2)])
def test_number_of_items(offsets: Any, count: int) -> None:
    assert len(Numbers({'v': range(9)}, labelled=[6, 8], clip=dict(interval=5, offsets=offsets))) == count
    assert len(Numbers({'v': range(9)}, labelled=[6, 8], clip=dict(interval=5, offsets=offsets, still=True))) == count


def test_random_offsets_come_from_the_draw_and_reach_all() -> None:
    data = Numbers({'v': range(9)}, labelled=[8], clip=dict(interval=5))
    offsets = [data[Draw(0, number)]['offset'] for number in range(60)]
    assert set(offsets) == set(range(5))
    assert offsets == [data[Draw(0, number)]['offset'] for number in range(60)]


def test_a_still_has_one_image_and_the_slots_of_its_offset() -> None:
    data = Numbers({'v': [7]}, clip=dict(interval=5, offsets='all', still=True))
    assert [(item['offset'], item['slots'], times(item)) for item in data][2:4] == [
        (2, (-2, -1, 0), [7]),
        (3, (-3, -1, 0), [7]),
    ]


def test_step_takes_every_nth_labelled_frame_of_each_video() -> None:
    data = Numbers({'a': range(5), 'b': range(3, 7)}, step=3)
    assert [(item['video'], item['time']) for item in data] == [('a', 0), ('a', 3), ('b', 3), ('b', 6)]


def test_indices_and_negative_indices() -> None:
    data = Numbers({'v': range(6)}, indices=[4, 1])
    assert [times(item) for item in data] == [[4], [1]]
    assert times(Numbers({'v': range(6)}, indices=2)[-1]) == [1]
    whole = Numbers({'v': range(6)})
    assert times(whole[-1]) == [5] and draws_of(whole[-1]) == draws_of(whole[5])


def test_lazy_init() -> None:
    data = Numbers({'v': range(3)}, lazy_init=True)
    assert not data._fully_initialized
    assert times(data[2]) == [2] and len(data) == 3


# Frames that are missing


def test_missing_error_names_frame_clip_and_way_out() -> None:
    videos = {'v': [0, 1, 2, 4, 5, 6]}
    with pytest.raises(
        FileNotFoundError, match=r"frame 3 of video 'v' is missing.*labelled frame 5.*offset 1.*'repeat'"
    ):
        Numbers(videos, labelled=[5], clip=dict(interval=3, offsets='all', missing='error'))
    # Clips that do not need frame 3 are accepted.
    assert len(Numbers(videos, labelled=[5], clip=dict(interval=3, offsets=[0], missing='error'))) == 1


def test_missing_skip_leaves_out_a_frame_at_all_offsets_alike() -> None:
    data = Numbers({'v': [0, 1, 2, 4, 5, 6]}, clip=dict(interval=3, offsets='all', missing='skip'))
    # Frames 1 and 5 have the clip of offset 0 alone, 0 and 4 have none.
    assert offsets_and_times(data) == [
        (2, 0, [2, 1, 2]),
        (2, 1, [1, 0, 2]),
        (2, 2, [0, 1, 2]),
        (6, 0, [6, 5, 6]),
        (6, 1, [5, 4, 6]),
        (6, 2, [4, 5, 6]),
    ]


@pytest.mark.parametrize('offsets', [[0], [1], [2, 0], [3], 'all', 'random'])
def test_missing_skip_leaves_the_same_frames_whichever_offsets_are_asked_for(offsets: Any) -> None:
    # Offset 0 needs the frame before, 1 and 2 the two before, 3 the one before and the third.
    videos = {'v': [0, 1, 2, 4, 5, 6, 7]}
    data = Numbers(videos, clip=dict(interval=4, offsets=offsets, missing='skip'))
    assert {item['time'] for item in data} == {7}
    assert len(data) == (1 if offsets == 'random' else len(data.items.clip.possible_offsets))


def test_missing_skip_with_random_offsets_draws_from_all() -> None:
    data = Numbers({'v': [0, 1, 2, 4, 5, 6]}, labelled=[4, 5, 6], clip=dict(interval=3, missing='skip'))
    assert len(data) == 1 and data[0]['time'] == 6
    assert {data[Draw(0, number)]['offset'] for number in range(30)} == {0, 1, 2}


# The current frame alone


CLIPS = [
    dict(interval=3, offsets='all', missing='skip'),
    dict(interval=3, offsets='random', missing='skip', no_history=0.5),
    dict(interval=3, offsets=[0], missing='skip'),
    dict(interval=3, offsets='all', missing='repeat'),
    dict(interval=3, offsets='random', still=True),
]
FRAMES = [[2, 6], [2, 6], [2, 6], None, None]


@pytest.mark.parametrize(('clip', 'expected'), [*zip(CLIPS, FRAMES, strict=True)])
def test_single_gives_the_labelled_frames_of_the_clips_once(clip: dict, expected: list[int] | None) -> None:
    videos = {'v': [0, 1, 2, 4, 5, 6]}
    single = Numbers(videos, clip=dict(clip, single=True))
    found = [item['time'] for item in single]
    assert found == (expected or videos['v'])
    assert [times(item) for item in single] == [[time] for time in found]
    assert sorted({item['time'] for item in Numbers(videos, clip=clip)}) == found
    for item in single:
        assert not {'offset', 'offsets', 'slots'} & set(item)
        assert item['maps'] == {'depth': ('v', item['time'])}


def test_single_draws_nothing_for_the_clip() -> None:
    videos = {'v': range(6)}
    single = Numbers(videos, labelled=[5], clip=dict(no_history=0.5, single=True))
    assert draws_of(single[Draw(0, 7, 1)]) == draws_of(Numbers(videos, labelled=[5])[Draw(0, 7, 1)])


def test_single_refuses_a_missing_frame_as_clips_do() -> None:
    with pytest.raises(FileNotFoundError, match=r"\b3\b.*'v'.*\b4\b"):
        Numbers({'v': [0, 1, 2, 4]}, labelled=[4], clip=dict(interval=3, missing='error', single=True))


def test_single_reaches_the_sample_of_an_image_model() -> None:
    data = Numbers({'v': range(4)}, labelled=[3], pipeline=PACK, clip=dict(interval=3, single=True))
    item = data[0]
    assert item['inputs'].shape == (3, 4, 6) and (item['inputs'] == 3).all()
    assert not {'offset', 'slots'} & set(item['data_samples'].metainfo_keys())


# The beginning of a video


def test_no_history_repeats_the_current_frame_in_so_many_draws() -> None:
    data = Numbers({'v': range(9)}, labelled=[8], clip=dict(interval=5, no_history=0.25))
    items = [data[Draw(0, number)] for number in range(800)]
    without = [item for item in items if item['slots'][1] == 0]
    assert abs(len(without) - 200) < 4 * (800 * 0.25 * 0.75) ** 0.5  # four standard deviations, 49
    for item in items:
        key, _, _ = usual = data.items.clip.slots(item['offset'])
        assert item['slots'] in (usual, (key, 0, 0))
        assert times(item) == [8 + (slot or 0) for slot in item['slots']]
    assert {item['offset'] for item in without} == set(range(5))


def test_no_history_follows_the_draw() -> None:
    data = Numbers({'v': range(9)}, labelled=[7, 8], clip=dict(interval=5, no_history=0.5))
    found = [data[Draw(0, number, 3)]['slots'] for number in range(40)]
    np.random.seed(0)  # noqa: NPY002
    assert [data[Draw(0, number, 3)]['slots'] for number in range(40)] == found
    assert [data[Draw(0, number, 4)]['slots'] for number in range(40)] != found


def test_no_history_compares_one_number_of_the_draw_with_it() -> None:
    data = Numbers({'v': range(9)}, labelled=[8], clip=dict(interval=5, offsets=[2], no_history=0.3))
    for number in range(30):
        first = np.random.default_rng((5, number)).random()
        assert data[Draw(0, number, 5)]['slots'] == (-2, -1 if first >= 0.3 else 0, 0)


@pytest.mark.parametrize('offsets', ['random', [2]])
def test_without_no_history_nothing_is_drawn_for_it(offsets: Any) -> None:
    data = Numbers({'v': range(9)}, labelled=[8], clip=dict(interval=3, offsets=offsets))
    rng = np.random.default_rng((5, 1))
    if offsets == 'random':
        rng.integers(3)
    item = data[Draw(0, 1, 5)]
    assert item['slots'] == data.items.clip.slots(item['offset'])
    assert draws_of(item) == rng.random(4).tolist()


def test_no_history_of_an_interval_of_one() -> None:
    data = Numbers({'v': range(3)}, clip=dict(interval=1, no_history=0.5))
    assert {item['slots'] for item in data} == {(None, 0, 0)}


def test_no_history_of_stills() -> None:
    data = Numbers({'v': [7]}, clip=dict(interval=5, still=True, no_history=0.5))
    assert {data[Draw(0, number)]['slots'][1] == 0 for number in range(20)} == {True, False}


# The share of key frames


@pytest.mark.parametrize('share', [0, 0.6, 1])
def test_key_frames_is_the_share_of_offset_0(share: float) -> None:
    data = Numbers({'v': range(9)}, labelled=[8], clip=dict(interval=5, offsets='random', key_frames=share))
    counts = np.bincount([data[Draw(0, number)]['offset'] for number in range(800)], minlength=5)
    expected = 800 * np.array([share, *[(1 - share) / 4] * 4])
    # Four standard deviations; none where an offset must always or never be drawn.
    assert (abs(counts - expected) <= 4 * (expected * (1 - expected / 800)) ** 0.5).all()


# Other ways with missing frames


def test_missing_repeat_takes_the_next_frame_towards_the_current_one() -> None:
    data = Numbers({'v': [3, 5, 6]}, clip=dict(interval=5, offsets='all', missing='repeat'))
    found = {(time, offset): clip for time, offset, clip in offsets_and_times(data)}
    assert len(found) == 15
    assert found[5, 1] == [5, 3, 5]  # 4 is missing, 3 is there
    assert found[6, 2] == [5, 5, 6]  # 4 is missing: 5
    assert found[6, 3] == [3, 5, 6]
    assert found[6, 4] == [3, 5, 6]  # 2 is missing: 3
    assert found[3, 4] == [3, 3, 3]  # nothing is before 3
    assert data[3]['slots'] == (-3, -1, 0)


@pytest.mark.parametrize('clip', [None, dict(missing='error'), dict(missing='repeat'), dict(still=True)])
def test_a_label_without_its_frame_is_an_error(clip: dict | None) -> None:
    with pytest.raises(FileNotFoundError, match=r"\b9\b.*'v'"):
        Numbers({'v': range(8)}, labelled=[6, 9], clip=clip)


def test_a_label_without_its_frame_is_skipped_with_its_clips() -> None:
    assert [item['time'] for item in Numbers({'v': range(8)}, labelled=[6, 9], clip=dict(missing='skip'))] == [6]


@pytest.mark.parametrize('single', [False, True])
def test_a_clip_longer_than_the_video_is_an_error(single: bool) -> None:
    with pytest.raises(FileNotFoundError, match=r"frame -1 of video 'v'.*key_frame_interval"):
        Numbers({'v': range(4)}, labelled=[3], clip=dict(interval=5, single=single))
    # With an interval of 2 the clip of offset 1 reaches two frames back.
    with pytest.raises(FileNotFoundError, match=r"frame -1 of video 'v'"):
        Numbers({'v': range(2)}, labelled=[1], clip=dict(interval=2, single=single))
    assert len(Numbers({'v': range(5)}, labelled=[4], clip=dict(interval=5, single=single))) == 1


def test_a_video_shorter_than_a_clip_is_skipped_or_repeated() -> None:
    videos = {'short': range(4), 'long': range(6)}
    skipped = Numbers(videos, clip=dict(interval=5, missing='skip'))
    assert [(item['video'], item['time']) for item in skipped] == [('long', 4), ('long', 5)]
    repeated = Numbers(videos, clip=dict(interval=5, offsets=[4], missing='repeat'))
    assert [times(item) for item in repeated][:4] == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [0, 2, 3]]
    assert len(repeated) == 10
    assert len(Numbers({'v': range(4)}, clip=dict(interval=4, missing='skip'))) == 1
    assert len(Numbers({'v': range(5)}, clip=dict(interval=5, offsets=[0], missing='skip'))) == 1


def test_frames_without_neighbours_make_no_clips() -> None:
    with pytest.raises(ValueError, match='no frame has a predecessor'):
        Numbers({'v': [0, 10, 20], 'w': [5]}, clip=dict(missing='repeat'))
    assert len(Numbers({'v': [0, 10, 20], 'w': [5, 6]}, clip=dict(missing='repeat'))) > 0
    assert len(Numbers({'v': [0, 10], 'w': [5]}, clip=dict(missing='repeat'))) == 3  # two frames may be all of a video
    assert len(Numbers({'v': [0, 10, 20]})) == 3
    assert len(Numbers({'v': [0, 10, 20]}, clip=dict(interval=1, offsets='all'))) == 3  # reads no other frame


def test_step_is_for_videos() -> None:
    with pytest.raises(ValueError, match='step=2 is for videos'):
        Numbers({'a': [0], 'b': [0], 'c': [0]}, step=2)
    assert len(Numbers({'a': [0], 'b': [7]}, step=2)) == 2  # frame 7 shows that these are videos


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(ValueError, match="clip.*'skip'.*'repeat'"):
        Numbers({'v': [0, 10, 20]}, clip=dict(missing='skip'))
    with pytest.raises(ValueError, match=r"\['depth'\].*data_root, split"):
        Numbers({'v': []})
    with pytest.raises(ValueError, match=r"label of \['z'\]"):
        Numbers({'v': [1]}, metainfo=dict(tasks=dict(depth=dict(type='DepthEstimation', max_depth=9.0, source='z'))))


@pytest.mark.parametrize('metainfo', [None, {}, dict(tasks={})])
def test_unresolved_names_the_call(metainfo: dict | None) -> None:
    with pytest.raises(ValueError, match=r'Numbers.*tasks.*resolve\(cfg\)'):
        Numbers({'v': [1]}, metainfo=metainfo)


def test_step_below_one() -> None:
    with pytest.raises(ValueError, match='step.*0'):
        Numbers({'v': [1]}, step=0)


# Randomness


def test_randomness_is_a_function_of_seed_and_number() -> None:
    data = Numbers({'v': range(6)})
    first = draws_of(data[Draw(2, 7, 1)])
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    assert draws_of(data[Draw(2, 7, 1)]) == first
    assert draws_of(data[Draw(5, 7, 1)]) == first  # of the draw, not of the item
    others = [draws_of(data[draw]) for draw in (Draw(2, 8, 1), Draw(2, 7, 2), Draw(2, 1, 7), Draw(2, 0, 1))]
    assert all(a != b for i, a in enumerate([first, *others]) for b in others[i:])
    assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002
    assert (torch.get_rng_state() == before[1]).all()


def test_without_a_draw_the_item_is_its_own_number() -> None:
    data = Numbers({'v': range(6)})
    assert draws_of(data[3]) == draws_of(data[3]) == draws_of(data[Draw(1, 3, 0)]) != draws_of(data[4])


def test_draws_survive_wrappers() -> None:
    data = Numbers({'v': range(4)})
    repeated = RepeatDataset(data, times=3)
    assert times(repeated[Draw(9, 50, 3)]) == [1]
    assert draws_of(repeated[Draw(9, 50, 3)]) == draws_of(data[Draw(1, 50, 3)]) != draws_of(data[1])
    both = ConcatDataset([Numbers({'w': range(5)}), data])
    item = both[Draw(5 + 2, 70, 3)]
    assert (item['video'], times(item)) == ('v', [2])
    assert draws_of(item) == draws_of(data[Draw(2, 70, 3)])


def test_workers_change_nothing() -> None:
    pipeline = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps'), dict(type='mmmtl.RandomZoom', zooms=[1, 2])]
    pipeline += [dict(type='mmmtl.ColorJitter'), dict(type='mmmtl.PackMultiTaskInputs')]

    def batches(workers: int) -> list[tuple[np.ndarray, int, np.ndarray]]:
        data = Numbers({'v': range(9)}, labelled=[5, 6, 7], clip=dict(interval=3), pipeline=pipeline)
        loader = DataLoader(
            data,
            sampler=InfiniteDrawSampler(data, seed=4),
            batch_size=2,
            collate_fn=list,
            num_workers=workers,
            multiprocessing_context='fork' if workers else None,
        )
        items = [item for _, batch in zip(range(6), loader, strict=False) for item in batch]
        return [(i['inputs'].numpy(), i['data_samples'].offset, i['data_samples'].gt.depth.numpy()) for i in items]

    alone, helped = batches(0), batches(2)
    assert len(alone) == 12 and len({a.tobytes() for a, *_ in alone}) > 6
    for (a, b, c), (x, y, z) in zip(alone, helped, strict=True):
        assert np.array_equal(a, x) and b == y and np.array_equal(c, z)


# Metainfo


def is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return type(value) is dict and all(map(is_plain, value.values()))
    return not isinstance(value, (list, tuple)) or all(map(is_plain, value))


@pytest.mark.parametrize('kind', [dict, ConfigDict])
def test_metainfo_is_plain_and_passes_the_safe_loader(kind: type) -> None:
    metainfo = kind(tasks=ConfigDict(semseg=dict(type='SemanticSegmentation', classes=['a', 'b'], source='depth')))
    data = Numbers({'v': [1]}, metainfo=metainfo)
    assert is_plain(data.metainfo) and data.metainfo['tasks']['semseg']['classes'] == ['a', 'b']
    file = io.BytesIO()
    torch.save({'meta': {'dataset_meta': data.metainfo}}, file)
    file.seek(0)
    assert torch.load(file, weights_only=True)['meta']['dataset_meta'] == data.metainfo


def test_metainfo_of_a_resolved_config_is_plain() -> None:
    cfg = Config(dict(METAINFO, train_dataloader=dict(dataset=dict(type='Numbers'))))
    metainfo = resolve(cfg).train_dataloader.dataset.metainfo
    assert is_plain(Numbers({'v': [1]}, metainfo=metainfo).metainfo)


def test_transforms_are_found_without_a_default_scope() -> None:
    code = (
        'from mmmtl.registry import DATASETS\n'
        "tasks = {'semseg': {'type': 'SemanticSegmentation', 'classes': 'synthetic'}}\n"
        "pipeline = [{'type': name} for name in ('LoadFrames', 'LoadMaps', 'PackMultiTaskInputs')]\n"
        "data = dict(type='SyntheticVideo', split='val', num_videos=1, length=2, size=(16, 32), pipeline=pipeline)\n"
        "print(tuple(DATASETS.build({**data, 'metainfo': {'tasks': tasks}})[0]['inputs'].shape))\n"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout == '(3, 16, 32)\n', done.stderr
