"""Key-frame policies."""

from __future__ import annotations

import pytest
import torch

from mmmtl.models.segmentors import FixedInterval
from mmmtl.registry import MODELS
from mmmtl.structures import StreamState


def state(*frames: int) -> StreamState:
    known = torch.ones(len(frames), dtype=torch.bool)
    return StreamState(has_key=known, has_non_key=known, frames=torch.tensor(frames))


@pytest.mark.parametrize(
    ('interval', 'expected'), [(1, [1, 1, 1, 1, 1, 1, 1]), (2, [1, 0, 1, 0, 1, 0, 1]), (3, [1, 0, 0, 1, 0, 0, 1])]
)
def test_every_interval_th_frame_is_a_key_frame(interval, expected):
    assert FixedInterval(interval).is_key_frame(state(*range(7))).tolist() == [bool(flag) for flag in expected]


def test_rows_are_judged_one_by_one():
    assert FixedInterval(5).is_key_frame(state(0, 3, 5, 9, 10)).tolist() == [True, False, True, False, True]


def test_the_default_is_the_papers_and_the_flags_are_on_the_cpu():
    policy = MODELS.build(dict(type='FixedInterval'))
    assert policy.interval == 5
    flags = policy.is_key_frame(state(0))
    assert flags.dtype == torch.bool
    assert flags.device.type == 'cpu'


@pytest.mark.parametrize('interval', [0, -3])
def test_an_interval_below_one_is_refused(interval):
    with pytest.raises(ValueError, match=f'interval must be at least 1, not {interval}'):
        FixedInterval(interval)


class Never:
    """No key frames but those that must be."""

    def is_key_frame(self, state: StreamState) -> torch.Tensor:
        return torch.zeros(len(state), dtype=torch.bool)


class Scripted:
    """Key frames at given frame numbers of each row."""

    def __init__(self, *times: set[int]) -> None:
        self.times = times

    def is_key_frame(self, state: StreamState) -> torch.Tensor:
        return torch.tensor([int(frame) in times for frame, times in zip(state.frames, self.times, strict=True)])


def test_a_stream_without_a_key_frame_gets_one_whatever_the_policy_says(tiny):
    model = tiny.video_model(key_frame_policy=dict(type=Never))
    video = tiny.pixels(4, 2, 3, *tiny.SIZE)
    with torch.no_grad():
        _, state = model.stream_logits(video[0])
        assert state.has_key.tolist() == [True, True]
        assert state.has_non_key.tolist() == [False, False]
        first = state.key['depth.features']
        _, state = model.stream_logits(video[1], state)
        assert state.has_non_key.tolist() == [True, True]
        torch.testing.assert_close(state.key['depth.features'], first)
        _, state = model.stream_logits(video[2], state.reset([1]))
    assert state.has_non_key.tolist() == [True, False]
    torch.testing.assert_close(state.key['depth.features'][0], first[0])
    assert not torch.allclose(state.key['depth.features'][1], first[1])


def test_an_irregular_policy_chooses_the_network_of_each_row(tiny):
    """Every row equals the clip whose last key frame and last non-key frame the policy's choices make."""
    model = tiny.video_model(key_frame_policy=dict(type=Scripted))
    model.key_frame_policy = Scripted({0, 2, 3}, {0, 4})
    video = tiny.pixels(6, 2, 3, *tiny.SIZE)
    before = [[(None, None), (0, None), (None, 1), (None, 1), (3, 1), (3, 4)]]
    before += [[(None, None), (0, None), (0, 1), (0, 2), (None, 3), (4, 3)]]
    state = None
    with torch.no_grad():
        for time in range(6):
            logits, state = model.stream_logits(video[time], state)
            for row in range(2):
                key, non_key = before[row][time]
                frames = [tiny.pixels(3, *tiny.SIZE) if t is None else video[t, row] for t in (key, non_key, time)]
                is_key = time in model.key_frame_policy.times[row]
                (sample,) = tiny.clip_samples([0 if is_key else 1], [(key is not None, non_key is not None, True)])
                expected = model.logits(torch.stack(frames)[None], [sample])
                tiny.assert_same({n: v[row] for n, v in logits.items()}, {n: v[0] for n, v in expected.items()})
