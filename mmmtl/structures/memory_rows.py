"""Rows of a batch: choosing, spreading and replacing those of memories and slots."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .stream_state import Memory


def true_rows(flags: Sequence[bool]) -> list[int]:
    """Numbers of the rows whose flag is set."""
    return [row for row, flag in enumerate(flags) if flag]


def select_rows(memory: Memory, rows: Sequence[int]) -> Memory:
    """Some rows of a memory, in ascending order; all of them are not copied."""
    if all(len(tensor) == len(rows) for tensor in memory.values()):
        return memory
    return {name: tensor[list(rows)] for name, tensor in memory.items()}


def join_rows(parts: Sequence[Memory], rows: Sequence[Sequence[int]]) -> Memory:
    """What `select_rows` took apart, in the order of the rows; one part is not copied."""
    if len(parts) == 1:
        return parts[0]
    order = torch.tensor([row for some in rows for row in some]).argsort()
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {name: tensor[order.to(tensor.device)] for name, tensor in joined.items()}


def spread_rows(memory: Memory, rows: Sequence[int], count: int) -> Memory:
    """A memory of `rows`, in ascending order, as one of all `count` rows, zero elsewhere."""
    if len(rows) == count:
        return memory
    index = torch.tensor(rows, dtype=torch.int64)
    return {n: t.new_zeros(count, *t.shape[1:]).index_copy(0, index.to(t.device), t) for n, t in memory.items()}


def replace_rows(old: Memory, new: Memory, mask: Tensor) -> Memory:
    """`old` with the rows of `mask` (N,) taken from `new`; where nothing is old yet, the others are zero."""
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
    """Slots (N, C, h, w) with the rows that do not exist set to zero; flags of None let all rows exist."""
    masked: list[Tensor | None] = []
    for slot, valid in zip(slots, flags, strict=True):
        if slot is not None and valid is not None and not all(valid):
            slot = slot * torch.tensor(valid, device=slot.device, dtype=slot.dtype).view(-1, 1, 1, 1)
        masked.append(slot)
    return masked
