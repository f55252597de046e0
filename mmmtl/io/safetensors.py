"""Weights in safetensors files: tensors under their names, and the `meta` of a checkpoint as JSON in the header."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from .files import sha256_of
from .outputs import whole_file

SUFFIX = '.safetensors'

META = 'mmmtl'
"""The key of the header under which the JSON is."""


def read_safetensors(path: Path, name: str) -> tuple[dict[str, Any], int]:
    """Return the checkpoint in a file, {'state_dict': ..., 'meta': ...} on the CPU, and the bytes that describe it.

    Raises:
        ValueError: no such file, truncated, or a header that says something else.
    """
    try:
        with safe_open(path, framework='pt', device='cpu') as file:
            text = (file.metadata() or {}).get(META, '{}')
            weights = OrderedDict((key, file.get_tensor(key)) for key in file.keys())  # noqa: SIM118
        meta = json.loads(text)
    except Exception as error:  # the library raises nearly anything for other files
        raise ValueError(f'{name}: not a readable {SUFFIX} file ({error}); is it truncated?') from None
    if not isinstance(meta, dict):
        raise ValueError(f'{name}: the entry {META!r} of its header must be a dict, not {type(meta).__name__}')
    return {'state_dict': weights, 'meta': meta}, len(text)


def write_safetensors(
    path: str | Path, weights: Mapping[str, Tensor], meta: Mapping[str, Any], *, dtype: torch.dtype | None = None
) -> str:
    """Write weights, whole or not at all, and return the SHA-256 of the file.

    Args:
        path: path of the file, ends in '.safetensors'.
        weights: {name: tensor}.
        meta: plain values. `dataset_meta.tasks` and `task_order` are compared when the weights are loaded.
        dtype: number type of kernels; None keeps it.

    Raises:
        ValueError: another suffix, or a kernel with values outside the range of `dtype`.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f'{path}: must end in {SUFFIX}')
    tensors = convert_kernels(weights, dtype)
    with whole_file(path) as partial:
        partial.write_bytes(save(tensors, {META: json.dumps(meta)}))  # `save_file` would hide it from other users
    return sha256_of(path)


def convert_kernels(weights: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Return copies of weights on the CPU, in which kernels have another number type; None keeps theirs.

    Vectors, such as the statistics of batch norm, keep theirs: they are small, and half precision does not have their
    range.

    Raises:
        ValueError: a kernel with values outside the range of `dtype`.
    """
    tensors = {}
    for name, value in weights.items():
        converts = dtype is not None and value.is_floating_point() and value.ndim > 1
        tensors[name] = value.detach().cpu().to(dtype if converts else value.dtype).clone().contiguous()
        if converts and not tensors[name].isfinite().all():
            raise ValueError(f'{name}: values up to {value.abs().max():.3g} do not fit into {dtype}; keep its type')
    return tensors
