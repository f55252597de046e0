"""The state of running video streams: what the model remembers of each, kept by the caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

Memory = dict[str, Tensor]
"""What a neck remembers of a frame: named tensors whose first axis is the stream."""


@dataclass(frozen=True, eq=False)
class StreamState:
    """Memory of N streams, one row each; nothing about a video is kept anywhere else.

    The flags and counters live on the CPU, so that choosing the network of the next frame never waits for a GPU.

    Args:
        has_key: (N,) bool, CPU, rows whose `key` is valid.
        has_non_key: (N,) bool, CPU, rows whose `non_key` is valid.
        frames: (N,) int64, CPU, frames seen since the row was reset.
        key: what the neck remembers of the last key frame; empty before the first frame.
        non_key: the same of the last non-key frame.
        resolution: (H, W) of the frames, None before the first; a change of resolution needs a new state.

    Examples:
        >>> StreamState.new(3).select([2, 0]).frames
        tensor([0, 0])
    """

    has_key: Tensor
    has_non_key: Tensor
    frames: Tensor
    key: Memory = field(default_factory=dict)
    non_key: Memory = field(default_factory=dict)
    resolution: tuple[int, int] | None = None

    @classmethod
    def new(cls, num_streams: int) -> StreamState:
        """The state of `num_streams` streams before their first frame."""
        return cls(
            has_key=torch.zeros(num_streams, dtype=torch.bool, device='cpu'),
            has_non_key=torch.zeros(num_streams, dtype=torch.bool, device='cpu'),
            frames=torch.zeros(num_streams, dtype=torch.int64, device='cpu'),
        )

    def __len__(self) -> int:
        return len(self.frames)

    def reset(self, rows: Sequence[int] | Tensor) -> StreamState:
        """The state with the streams `rows` set back to before their first frame; the others go on.

        Args:
            rows: their numbers, or a mask of bools for all streams.
        """
        index = self._index(rows)
        return replace(
            self,
            has_key=self.has_key.index_fill(0, index, False),
            has_non_key=self.has_non_key.index_fill(0, index, False),
            frames=self.frames.index_fill(0, index, 0),
        )

    def select(self, rows: Sequence[int] | Tensor) -> StreamState:
        """The state of the streams `rows` alone, in that order.

        Args:
            rows: their numbers, or a mask of bools for all streams.
        """
        index = self._index(rows)
        flags = replace(
            self, has_key=self.has_key[index], has_non_key=self.has_non_key[index], frames=self.frames[index]
        )
        return flags._map_memory(lambda tensor: tensor[index.to(tensor.device)])

    def to(self, device: torch.device | str) -> StreamState:
        """The state with its memory on `device`; flags and counters stay on the CPU."""
        return self._map_memory(lambda tensor: tensor.to(device))

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers: `torch.save` it, and load it with `weights_only=True`."""
        return dict(vars(self))

    @classmethod
    def from_state_dict(cls, state_dict: dict[str, Any]) -> StreamState:
        """The inverse of `state_dict`, on the device of the tensors; flags and counters on the CPU."""
        on_cpu = {name: state_dict[name].cpu() for name in ('has_key', 'has_non_key', 'frames')}
        return cls(**{**state_dict, **on_cpu})

    def _index(self, rows: Sequence[int] | Tensor) -> Tensor:
        """Row numbers, int64 on the CPU."""
        index = torch.as_tensor(rows, device='cpu')
        if index.dtype != torch.bool:
            return index.to(torch.int64)
        if index.shape != self.frames.shape:
            raise ValueError(f'a mask of shape {tuple(index.shape)} for {len(self)} streams')
        return index.nonzero().flatten()

    def _map_memory(self, function: Callable[[Tensor], Tensor]) -> StreamState:
        return replace(
            self,
            key={name: function(tensor) for name, tensor in self.key.items()},
            non_key={name: function(tensor) for name, tensor in self.non_key.items()},
        )
