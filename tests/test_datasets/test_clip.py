"""Frame arithmetic of clips, by hand."""

from __future__ import annotations

import pytest

from mmmtl.datasets import Clip

SLOTS = {
    1: [(None, 0, 0)],
    2: [(None, -1, 0), (-1, -2, 0)],
    5: [(None, -1, 0), (-1, -2, 0), (-2, -1, 0), (-3, -1, 0), (-4, -1, 0)],
}


@pytest.mark.parametrize('interval', SLOTS)
def test_slots_are_those_listed_by_hand(interval: int) -> None:
    clip = Clip(interval=interval, offsets='all')
    assert [clip.slots(offset) for offset in clip.possible_offsets] == SLOTS[interval]


@pytest.mark.parametrize('interval', [1, 2, 3, 5, 7])
def test_slots_hold_frames_of_the_right_kind(interval: int) -> None:
    for now in range(2 * interval, 4 * interval):
        last_key, last_non_key, _ = Clip(interval=interval).slots(now % interval)
        earlier = range(now - 1, -1, -1)
        expected_key = next(t for t in earlier if t % interval == 0) if now % interval else None
        expected_non_key = next((t for t in earlier if t % interval), now)
        assert (None if last_key is None else now + last_key) == expected_key
        assert now + last_non_key == expected_non_key


def test_offsets() -> None:
    assert Clip(interval=3, offsets='all').possible_offsets == [0, 1, 2]
    assert Clip(interval=3, offsets='random').possible_offsets == [0, 1, 2]
    assert Clip(interval=3, offsets=(2, 0)).possible_offsets == [2, 0]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(interval=0), r'key_frame_interval.*at least 1, not 0'),
        (dict(missing='pad'), r"clip\.missing.*'pad'"),
        (dict(offsets='some'), r"clip\.offsets.*'some'"),
        (dict(interval=3, offsets=[1, 3]), r'clip\.offsets \[3\] are not in 0\.\.2'),
        (dict(offsets=[0.9, 3.9]), r'clip\.offsets.*whole.*\[0\.9, 3\.9\]'),
        (dict(offsets=[]), r'clip\.offsets.*at least one'),
        (dict(offsets=[1, 1]), r'clip\.offsets.*once'),
        (dict(no_history=1), r'clip\.no_history.*below 1, not 1'),
        (dict(key_frames=1.5), r'clip\.key_frames.*probability, not 1\.5'),
        (dict(key_frames=-0.1), r'clip\.key_frames.*not -0\.1'),
        (dict(key_frames=0.5, offsets='all'), r"clip\.key_frames.*'random'"),
        (dict(key_frames=0.5, interval=1), r'clip\.key_frames.*key_frame_interval above 1'),
        (dict(no_history=-0.1), r'clip\.no_history.*not -0\.1'),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Clip(**arguments)


def test_the_length_reaches_back_to_the_oldest_frame() -> None:
    # With an interval of 2, the last non-key frame of offset 1 is two back.
    assert [Clip(interval=interval).length for interval in (1, 2, 5)] == [1, 3, 5]
    assert Clip(interval=5, offsets=[0]).length == 2
