"""Key-frame policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from mmmtl.models.segmentors import CostBudget, FixedInterval, FrameChange, KeyFramePolicy
from mmmtl.registry import MODELS
from mmmtl.structures import StreamState


def state(*frames: int) -> StreamState:
    known = torch.ones(len(frames), dtype=torch.bool)
    number = torch.tensor(frames)
    return StreamState(has_key=known, has_non_key=known, frames=number, key_frames=number)


def frames_of(*levels: float) -> torch.Tensor:
    """Images of one grey level each."""
    return torch.tensor(levels, dtype=torch.float64).view(-1, 1, 1, 1).expand(-1, 3, 32, 64)


def run(policy: KeyFramePolicy, levels: Sequence[Sequence[float]], state: StreamState | None = None) -> list[list[int]]:
    """Which frames of each row are key frames: the model's use of a policy, without its networks."""
    state = state or StreamState.new(len(levels[0]))
    chosen = []
    for row in levels:
        frames = frames_of(*row)
        is_key = policy.is_key_frame(state, frames) | ~state.has_key
        assert is_key.dtype == torch.bool
        assert is_key.device.type == 'cpu'
        memory = policy.remember(state, frames, is_key)
        assert {tensor.device.type for tensor in memory.values()} <= {'cpu'}
        assert {len(tensor) for tensor in memory.values()} <= {len(state)}
        state = replace(state, has_key=state.has_key | is_key, frames=state.frames + 1, policy=memory)
        chosen.append(is_key.int().tolist())
    return [list(row) for row in zip(*chosen, strict=True)]


@pytest.mark.parametrize(
    ('interval', 'expected'), [(1, [1, 1, 1, 1, 1, 1, 1]), (2, [1, 0, 1, 0, 1, 0, 1]), (3, [1, 0, 0, 1, 0, 0, 1])]
)
def test_every_interval_th_frame_is_a_key_frame(interval, expected):
    assert FixedInterval(interval).is_key_frame(state(*range(7)), frames_of(0)).tolist() == [
        bool(flag) for flag in expected
    ]


def test_rows_are_judged_one_by_one():
    assert FixedInterval(5).is_key_frame(state(0, 3, 5, 9, 10), frames_of(0)).tolist() == [
        True,
        False,
        True,
        False,
        True,
    ]


def test_the_default_is_the_papers_and_the_flags_are_on_the_cpu():
    policy = MODELS.build(dict(type='FixedInterval'))
    assert policy.interval == 5
    flags = policy.is_key_frame(state(0), frames_of(0))
    assert flags.dtype == torch.bool
    assert flags.device.type == 'cpu'


@pytest.mark.parametrize('interval', [0, -3])
def test_an_interval_below_one_is_refused(interval):
    with pytest.raises(ValueError, match=f'interval.*{interval}'):
        FixedInterval(interval)


class Never(KeyFramePolicy):
    """Only the key frames that must be."""

    def is_key_frame(self, state: StreamState, frames: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(state), dtype=torch.bool)


class Scripted(KeyFramePolicy):
    """Key frames at given frame numbers of each row."""

    def __init__(self, *times: set[int]) -> None:
        self.times = times

    def is_key_frame(self, state: StreamState, frames: torch.Tensor) -> torch.Tensor:
        return torch.tensor([int(frame) in times for frame, times in zip(state.frames, self.times, strict=True)])


def test_a_stream_without_a_key_frame_gets_one_whatever_the_policy_says(tiny):
    model = tiny.video_model(key_frame_policy=dict(type=Never))
    video = tiny.pixels(4, 2, 3, *tiny.SIZE)
    with torch.no_grad():
        state = model.step(video[0]).state
        assert state.has_key.tolist() == [True, True]
        assert state.has_non_key.tolist() == [False, False]
        first = state.key['depth.features']
        state = model.step(video[1], state).state
        assert state.has_non_key.tolist() == [True, True]
        torch.testing.assert_close(state.key['depth.features'], first)
        state = model.step(video[2], state.reset([1])).state
    assert state.has_non_key.tolist() == [True, False]
    torch.testing.assert_close(state.key['depth.features'][0], first[0])
    assert not torch.allclose(state.key['depth.features'][1], first[1])


