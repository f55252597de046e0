"""Policies that choose the key frames of a stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.registry import MODELS
from mmmtl.structures import Memory, StreamState


class KeyFramePolicy(ABC):
    """Base of the policies, which decide which streams have a key frame now, before any network runs.

    A policy keeps nothing itself. All it needs of earlier frames is in the state, one independent row per stream.
    """

    interval: int | None = None
    """Frames from one key frame to the next, if that is fixed."""

    @abstractmethod
    def is_key_frame(self, state: StreamState, frames: Tensor) -> Tensor:
        """Return (N,) bool on the CPU. A stream without a key frame in memory gets one in any case.

        The frames are (N, 3, H, W), as the data preprocessor gives them, and `state` is the one before them. Rows that
        have seen no frame may hold anything in `state.policy`.
        """

    def remember(self, state: StreamState, frames: Tensor, is_key: Tensor) -> Memory:
        """Return the next `state.policy`, tensors on the CPU with a row per stream; `is_key` (N,) is final."""
        return {}

    def rule(self) -> dict[str, Any] | None:
        """Return the policy as plain data, for programs without mmmtl: its kind, and the fields of that kind.

        The kinds and their fields are those of `mmmtl.export.onnx_stream`. None: no kind does the same, so a model with
        the policy cannot be exported.
        """
        return None


def checked_choice(policy: KeyFramePolicy, state: StreamState, frames: Tensor) -> Tensor:
    """Return whether a policy wants a key frame, (N,) bool; refuse another answer, which would be broadcast."""
    wanted = policy.is_key_frame(state, frames)
    if not isinstance(wanted, Tensor) or wanted.dtype != torch.bool or wanted.shape != (len(frames),):
        found = f'{wanted.dtype} {tuple(wanted.shape)}' if isinstance(wanted, Tensor) else repr(wanted)
        raise ValueError(f'{type(policy).__name__}.is_key_frame returned {found}; it must return bool ({len(frames)},)')
    return wanted


def checked_memory(policy: KeyFramePolicy, state: StreamState, frames: Tensor, is_key: Tensor) -> Memory:
    """Return what a policy remembers; refuse what has no row for each stream, which would mix them up."""
    memory = policy.remember(state, frames, is_key)
    method = f'{type(policy).__name__}.remember'
    if not isinstance(memory, dict):
        raise ValueError(f'{method} returned {type(memory).__name__}; it must return a dict of tensors')
    for key, kept in memory.items():
        if not isinstance(kept, Tensor) or kept.device.type != 'cpu' or kept.shape[:1] != (len(frames),):
            found = f'{tuple(kept.shape)} on {kept.device}' if isinstance(kept, Tensor) else repr(kept)
            raise ValueError(f'{method} returned {key}={found}; it must return tensors ({len(frames)}, ...) on the CPU')
    return memory


@MODELS.register_module()
class FixedInterval(KeyFramePolicy):
    """Every `interval`-th frame is a key frame, starting with the first (MILA, section 4.1: interval 5).

    Examples:
        >>> FixedInterval(2).is_key_frame(StreamState.new(3), torch.zeros(3, 3, 4, 4))
        tensor([True, True, True])
    """

    interval: int

    def __init__(self, interval: int = 5) -> None:
        if interval < 1:
            raise ValueError(f'interval must be at least 1, not {interval}')
        self.interval = interval

    def is_key_frame(self, state: StreamState, frames: Tensor) -> Tensor:
        return state.frames % self.interval == 0

    def rule(self) -> dict[str, Any]:
        return {'kind': 'fixed_interval', 'interval': self.interval}


@MODELS.register_module()
class FrameChange(KeyFramePolicy):
    """A frame that differs enough from the last key frame becomes a key frame.

    Frames are compared as thumbnails, by the mean absolute difference over cells and channels. This needs no network,
    but the thumbnails go to the CPU, so each frame waits for the GPU before its networks start.

    Args:
        threshold: difference in standard deviations of ImageNet (about 58 grey levels).
        max_interval: largest number of frames from one key frame to the next; None sets no limit.
        size: (height, width) of the thumbnails.
    """

    def __init__(self, threshold: float, *, max_interval: int | None = None, size: tuple[int, int] = (16, 32)) -> None:
        if threshold < 0:
            raise ValueError(f'threshold must not be negative, not {threshold}')
        if max_interval is not None and max_interval < 1:
            raise ValueError(f'max_interval must be at least 1 or None, not {max_interval}')
        self.threshold = threshold
        self.max_interval = max_interval
        self.size = (size[0], size[1])

    def is_key_frame(self, state: StreamState, frames: Tensor) -> Tensor:
        if not state.policy:
            return torch.ones(len(state), dtype=torch.bool)
        change = (self._thumbnails(frames) - state.policy['thumbnail']).abs().mean(dim=(1, 2, 3))
        is_key = change > self.threshold
        return is_key if self.max_interval is None else is_key | (state.policy['age'] >= self.max_interval)

    def remember(self, state: StreamState, frames: Tensor, is_key: Tensor) -> Memory:
        """Return `thumbnail` (N, 3, h, w) of the last key frame and its `age` (N,) in frames at the next frame."""
        thumbnails = self._thumbnails(frames)
        if not state.policy:
            return {'thumbnail': thumbnails, 'age': torch.ones(len(state), dtype=torch.int64)}
        age = torch.where(is_key, 0, state.policy['age']) + 1
        return {'thumbnail': torch.where(is_key.view(-1, 1, 1, 1), thumbnails, state.policy['thumbnail']), 'age': age}

    def rule(self) -> dict[str, Any]:
        fields = {'threshold': self.threshold, 'max_interval': self.max_interval, 'size': list(self.size)}
        return {'kind': 'frame_change', **fields}

    def _thumbnails(self, frames: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(frames, self.size).cpu()


@MODELS.register_module()
class CostBudget(KeyFramePolicy):
    """Key frames as often as an average cost per frame allows: a credit for each stream.

    Every frame earns `budget` and pays for its kind; it is a key frame if the credit pays for one. After n frames a
    stream has cost at most `key_cost + (n - 1) * budget`; what the fast network takes on key frames before the first
    non-key frame is not counted. Costs are declared in any one unit (GMAC or milliseconds from
    `tools/analysis_tools/get_flops.py` or a benchmark). So the choice is the same on every machine and waits for no
    GPU, unless `policy` does. Only `settle` replaces declared costs by measured ones.

    Args:
        budget: average cost of a frame, between `non_key_cost` and `key_cost`.
        policy: another policy that says when a key frame is wanted, by default always. Credit grows until then.
        burst: number of key frames that credit can be saved for, at least 1.
    """

    def __init__(
        self,
        budget: float,
        *,
        key_cost: float,
        non_key_cost: float,
        policy: dict[str, Any] | None = None,
        burst: float = 1.0,
    ) -> None:
        if not 0 < non_key_cost <= budget <= key_cost:
            raise ValueError(
                f'costs must be 0 < non_key_cost <= budget <= key_cost, not {non_key_cost}, {budget} and {key_cost}'
            )
        if burst < 1:
            raise ValueError(f'burst must be at least 1, to pay for a second key frame, not {burst}')
        self.budget = budget
        self.key_cost = key_cost
        self.non_key_cost = non_key_cost
        self.policy = None if policy is None else MODELS.build(policy)
        if isinstance(self.policy, CostBudget):
            raise ValueError('policy must not be another CostBudget: the two would share one credit')
        self.burst = burst

    def is_key_frame(self, state: StreamState, frames: Tensor) -> Tensor:
        # The sum of many budgets may round to less than the cost.
        affordable = self._credit(state) >= self.key_cost * (1 - 1e-9)
        return affordable if self.policy is None else affordable & self.policy.is_key_frame(state, frames)

    def remember(self, state: StreamState, frames: Tensor, is_key: Tensor) -> Memory:
        """Return `credit` and `paid` (N,) float64 after the frame, and the memory of the inner policy."""
        key, non_key = (torch.tensor(cost, dtype=torch.float64) for cost in (self.key_cost, self.non_key_cost))
        paid = torch.where(is_key, key, non_key)
        own = {'credit': self._credit(state) - paid, 'paid': paid}
        inner = {} if self.policy is None else self.policy.remember(state, frames, is_key)
        if clash := own.keys() & inner.keys():
            raise ValueError(
                f'{type(self.policy).__name__}.remember returned {sorted(clash)}, as CostBudget does; rename'
            )
        return {**inner, **own}

    def rule(self) -> dict[str, Any] | None:
        inner = None if self.policy is None else self.policy.rule()
        if self.policy is not None and inner is None:
            return None
        costs = {name: getattr(self, name) for name in ('budget', 'key_cost', 'non_key_cost', 'burst')}
        return {'kind': 'cost_budget', **costs, 'policy': inner}

    def settle(self, state: StreamState, cost: Tensor | Sequence[float] | float) -> StreamState:
        """Return the state after the last frame at its measured `cost`, in the unit of the budget.

        `cost` is one number for all streams, or one for each, (N,). Raises a ValueError for any other shape, and for a
        state that has seen no frame with this policy.
        """
        if 'paid' not in state.policy:
            raise ValueError('settle follows a frame of a CostBudget; this state has seen none')
        paid = torch.as_tensor(cost, dtype=torch.float64, device='cpu')
        if paid.shape not in ((), state.frames.shape):
            raise ValueError(f'cost must be a number or ({len(state)},), one of each stream, not {tuple(paid.shape)}')
        paid = paid.expand(len(state)).clone()  # the caller may reuse its tensor
        credit = state.policy['credit'] + state.policy['paid'] - paid
        return replace(state, policy={**state.policy, 'credit': credit, 'paid': paid})

    def _credit(self, state: StreamState) -> Tensor:
        """Return what each stream can spend on this frame; its first frame can always be a key frame."""
        first = torch.full((len(state),), self.key_cost, dtype=torch.float64)
        if not state.policy:
            return first
        credit = state.policy['credit'].clamp(max=self.burst * self.key_cost) + self.budget
        return torch.where(state.frames == 0, first, credit)
