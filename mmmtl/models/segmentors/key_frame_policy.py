"""Which frames of a stream are key frames."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from mmmtl.registry import MODELS
from mmmtl.structures import StreamState


class KeyFramePolicy(Protocol):
    """Decides, before anything is computed, which streams have a key frame now."""

    def is_key_frame(self, state: StreamState) -> Tensor:
        """(N,) bool on the CPU. A stream without a key frame in memory gets one whatever this says."""


@MODELS.register_module()
class FixedInterval:
    """Every `interval`-th frame of a stream is a key frame, the first one included.

    Reference: MILA, section 4.1 (interval 5).
    """

    def __init__(self, interval: int = 5) -> None:
        if interval < 1:
            raise ValueError(f'interval must be at least 1, not {interval}')
        self.interval = interval

    def is_key_frame(self, state: StreamState) -> Tensor:
        """See `KeyFramePolicy`."""
        return state.frames % self.interval == 0