def test_an_irregular_policy_chooses_the_network_of_each_row(tiny):
    """Every row equals the clip whose last key frame and last non-key frame the policy's choices make.

    The current frame stands for a missing non-key frame; a key frame reads no other one, here None.
    """
    model = tiny.video_model(key_frame_policy=dict(type=Scripted))
    model.key_frame_policy = Scripted({0, 2, 3}, {0, 4})
    video = tiny.pixels(6, 2, 3, *tiny.SIZE)
    before = [[(None, 0), (0, 1), (None, 1), (None, 1), (3, 1), (3, 4)]]
    before += [[(None, 0), (0, 1), (0, 1), (0, 2), (None, 3), (4, 3)]]
    state = None
    with torch.no_grad():
        for time in range(6):
            logits, _, state = model.step(video[time], state)
            for row in range(2):
                key, non_key = before[row][time]
                frames = [tiny.pixels(3, *tiny.SIZE) if t is None else video[t, row] for t in (key, non_key, time)]
                is_key = time in model.key_frame_policy.times[row]
                (sample,) = tiny.clip_samples([0 if is_key else 1])
                expected = model.logits(torch.stack(frames)[None], [sample])
                tiny.assert_same({n: v[row] for n, v in logits.items()}, {n: v[0] for n, v in expected.items()})


# ---------------------------------------------------------------- FrameChange


def test_a_frame_that_changed_since_the_last_key_frame_is_one() -> None:
    # A slow change adds up: it is measured from the last key frame, not from the last frame.
    levels = [[0.0], [0.1], [0.2], [0.3], [0.4], [0.5], [0.5], [2.0], [2.0], [0.5]]
    assert run(FrameChange(0.25), levels) == [[1, 0, 0, 1, 0, 0, 0, 1, 0, 1]]
    assert run(FrameChange(10.0), levels) == [[1] + [0] * 9]
    # At the threshold itself nothing has changed.
    assert run(FrameChange(0.5), [[0.0], [0.5], [0.75]]) == [[1, 0, 1]]


def test_a_key_frame_is_never_older_than_the_longest_interval() -> None:
    assert run(FrameChange(1.0, max_interval=3), [[0.0]] * 8) == [[1, 0, 0, 1, 0, 0, 1, 0]]
    # An early one begins the interval anew.
    levels = [[0.0], [0.0], [5.0], [5.0], [5.0], [5.0], [5.0]]
    assert run(FrameChange(1.0, max_interval=3), levels) == [[1, 0, 1, 0, 0, 1, 0]]
    assert run(FrameChange(1.0, max_interval=1), levels) == [[1] * 7]


def test_the_change_is_the_mean_over_the_thumbnail() -> None:
    policy = FrameChange(0.2, size=(2, 2))
    first, second = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    second[:, 0, :4, :4] = 2.4  # one cell of four, one channel of three: 0.2 on average
    start = StreamState.new(1)
    memory = policy.remember(start, first, torch.tensor([True]))
    later = replace(start, frames=start.frames + 1, policy=memory)
    assert policy.is_key_frame(later, second).tolist() == [False]
    assert policy.is_key_frame(later, 1.01 * second).tolist() == [True]


# ---------------------------------------------------------------- CostBudget


