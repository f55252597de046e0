"""The state of streams: rows are reset, selected, moved, saved and loaded; flags stay on the CPU."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mmmtl.structures import FrameResult, StreamState

FLAGS = ('has_key', 'has_non_key', 'frames', 'key_frames')
SLOTS = ('key', 'non_key', 'policy')


def make_state() -> StreamState:
    """Three streams; every memory holds the number of its row."""
    rows = torch.arange(3.0)
    return StreamState(
        has_key=torch.tensor([True, True, False]),
        has_non_key=torch.tensor([True, False, False]),
        frames=torch.tensor([7, 1, 0]),
        key_frames=torch.tensor([2, 1, 0]),
        key={'features': rows.view(3, 1, 1, 1).expand(3, 2, 4, 5).clone(), 'embedded': 10 + rows.view(3, 1)},
        non_key={'features': 20 + rows.view(3, 1)},
        policy={'credit': 30 + rows},
        resolution=(64, 128),
    )


def values(state: StreamState) -> dict[str, Any]:
    """Everything as nested lists."""
    memory = {f'{slot}.{name}': t.tolist() for slot in SLOTS for name, t in getattr(state, slot).items()}
    return {**{name: getattr(state, name).tolist() for name in FLAGS}, **memory, 'resolution': state.resolution}


def test_new_streams_have_seen_nothing() -> None:
    state = StreamState.new(2)

    assert len(state) == 2
    assert values(state) == dict(
        has_key=[False] * 2, has_non_key=[False] * 2, frames=[0, 0], key_frames=[0, 0], resolution=None
    )
    assert (state.has_key.dtype, state.has_non_key.dtype, state.frames.dtype) == (torch.bool, torch.bool, torch.int64)
    assert state.key == state.non_key == {}
    # The flags are copies.
    assert state.has_key.data_ptr() != state.has_non_key.data_ptr()


@pytest.mark.parametrize(
    'rows', [[0, 2], (2, 0), torch.tensor([0, 2]), torch.tensor([True, False, True]), [True, False, True]]
)
def test_reset_forgets_those_rows_alone(rows: Any) -> None:
    state = make_state()
    before = values(state)
    reset = state.reset(rows)

    assert reset.has_key.tolist() == [False, True, False]
    assert reset.has_non_key.tolist() == [False, False, False]
    assert reset.frames.tolist() == [0, 1, 0]
    assert reset.key_frames.tolist() == [0, 1, 0]
    # The memory of the other streams is kept, and the old state does not change.
    assert reset.key['features'][1].tolist() == state.key['features'][1].tolist()
    assert reset.resolution == (64, 128)
    assert values(state) == before


@pytest.mark.parametrize('rows', [[], torch.tensor([False] * 3)])
def test_reset_of_nothing_changes_nothing(rows: Any) -> None:
    assert values(make_state().reset(rows)) == values(make_state())


@pytest.mark.parametrize(
    ('rows', 'expected'),
    [
        ([2, 0], [2, 0]),
        ([1], [1]),
        ([0, 0, 1, 2], [0, 0, 1, 2]),
        (torch.tensor([2, 1]), [2, 1]),
        (torch.tensor([True, False, True]), [0, 2]),
        ([], []),
    ],
)
def test_select_takes_rows_in_their_order(rows: Any, expected: list[int]) -> None:
    state, chosen = make_state(), make_state().select(rows)

    assert len(chosen) == len(expected)
    for name in FLAGS:
        assert getattr(chosen, name).tolist() == [getattr(state, name).tolist()[row] for row in expected]
    assert chosen.key['features'].shape == (len(expected), 2, 4, 5)
    assert chosen.key['features'][:, 0, 0, 0].tolist() == expected
    assert chosen.key['embedded'][:, 0].tolist() == [10 + row for row in expected]
    assert chosen.non_key['features'][:, 0].tolist() == [20 + row for row in expected]
    assert chosen.policy['credit'].tolist() == [30 + row for row in expected]
    assert chosen.resolution == (64, 128)


def test_a_mask_is_for_all_streams() -> None:
    with pytest.raises(ValueError, match=r'mask.*\(2,\).*\(3,\)'):
        make_state().reset(torch.tensor([True, False]))
    with pytest.raises(IndexError):
        make_state().select([3])


@pytest.mark.parametrize('rows', [0, torch.tensor(1), [[0, 1]], [0.5], torch.zeros(3)])
def test_rows_are_a_list(rows: Any) -> None:
    for method in (make_state().select, make_state().reset):
        with pytest.raises(ValueError, match='rows must be a list'):
            method(rows)


def test_what_is_no_state_is_refused_by_its_type() -> None:
    state, frames = make_state(), torch.zeros(3, 3, 64, 128)
    assert StreamState.before(frames, state) is state
    wrong = {'FrameResult': FrameResult({}, state.has_key, state), 'dict': state.state_dict(), 'list': [state]}
    for kind, given in wrong.items():
        with pytest.raises(ValueError, match=f'StreamState or None, not {kind}'):
            StreamState.before(frames, given)  # type: ignore[arg-type]


def test_a_state_of_no_frames_can_be_selected_and_moved() -> None:
    state = StreamState.new(3).select([1, 2]).to('meta')

    assert len(state) == 2
    assert state.frames.device.type == 'cpu'


def test_moving_takes_the_memory_and_leaves_the_flags() -> None:
    state = make_state().to('meta')

    assert {t.device.type for memory in (state.key, state.non_key) for t in memory.values()} == {'meta'}
    assert {getattr(state, name).device.type for name in FLAGS} == {'cpu'}
    assert state.policy['credit'].device.type == 'cpu'
    # Rows are selected on the device of the memory.
    assert state.select(torch.tensor([True, False, True])).key['features'].shape == (2, 2, 4, 5)
    assert state.reset([0]).has_key.tolist() == [False, True, False]


@pytest.mark.parametrize('make', [make_state, lambda: StreamState.new(2)], ids=['running', 'new'])
def test_saved_and_loaded_safely(make: Any) -> None:
    state, buffer = make(), io.BytesIO()
    torch.save(state.state_dict(), buffer)
    buffer.seek(0)
    loaded = StreamState.from_state_dict(torch.load(buffer, weights_only=True))

    assert values(loaded) == values(state)
    assert [getattr(loaded, name).dtype for name in FLAGS] == [torch.bool, torch.bool, torch.int64, torch.int64]
    assert loaded.resolution == state.resolution
    assert type(loaded.resolution) is type(state.resolution)


def test_what_another_version_saved_is_refused() -> None:
    old = make_state().state_dict()
    del old['key_frames'], old['policy']
    with pytest.raises(ValueError, match=r"differs in \['key_frames', 'policy'\]"):
        StreamState.from_state_dict(old)
    with pytest.raises(ValueError, match=r"differs in \['memory'\]"):
        StreamState.from_state_dict({**make_state().state_dict(), 'memory': {}})


def broken(**changes: Any) -> dict[str, Any]:
    """A saved state with other values; `slot__name` stands for a tensor of a memory."""
    saved = make_state().state_dict()
    for field, value in changes.items():
        slot, _, name = field.partition('__')
        saved[slot] = {**saved[slot], name: value} if name else value
    return saved


@pytest.mark.parametrize(
    ('field', 'changes'),
    [
        ('has_key', dict(has_key=torch.ones(3))),
        ('has_key', dict(has_key=[True, True, False])),
        ('has_key', dict(frames=torch.zeros(2, dtype=torch.int64))),
        ('frames', dict(frames=torch.tensor([7, 1, -1]))),
        ('frames', dict(frames=torch.tensor([1 << 60, 1, 0]))),
        ('frames', dict(frames=torch.tensor(3))),
        ('key_frames', dict(key_frames=torch.tensor([8, 1, 0]))),
        ('has_key', dict(has_key=torch.tensor([True, True, True]))),
        ('has_non_key', dict(has_non_key=torch.tensor([True, True, False]))),
        ('key', dict(key={})),
        ('key', dict(key=None)),
        ('key.features', dict(key__features=torch.zeros(2, 2, 4, 5))),
        ('key.features', dict(key__features=torch.full((3, 2, 4, 5), float('nan')))),
        ('key.features', dict(key__features='weights')),
        ('key.features', dict(key__features=torch.zeros(3, 2, 4, 5).to_sparse())),
        ('key.features', dict(key__features=torch.zeros(3, 2, 4, 5, device='meta'))),
        ('non_key.features', dict(non_key__features=torch.tensor([[float('inf')], [0.0], [0.0]]))),
        ('policy.credit', dict(policy__credit=torch.tensor([float('nan'), 0.0, 0.0]))),
        ('policy.credit', dict(policy__credit=torch.tensor(1.0))),
        ('resolution', dict(resolution=None)),
        ('resolution', dict(resolution=(64.0, 128))),
        ('resolution', dict(resolution=(0, 128))),
        ('resolution', dict(resolution=(64, 128, 3))),
    ],
)
def test_a_damaged_state_is_refused(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf'(^|\s){field} '):
        StreamState.from_state_dict(broken(**changes))


def test_what_a_reset_row_holds_does_not_matter() -> None:
    features = make_state().key['features'].clone()
    features[2] = float('nan')
    assert StreamState.from_state_dict(broken(key__features=features)).unchecked


def test_flags_are_loaded_to_the_cpu() -> None:
    class OnDevice(Tensor):
        """A tensor that records calls of `cpu`."""

        asked = 0

        def cpu(self) -> Tensor:
            OnDevice.asked += 1
            return self.as_subclass(Tensor)

    state_dict = make_state().state_dict()
    state_dict.update({name: state_dict[name].as_subclass(OnDevice) for name in FLAGS})
    state_dict['policy'] = {name: tensor.as_subclass(OnDevice) for name, tensor in state_dict['policy'].items()}
    loaded = StreamState.from_state_dict(state_dict)

    assert OnDevice.asked >= 5
    assert values(loaded) == values(make_state())


@pytest.mark.gpu
def test_flags_stay_on_the_cpu_with_a_gpu() -> None:
    state, buffer = make_state().to('cuda'), io.BytesIO()
    torch.save(state.state_dict(), buffer)
    buffer.seek(0)
    loaded = StreamState.from_state_dict(torch.load(buffer, weights_only=True, map_location='cuda'))

    for some in (state, loaded, loaded.select(torch.tensor([2, 0, 1], device='cuda')).select([1, 2, 0])):
        assert {getattr(some, name).device.type for name in FLAGS} == {'cpu'}
        assert some.key['features'].is_cuda
        assert values(some) == values(make_state())


def test_states_are_joined_in_their_order() -> None:
    state = make_state()
    joined = StreamState.cat([state.select([2, 0]), StreamState.new(1), state.select([1])])

    assert joined.frames.tolist() == [0, 7, 0, 1]
    assert joined.has_key.tolist() == [False, True, False, True]
    # A new stream remembers nothing: the values of its row are not read.
    assert joined.key['features'][:, 0, 0, 0].tolist() == [2, 0, 0, 1]
    assert joined.policy['credit'].tolist() == [32, 30, 0, 31]
    assert joined.resolution == (64, 128)
    assert values(StreamState.cat([state.select([0]), state.select([1, 2])])) == values(state)
    assert values(StreamState.cat([StreamState.new(1), StreamState.new(1)])) == values(StreamState.new(2))


def test_what_is_joined_with_a_loaded_state_is_still_compared_with_the_model() -> None:
    state = make_state()
    loaded = StreamState.from_state_dict(state.state_dict())

    assert StreamState.cat([state, loaded]).unchecked and StreamState.cat([loaded, state]).unchecked
    assert not StreamState.cat([state, state]).unchecked


def test_states_of_different_resolutions_are_not_joined() -> None:
    other = replace(make_state(), resolution=(32, 64))
    with pytest.raises(ValueError, match=r'resolution.*\(32, 64\), \(64, 128\)'):
        StreamState.cat([make_state(), other])
    with pytest.raises(ValueError, match=r'state.*\[\]'):
        StreamState.cat([])


def test_states_are_objects_not_values() -> None:
    # Tensors have no truth value: two states compare as objects, and may be keys of a dict.
    state = make_state()

    assert state == state
    assert state != make_state()
    assert {state: 1}[state] == 1
    with pytest.raises(AttributeError):
        state.frames = torch.zeros(3)  # type: ignore[misc]
