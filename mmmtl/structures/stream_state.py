"""The state of running video streams: the memory of the model, kept by the caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .state_checks import DTYPES, check_like, check_saved

Memory = dict[str, Tensor]
"""Remembered tensors by name; the first axis is the stream."""

Logits = dict[str, Tensor]
"""{task: (N, C, h, w)} at feature resolution."""

FLAGS = tuple(DTYPES)
SLOTS = ('key', 'non_key', 'policy')
SAVED = (*FLAGS, *SLOTS, 'resolution')


@dataclass(frozen=True, eq=False)
class StreamState:
    """The memory of N streams, one row each. It is the only place that keeps anything about a video.

    Flags, counters and the policy's memory are on the CPU, so choosing the next frame's network never waits for a GPU.

    Args:
        has_key: (N,) bool, rows whose `key` is valid.
        has_non_key: (N,) bool, rows whose `non_key` is valid.
        frames: (N,) int64, frames seen since the row was reset.
        key_frames: (N,) int64, how many of them were key frames.
        key: the neck's memory of the last key frame; empty before the first frame.
        non_key: the neck's memory of the last non-key frame.
        policy: the key-frame policy's memory.
        resolution: (H, W) of the remembered frames; another resolution needs a new state. None before the first frame,
            and always for an image model, which remembers nothing.
        unchecked: whether it was loaded; the next step compares it with the model. It is not saved.

    Examples:
        >>> streams = StreamState.cat([StreamState.new(2), StreamState.new(1)])
        >>> streams.select([2, 0]).frames
        tensor([0, 0])
    """

    has_key: Tensor
    has_non_key: Tensor
    frames: Tensor
    key_frames: Tensor
    key: Memory = field(default_factory=dict)
    non_key: Memory = field(default_factory=dict)
    policy: Memory = field(default_factory=dict)
    resolution: tuple[int, int] | None = None
    unchecked: bool = False

    @classmethod
    def new(cls, num_streams: int) -> StreamState:
        """Return the state of `num_streams` streams before their first frame."""
        flags: dict[str, Any] = {
            name: torch.zeros(num_streams, dtype=dtype, device='cpu') for name, dtype in DTYPES.items()
        }
        return cls(**flags)

    @classmethod
    def before(cls, frames: Tensor, state: StreamState | None) -> StreamState:
        """Return the state before frames (N, 3, H, W): `state`, or a new one if it is None.

        Raises a ValueError if `state` is something else, or if the number or the resolution of the frames differs from
        the state's.
        """
        if not isinstance(state, StreamState | None):
            raise ValueError(
                f'state must be a StreamState or None, not {type(state).__name__}; a prediction has it as `.state`, '
                '`StreamState.from_state_dict` restores a saved one, and `StreamState.cat` joins several'
            )
        if frames.dim() != 4 or not len(frames):
            raise ValueError(f'frames must be (N, 3, H, W), one per stream, not {tuple(frames.shape)}')
        resolution = (frames.shape[-2], frames.shape[-1])
        if state is None:
            state = cls.new(len(frames))
        if len(state) != len(frames):
            raise ValueError(f'{len(frames)} frames for a state of {len(state)} streams')
        if state.resolution not in (None, resolution):
            raise ValueError(f'frames of {resolution} for a state of {state.resolution}; start a new state (None)')
        return state

    @classmethod
    def cat(cls, states: Sequence[StreamState]) -> StreamState:
        """Concatenate states of one model. Those that have seen a frame must have the same resolution."""
        resolutions = {state.resolution for state in states if state.resolution is not None}
        if not states or len(resolutions) > 1:
            raise ValueError(f'expected at least one state and a single resolution, not {sorted(resolutions)}')
        flags = {name: torch.cat([getattr(state, name) for state in states]) for name in FLAGS}
        slots = {slot: _cat_memories([(getattr(state, slot), len(state)) for state in states]) for slot in SLOTS}
        joined: dict[str, Any] = {**flags, **slots}
        unchecked = any(state.unchecked for state in states)
        return cls(**joined, resolution=next(iter(resolutions), None), unchecked=unchecked)

    def check(self, memory: Memory, policy: Memory) -> StreamState:
        """Return a loaded state with the dtypes of the model's memory, or refuse one that does not fit.

        Args:
            memory: like what the neck remembers of a frame; tensors on the meta device will do.
            policy: like what the policy remembers.
        """
        for slot, expected in (('key', memory), ('non_key', memory), ('policy', policy)):
            # A slot is empty until the first frame of its kind.
            if found := getattr(self, slot):
                check_like(found, expected, slot)
        if policy and not self.policy and (self.frames > 0).any():
            check_like({}, policy, 'policy')
        key, non_key = (
            {name: tensor.to(memory[name].dtype) for name, tensor in slot.items()} for slot in (self.key, self.non_key)
        )
        return replace(self, key=key, non_key=non_key, unchecked=False)

    def __len__(self) -> int:
        return len(self.frames)

    def reset(self, rows: Sequence[int] | Tensor) -> StreamState:
        """Return the state with the streams `rows` (indices, or a bool mask) as before their first frame."""
        index = self._index(rows)
        return replace(self, **{name: getattr(self, name).index_fill(0, index, 0) for name in FLAGS})

    def select(self, rows: Sequence[int] | Tensor) -> StreamState:
        """Return the state of only the streams `rows` (indices in the wanted order, or a bool mask)."""
        index = self._index(rows)
        flags = replace(
            self,
            **{name: getattr(self, name)[index] for name in FLAGS},
            policy={name: tensor[index] for name, tensor in self.policy.items()},
        )
        return flags._map_memory(lambda tensor: tensor[index.to(tensor.device)])

    def to(self, device: torch.device | str) -> StreamState:
        """Return the state with the neck's memory on `device`."""
        return self._map_memory(lambda tensor: tensor.to(device))

    def state_dict(self) -> dict[str, Any]:
        """Return a dict of tensors and numbers, which `torch.load(..., weights_only=True)` can read after saving."""
        return {name: getattr(self, name) for name in SAVED}

    @classmethod
    def from_state_dict(cls, state_dict: dict[str, Any]) -> StreamState:
        """Restore a state from its `state_dict`, with the neck's memory on the device of the saved tensors.

        Raises a ValueError that names a field of a wrong type, shape or value. The next `step` also
        refuses a memory whose names or shapes are not those of the model and its key-frame policy. Other weights, or
        other settings of the policy, go unnoticed.
        """
        if not isinstance(state_dict, dict):
            raise ValueError(f'a saved state is a dict, not {type(state_dict).__name__}')
        if different := sorted(set(SAVED) ^ state_dict.keys(), key=str):
            raise ValueError(
                f'the saved state is of another version, which differs in {different}; start a new state (None)'
            )
        check_saved(state_dict)
        on_cpu = {name: state_dict[name].cpu() for name in FLAGS}
        policy = {name: tensor.cpu() for name, tensor in state_dict['policy'].items()}
        return cls(**{**state_dict, **on_cpu, 'policy': policy}, unchecked=True)

    def _index(self, rows: Sequence[int] | Tensor) -> Tensor:
        """Return row indices, int64 on the CPU."""
        index = torch.as_tensor(rows, device='cpu')
        if index.dim() != 1 or (index.is_floating_point() and len(index)):
            raise ValueError(f'rows must be a list of indices or a bool mask, such as [0], not {rows!r}')
        if index.dtype != torch.bool:
            return index.to(torch.int64)
        if index.shape != self.frames.shape:
            raise ValueError(f'a mask of shape {tuple(index.shape)} for {len(self)} streams; it must be ({len(self)},)')
        return index.nonzero().flatten()

    def _map_memory(self, function: Callable[[Tensor], Tensor]) -> StreamState:
        return replace(
            self,
            key={name: function(tensor) for name, tensor in self.key.items()},
            non_key={name: function(tensor) for name, tensor in self.non_key.items()},
        )


class FrameResult(NamedTuple):
    """The result of a model's `step`: logits, (N,) bool on the CPU (which rows are key frames), and the next state."""

    logits: Logits
    is_key: Tensor
    state: StreamState


def _cat_memories(parts: Sequence[tuple[Memory, int]]) -> Memory:
    """Concatenate (memory, number of streams). Missing entries become zeros; their validity flags are False."""
    some = {name: tensor for memory, _ in parts for name, tensor in memory.items()}
    return {
        name: torch.cat([memory.get(name, like.new_zeros(count, *like.shape[1:])) for memory, count in parts])
        for name, like in some.items()
    }