def test_key_frames_come_as_often_as_the_budget_allows() -> None:
    zeros = [[0.0]] * 9
    # K frames cost 4 + (K - 1): 8 in 5 frames is 1.6 a frame; 5 in 2 frames is 2.5.
    assert run(CostBudget(1.6, key_cost=4.0, non_key_cost=1.0), zeros) == [[1, 0, 0, 0, 0, 1, 0, 0, 0]]
    assert run(CostBudget(2.5, key_cost=4.0, non_key_cost=1.0), zeros) == [[1, 0, 1, 0, 1, 0, 1, 0, 1]]
    # Between two intervals they take turns: 3 key frames every 7 frames is (3 * 4 + 4) / 7.
    assert run(CostBudget(16 / 7, key_cost=4.0, non_key_cost=1.0), zeros) == [[1, 0, 0, 1, 0, 1, 0, 1, 0]]
    assert run(CostBudget(4.0, key_cost=4.0, non_key_cost=1.0), zeros) == [[1] * 9]
    assert run(CostBudget(1.0, key_cost=4.0, non_key_cost=1.0), zeros) == [[1] + [0] * 8]


@pytest.mark.parametrize('interval', range(2, 11))
def test_a_budget_of_an_interval_is_that_interval(interval: int) -> None:
    """Costs of MILA on Cityscapes, in GMAC; rounding moves no key frame over hundreds of frames."""
    key, non_key = 114.8, 58.1
    policy = CostBudget((key + (interval - 1) * non_key) / interval, key_cost=key, non_key_cost=non_key)
    assert run(policy, [[0.0]] * 300) == [[int(t % interval == 0) for t in range(300)]]


@pytest.mark.parametrize('inner', [None, dict(type='FrameChange', threshold=0.5)])
@pytest.mark.parametrize('burst', [1.0, 3.0])
def test_the_average_never_exceeds_the_budget(inner: dict | None, burst: float) -> None:
    key, non_key, budget = 5.0, 2.0, 2.7
    policy = CostBudget(budget, key_cost=key, non_key_cost=non_key, policy=inner, burst=burst)
    levels = torch.randn(400, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).cumsum(0) / 3
    for row in run(policy, levels.tolist()):
        costs = torch.where(torch.tensor(row) == 1, key, non_key).double().cumsum(0)
        assert (costs <= key + budget * torch.arange(400) + 1e-6).all()
        # The credit is used if something changes all the time.
        assert costs[-1] / 400 > budget - 0.2


def test_credit_is_saved_for_when_the_picture_changes() -> None:
    levels = [[0.0]] * 12 + [[1.0], [2.0], [3.0], [4.0], [5.0]]
    arguments = dict(budget=2.0, key_cost=4.0, non_key_cost=1.0, policy=dict(type='FrameChange', threshold=0.5))
    # 4 saved: 4 + 2 - 4 = 2, 2 + 2 - 4 = 0, then the next waits for 2 + 1 + 1.
    assert run(CostBudget(**arguments), levels) == [[1] + [0] * 11 + [1, 1, 0, 0, 1]]
    assert run(CostBudget(**arguments, burst=2.0), levels) == [[1] + [0] * 11 + [1, 1, 1, 1, 0]]


def test_measured_time_takes_the_place_of_the_declared() -> None:
    policy = CostBudget(2.0, key_cost=4.0, non_key_cost=1.0)
    frames, state = frames_of(0.0, 0.0), StreamState.new(2)
    chosen = []
    for _ in range(9):
        is_key = policy.is_key_frame(state, frames)
        chosen.append(is_key.int().tolist())
        state = replace(state, frames=state.frames + 1, policy=policy.remember(state, frames, is_key))
        # Key frames of the second stream take 6 and not 4.
        state = policy.settle(state, torch.where(is_key, torch.tensor([4.0, 6.0]), 1.0))
    first, second = zip(*chosen, strict=True)
    assert first == (1, 0, 0, 1, 0, 0, 1, 0, 0)
    # In debt by 2 after the first: 6 + 4 * 1 in 5 frames is 2 a frame.
    assert second == (1, 0, 0, 0, 0, 1, 0, 0, 0)


