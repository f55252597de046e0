"""Local attention from mmcv's operators correlation and CARAFE: CUDA only, for comparison.

It bypasses `mmmtl::local_attention`. `torch.compile` breaks the graph at mmcv's autograd functions, and their FLOPs are
not counted.
"""

from __future__ import annotations

import importlib.util

import torch
import torch.nn.functional as F
from torch import Tensor

from ..precision import at_least_float32
from .contract import as_laid_out


def missing() -> str:
    """Return why this backend cannot run on this machine; empty if it can."""
    if importlib.util.find_spec('mmcv') is None:
        return 'mmcv is not installed'
    if importlib.util.find_spec('mmcv._ext') is None:
        return 'mmcv was built without its compiled operators'
    return '' if torch.cuda.is_available() else 'there is no CUDA device'


def unsupported(query: Tensor, key: Tensor, value: Tensor, window: int) -> str:
    """Return why this backend cannot run these tensors; empty if it can."""
    for tensor in (query, key, value):
        if tensor.device.type != 'cuda':
            return f'it needs CUDA tensors, not {tensor.device.type}'
        if tensor.dtype not in (torch.float32, torch.float16):
            return f'it needs float32 or float16, not {tensor.dtype}'
    return ''


def local_attention(query: Tensor, key: Tensor, value: Tensor, *, window: int, scale: float, border: str) -> Tensor:
    """Compute `mmmtl.ops.local_attention`, differentiable once."""
    from mmcv.ops import Correlation, carafe  # many installations lack these compiled operators

    # mmcv sums in the dtype of its input, where half precision overflows; its kernels need NCHW.
    dtype = at_least_float32(query, key, value)
    sources = [tensor.to(dtype).contiguous() for tensor in (query, key, value)]
    correlation = Correlation(kernel_size=1, max_displacement=window // 2)
    logits = correlation(sources[0], sources[1]).flatten(1, 2) * scale
    if border == 'mask':
        inside = F.unfold(torch.ones_like(logits[:1, :1]), window, padding=window // 2).view_as(logits[:1])
        logits = logits.masked_fill(inside == 0, float('-inf'))
    out = carafe(sources[2], logits.softmax(1), window, 1, 1)
    return as_laid_out(out.to(value.dtype), value)
