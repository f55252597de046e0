"""Operations on the rows of named tensors: select, join, spread, replace and mask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

NamedRows = dict[str, Tensor]
"""Memories or logits by name; the first axis of each tensor is the batch."""


def true_rows(flags: Iterable[bool]) -> list[int]:
    """Return the indices of the flags that are set."""
    return [row for row, flag in enumerate(flags) if flag]


def select_rows(tensors: NamedRows, rows: Sequence[int]) -> NamedRows:
    """Select rows, given in ascending order. Return the tensors themselves, uncopied, if all rows are selected."""
    return {name: select(tensor, rows) for name, tensor in tensors.items()}


def select(tensor: Tensor, rows: Sequence[int]) -> Tensor:
    """Select rows of one tensor as `select_rows` does."""
    return tensor if len(tensor) == len(rows) else tensor[list(rows)]


def join_rows(parts: Sequence[NamedRows], rows: Sequence[Sequence[int]]) -> NamedRows:
    """Join parts that `select_rows` made, in the order of the rows; a single part is not copied.

    Examples:
        >>> parts = [select_rows({'x': torch.tensor([10, 11, 12])}, rows) for rows in ([0, 2], [1])]
        >>> join_rows(parts, [[0, 2], [1]])['x'].tolist()
        [10, 11, 12]
    """
    if len(parts) == 1:
        return parts[0]
    order = torch.tensor([row for some in rows for row in some]).argsort()
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {name: tensor[order.to(tensor.device)] for name, tensor in joined.items()}


def spread_rows(tensors: NamedRows, rows: Sequence[int], count: int) -> NamedRows:
    """Extend tensors of `rows`, in ascending order, to `count` rows; the other rows are zero.

    Examples:
        >>> spread_rows({'x': torch.tensor([7, 8])}, [0, 2], 4)['x'].tolist()
        [7, 0, 8, 0]
    """
    if len(rows) == count:
        return tensors
    index = torch.tensor(rows, dtype=torch.int64)
    return {n: t.new_zeros(count, *t.shape[1:]).index_copy(0, index.to(t.device), t) for n, t in tensors.items()}


def replace_rows(old: NamedRows, new: NamedRows, mask: Tensor) -> NamedRows:
    """Return `old` with the rows of `mask` (N,) taken from `new`; rows in neither are zero."""
    if mask.all():
        return new
    if not mask.any():
        return old
    merged = {}
    for name, tensor in new.items():
        rows = mask.to(tensor.device).view(-1, *[1] * (tensor.dim() - 1))
        merged[name] = torch.where(rows, tensor, old[name] if name in old else torch.zeros_like(tensor))
    return merged


def mask_slots(slots: Sequence[Tensor | None], flags: Sequence[Sequence[bool] | None]) -> list[Tensor | None]:
    """Set the rows of slots (N, C, h, w) whose flag is False to zero; flags of None keep all rows."""
    masked: list[Tensor | None] = []
    for slot, valid in zip(slots, flags, strict=True):
        if slot is not None and valid is not None and not all(valid):
            slot = slot * torch.tensor(valid, device=slot.device, dtype=slot.dtype).view(-1, 1, 1, 1)
        masked.append(slot)
    return masked