def test_a_measured_cost_is_a_number_or_one_of_each_stream() -> None:
    policy = CostBudget(2.0, key_cost=4.0, non_key_cost=1.0)
    frames, new = frames_of(0.0, 0.0), StreamState.new(2)
    state = replace(new, frames=new.frames + 1, policy=policy.remember(new, frames, torch.ones(2, dtype=torch.bool)))
    for cost, paid in ((3, [3.0, 3.0]), ([3.0, 5.5], [3.0, 5.5]), (torch.tensor([1.0, 2.0]), [1.0, 2.0])):
        settled = policy.settle(state, cost)
        assert settled.policy['paid'].tolist() == paid
        assert settled.policy['credit'].tolist() == [4.0 - one for one in paid]
    for wrong in ([1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match=r'a number or \(2,\)'):
            policy.settle(state, wrong)
    with pytest.raises(ValueError, match='this state has seen none'):
        policy.settle(new, 3)


def test_a_policy_in_a_budget_has_a_memory_of_its_own() -> None:
    budget = dict(type='CostBudget', budget=2.0, key_cost=4.0, non_key_cost=1.0)
    with pytest.raises(ValueError, match='another CostBudget'):
        MODELS.build({**budget, 'policy': budget})

    policy = CostBudget(2.0, key_cost=4.0, non_key_cost=1.0, policy=dict(type='FixedInterval', interval=2))
    policy.policy.remember = lambda state, frames, is_key: {'paid': torch.zeros(len(frames))}
    with pytest.raises(ValueError, match=r"FixedInterval\.remember returned \['paid'\]"):
        policy.remember(StreamState.new(1), frames_of(0.0), torch.ones(1, dtype=torch.bool))


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: FrameChange(-0.1), 'threshold must not be negative, not -0.1'),
        (lambda: FrameChange(0.1, max_interval=0), 'max_interval must be at least 1 or None, not 0'),
        (lambda: CostBudget(0.5, key_cost=4.0, non_key_cost=1.0), 'non_key_cost <= budget <= key_cost, not 1.0, 0.5'),
        (lambda: CostBudget(5.0, key_cost=4.0, non_key_cost=1.0), 'non_key_cost <= budget <= key_cost, not 1.0, 5.0'),
        (lambda: CostBudget(2.0, key_cost=4.0, non_key_cost=1.0, burst=0.5), 'burst must be at least 1'),
    ],
)
def test_what_a_policy_refuses(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# ---------------------------------------------------------------- in the model

POLICIES = {
    'change': dict(type='FrameChange', threshold=0.6, max_interval=4, size=(2, 4)),
    'budget': dict(type='CostBudget', budget=2.2, key_cost=4.0, non_key_cost=1.0),
    'both': dict(
        type='CostBudget',
        budget=2.2,
        key_cost=4.0,
        non_key_cost=1.0,
        burst=2.0,
        policy=dict(type='FrameChange', threshold=0.1, size=(2, 4)),
    ),
}


@pytest.mark.parametrize('policy', POLICIES.values(), ids=POLICIES)
def test_a_batch_of_streams_is_each_alone(tiny, policy: dict) -> None:
    """Row 1 begins anew at frame 3; the state is cut, joined, saved and loaded on the way."""
    model = tiny.video_model(key_frame_policy=policy)
    video = tiny.pixels(9, 3, 3, *tiny.SIZE, seed=3).cumsum(0)
    batch, state = [], None
    with torch.no_grad():
        for time, frames in enumerate(video):
            if time == 3:
                state = state.reset([1])
            if time == 5:
                state = StreamState.from_state_dict(
                    StreamState.cat([state.select([0]), state.select([1, 2])]).state_dict()
                )
            logits, _, state = model.step(frames, state)
            batch.append((logits, state.key_frames.tolist()))
        counts = set()
        for row, start in ((0, 0), (1, 3), (2, 0)):
            alone = None
            for time in range(start, 9):
                logits, _, alone = model.step(video[time, row : row + 1], alone)
                tiny.assert_same({n: v[row : row + 1] for n, v in batch[time][0].items()}, logits)
                assert alone.key_frames.tolist() == [batch[time][1][row]]
            counts.add(int(alone.key_frames))
            assert 1 < int(alone.key_frames) < int(alone.frames)
    assert len(counts) > 1, 'the streams differ'


@pytest.mark.parametrize('policy', POLICIES.values(), ids=POLICIES)
def test_a_policy_is_kept_in_a_saved_state(tiny, policy: dict) -> None:
    model = tiny.video_model(key_frame_policy=policy)
    video = tiny.pixels(8, 1, 3, *tiny.SIZE, seed=3).cumsum(0)
    state = saved = None
    with torch.no_grad():
        for time, frames in enumerate(video):
            if time == 4:
                saved = StreamState.from_state_dict(state.to('cpu').state_dict())
            state = model.step(frames, state).state
        for frames in video[4:]:
            saved = model.step(frames, saved).state
    assert saved.key_frames.tolist() == state.key_frames.tolist()
    for name, tensor in state.policy.items():
        torch.testing.assert_close(saved.policy[name], tensor)


@pytest.mark.gpu
@pytest.mark.parametrize('policy', POLICIES.values(), ids=POLICIES)
def test_what_a_policy_remembers_stays_on_the_cpu(tiny, policy: dict) -> None:
    video = tiny.pixels(6, 2, 3, *tiny.SIZE, seed=3).cumsum(0).float()
    chosen = []
    for device in ('cpu', 'cuda'):
        model, state = tiny.video_model(key_frame_policy=policy).float().to(device), None
        with torch.no_grad():
            for frames in video:
                state = model.step(frames.to(device), state).state
        assert {tensor.device.type for tensor in state.policy.values()} == {'cpu'}
        chosen.append(state.key_frames.tolist())
    assert chosen[0] == chosen[1]


class Answers(KeyFramePolicy):
    """A policy whose answer a test sets."""

    answer: Any = None
    memory: Any = None

    def is_key_frame(self, state: StreamState, frames: torch.Tensor) -> Any:
        return torch.ones(len(frames), dtype=torch.bool) if self.answer is None else self.answer

    def remember(self, state: StreamState, frames: torch.Tensor, is_key: torch.Tensor) -> Any:
        return {} if self.memory is None else {'seen': self.memory}


@pytest.mark.parametrize(
    ('answer', 'found'),
    [
        (True, 'True'),
        (torch.ones(2), r'torch\.float32 \(2,\)'),
        (torch.ones(1, dtype=torch.bool), r'torch\.bool \(1,\)'),
    ],
)
def test_the_answer_of_a_policy_is_checked(tiny, answer: Any, found: str) -> None:
    model = tiny.video_model(key_frame_policy=dict(type=Answers))
    model.key_frame_policy.answer = answer
    with pytest.raises(ValueError, match=rf'Answers\.is_key_frame returned {found}; it must return bool \(2,\)'):
        model.step(tiny.pixels(2, 3, *tiny.SIZE))


@pytest.mark.parametrize(
    ('memory', 'found'),
    [
        (torch.zeros(3, 2), r'\(3, 2\) on cpu'),
        (torch.tensor(0.0), r'\(\) on cpu'),
        (torch.zeros(2, device='meta'), r'\(2,\) on meta'),
        ([0, 0], r'\[0, 0\]'),
    ],
)
def test_the_memory_of_a_policy_is_checked(tiny, memory: Any, found: str) -> None:
    model = tiny.video_model(key_frame_policy=dict(type=Answers))
    model.key_frame_policy.memory = memory
    expected = rf'Answers\.remember returned seen={found}; it must return tensors \(2, \.\.\.\) on the CPU'
    with pytest.raises(ValueError, match=expected):
        model.step(tiny.pixels(2, 3, *tiny.SIZE))


def test_a_policy_of_another_kind_is_refused(tiny) -> None:
    with pytest.raises(ValueError, match='key_frame_policy: Linear is not a KeyFramePolicy'):
        tiny.video_model(key_frame_policy=dict(type=torch.nn.Linear, in_features=1, out_features=1))
