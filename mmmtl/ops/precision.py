"""The precision of sums."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(*tensors: Tensor) -> torch.dtype:
    """Return the dtype to compute with: float64 if any tensor has it, else float32.

    In half precision, sums over many numbers lose digits, positions miss their pixels and large logits overflow.
    """
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype
