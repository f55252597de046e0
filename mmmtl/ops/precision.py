"""The precision of sums."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(*tensors: Tensor) -> torch.dtype:
    """Return float64 if any tensor has it, else float32; half precision would lose digits in sums and overflow."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype
