"""Attention whose weights are products of non-negative features: linear in the number of positions."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from mmmtl.ops.precision import at_least_float32

EPS = 1e-12

# Shape letters: N batch, D channels of query and key, V channels of the value, L positions of the target, S of the
# source.


def linear_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return the mean of the source's values (N, V, L), weighted by the products of queries and keys.

    out[:, :, b] = sum_a (query[:, :, b] . key[:, :, a]) value[:, :, a] / sum_a (query[:, :, b] . key[:, :, a])

    Query (N, D, L) and key (N, D, S) must not be negative; the value is (N, V, S). The result has the dtype of the
    value; it is zero where the weights of a position sum to zero.

    The sums over all positions a come first (V K^T, then its product with the query), so no L x S matrix arises. Sums
    and quotient are computed in float32 at least, also under autocast: over thousands of positions both overflow in
    float16 and lose their digits in bfloat16.

    Reference: SCA-MTL, equation 2; Katharopoulos et al., Transformers are RNNs, ICML 2020, equation 5.
    """
    dtype = at_least_float32(value)
    with full_precision(value.device.type):
        q, k, v = query.to(dtype), key.to(dtype), value.to(dtype)
        summed = torch.bmm(v, k.transpose(1, 2))  # (N, V, D)
        normaliser = torch.bmm(k.sum(dim=2).unsqueeze(1), q)  # (N, 1, L)
        return (torch.bmm(summed, q) / normaliser.clamp(min=EPS)).to(value.dtype)


def full_precision(device: str) -> AbstractContextManager[object]:
    """Return a context manager that disables autocast, or does nothing on devices without it."""
    return nullcontext() if device == 'meta' else torch.autocast(device, enabled=False)
