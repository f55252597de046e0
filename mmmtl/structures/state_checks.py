"""Checks of a saved state of streams: every field by itself, then against a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .array import is_size

DTYPES = {'has_key': torch.bool, 'has_non_key': torch.bool, 'frames': torch.int64, 'key_frames': torch.int64}
MOST_FRAMES = 1 << 53

MIXED = {torch.float16, torch.bfloat16, torch.float32}
"""Types that stand for each other under mixed precision."""


def check_saved(saved: Mapping[str, Any]) -> None:
    """Refuse a saved state whose fields have wrong types, shapes or values, or contradict each other.

    Raises:
        ValueError: names the field.
    """
    rows = _rows(saved['frames'])
    for name, dtype in DTYPES.items():
        _check_tensor(saved[name], name)
        if saved[name].dtype != dtype or saved[name].shape != (rows,):
            _refuse(name, saved[name], f'({rows},) {dtype}')
    flags = {name: saved[name].cpu() for name in DTYPES}
    frames, key_frames = flags['frames'], flags['key_frames']
    for name, wrong in dict(
        frames=(frames < 0) | (frames > MOST_FRAMES),
        key_frames=(key_frames < 0) | (key_frames > frames),
        has_key=flags['has_key'] & (key_frames == 0),
        has_non_key=flags['has_non_key'] & (frames == key_frames),
    ).items():
        if wrong.any():
            raise ValueError(f'the saved state contradicts itself: {name} is {flags[name].tolist()}; start a new state')
    valid = dict(key=flags['has_key'], non_key=flags['has_non_key'], policy=frames > 0)
    for slot, used in valid.items():
        _check_memory(saved[slot], slot, rows, used)
    for slot in ('key', 'non_key'):
        if valid[slot].any() and not saved[slot]:
            raise ValueError(f'the saved state contradicts itself: {slot} is empty, but used; start a new state')
    resolution = saved['resolution']
    if resolution is None:
        fits = not (valid['key'].any() or valid['non_key'].any())
    else:
        fits = isinstance(resolution, tuple) and is_size(resolution)
    if not fits:
        raise ValueError(f'resolution of the saved state is {resolution!r}, not (height, width); start a new state')


def check_like(saved: Mapping[str, Tensor], expected: Mapping[str, Tensor], slot: str) -> None:
    """Refuse a memory whose names, shapes (but for the number of rows) or types are not the expected ones."""
    if saved.keys() != expected.keys():
        raise ValueError(
            f'{slot} of the state holds {sorted(saved)}, but this model remembers {sorted(expected)}; the state is of '
            'another model or key-frame policy: start a new one (None)'
        )
    for name, like in expected.items():
        same = saved[name].dtype == like.dtype or {saved[name].dtype, like.dtype} <= MIXED
        if saved[name].shape[1:] != like.shape[1:] or not same:
            _refuse(f'{slot}.{name}', saved[name], f'{("N", *like.shape[1:])} {like.dtype} of this model')


def _rows(frames: Any) -> int:
    if not isinstance(frames, Tensor) or frames.dim() != 1:
        _refuse('frames', frames, '(N,) torch.int64')
    return len(frames)


def _check_memory(memory: Any, slot: str, rows: int, used: Tensor) -> None:
    if type(memory) is not dict or not all(isinstance(name, str) for name in memory):
        _refuse(slot, memory, 'a dict of tensors')
    for name, tensor in memory.items():
        field = f'{slot}.{name}'
        _check_tensor(tensor, field)
        if not tensor.dim() or len(tensor) != rows:
            _refuse(field, tensor, f'{rows} rows')
        # Rows of streams that were reset are never read.
        if tensor.is_floating_point() and not tensor[used.to(tensor.device)].isfinite().all():
            raise ValueError(f'{field} of the saved state is not finite; start a new state')


def _check_tensor(tensor: Any, field: str) -> None:
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        _refuse(field, tensor, 'a plain tensor')
    if tensor.is_meta:
        _refuse(field, tensor, 'a tensor with values')


def _refuse(field: str, found: Any, expected: str) -> None:
    what = f'{tuple(found.shape)} {found.dtype}' if isinstance(found, Tensor) else type(found).__name__
    raise ValueError(f'{field} of the saved state is {what}, not {expected}; start a new state (None)')
