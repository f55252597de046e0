"""The order of the tasks in a model, whatever their order in a config."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar('T')


def in_order(tasks: Mapping[str, T]) -> dict[str, T]:
    """Return the tasks sorted by name, as every model is built with them.

    Examples:
        >>> list(in_order({'semseg': 1, 'depth': 2}))
        ['depth', 'semseg']
    """
    return dict(sorted(tasks.items()))


class TaskOrder(nn.Module):
    """The order in which a module concatenates the features of tasks; it belongs to the weights.

    A new module concatenates the tasks sorted by name. Weights that were trained in another order bring theirs along.

    Args:
        tasks: names of the tasks.

    Attributes:
        positions: (M,) int64, the positions of the concatenated tasks among the sorted names; saved if there are
            several.
    """

    positions: Tensor

    def __init__(self, tasks: Iterable[str]) -> None:
        super().__init__()
        self.sorted = sorted(tasks)
        self.order = list(self.sorted)
        self.register_buffer('positions', torch.arange(len(self.sorted)), persistent=len(self.sorted) > 1)

    def __iter__(self) -> Iterator[str]:
        return iter(self.order)

    def encode(self, order: Iterable[str]) -> Tensor:
        """Return the `positions` of an order of tasks; those that the module does not have are left out."""
        return torch.tensor([self.sorted.index(name) for name in order if name in self.sorted])

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any) -> None:
        """Take the order of the weights; `load_state_dict` of torch and of mmengine call this."""
        found = state_dict.get(f'{prefix}positions')
        if found is not None:
            places = found.tolist()
            if sorted(places) != list(range(len(self.sorted))):
                raise ValueError(f'{prefix}positions must be an order of the tasks {self.sorted}, not {places}')
            self.order = [self.sorted[place] for place in places]
        super()._load_from_state_dict(state_dict, prefix, *args)


class Concatenating(nn.Module):
    """Base of modules that concatenate the features of tasks in the order of their `order`."""

    order: TaskOrder

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any) -> None:
        """Refuse weights of this module without the order of their tasks; the order itself cannot see the others."""
        has_weights = any(key.startswith(prefix) for key in state_dict)
        if len(self.order.sorted) > 1 and has_weights and f'{prefix}order.positions' not in state_dict:
            raise ValueError(
                f'the weights {prefix}* depend on the order of the tasks {self.order.sorted} in training, which they '
                'lack. Load the checkpoint with mmmtl.checkpoint.load_weights or as `load_from`, which read it from '
                "checkpoint['meta']['task_order']"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)
