"""The public function `local_attention`: checks, precision, and dispatch to a backend."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from . import mmcv_backend, op, torch_backend  # noqa: F401  (op registers torch.ops.mmmtl.local_attention)
from .contract import as_laid_out
from .dispatch import choose_backend, log_choice

# N images, C channels of query and key, V channels of value, L side of the window, H W the map.


def local_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    window: int | Literal['global'] = 5,
    scale: float = 1.0,
    border: Literal['mask', 'zero'] = 'mask',
    backend: str = 'auto',
) -> Tensor:
    """Attend from each pixel, with softmax weights, to a window around the same position in another frame.

    out[:, :, i, j] = sum_{x,y} softmax_{x,y}(scale * query[:, :, i, j] . key[:, :, i+x, j+y]) value[:, :, i+x, j+y]

    Logits, softmax and sums are float32 (float64 if an input is). Autocast first casts the inputs to its dtype. With a
    window, gradients are bit-identical in every run (except with 'mmcv') and differentiating twice raises.

    Args:
        query: (N, C, H, W), features of the current frame.
        key: (N, C, H, W), features of the other frame.
        value: (N, V, H, W), features to propagate from the other frame.
        window: odd side length L of the window, which may exceed the map, or 'global' for attention over the whole
            map, where `border` and `backend` have no effect.
        scale: factor of the dot products. The paper has none (1.0), but 256 or more channels saturate the softmax.
        border: 'mask' excludes neighbours outside the image. 'zero' gives them logit 0 and value 0, as zero padding
            does, which shrinks the output to as little as 0.36 at a corner for L = 5.
        backend: 'auto' or a name in `available_backends()`. The environment variable `MMMTL_LOCAL_ATTENTION` replaces
            'auto'.

    Returns:
        (N, V, H, W), dtype and memory format of `value`.

    Reference: MILA, section 3.2, equations 1 and 2. The paper does not define the border.

    Examples:
        >>> equal = torch.zeros(1, 1, 2, 2)  # no place is preferred, so each gets the mean
        >>> local_attention(equal, equal, torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]), window='global').flatten()
        tensor([3., 3., 3., 3.])
    """
    _check(query, key, value, window, border)
    query, key, value = _autocast(query, key, value)
    if isinstance(window, str):
        return _global_attention(query, key, value, scale)
    if torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting():
        return torch_backend.traceable(query, key, value, window=window, scale=scale, border=border)
    name = choose_backend(backend, query, key, value, window)
    if name == 'mmcv':
        log_choice(name, value.device.type, value.dtype)
        return mmcv_backend.local_attention(query, key, value, window=window, scale=scale, border=border)
    out: Tensor = torch.ops.mmmtl.local_attention(query, key, value, window, scale, border, name)[0]
    return out


def _check(query: Tensor, key: Tensor, value: Tensor, window: int | str, border: str) -> None:
    shapes = [tuple(tensor.shape) for tensor in (query, key, value)]
    if query.dim() != 4 or query.shape != key.shape:
        raise ValueError(f'query and key must have the same shape (N, C, H, W), not {shapes[0]} and {shapes[1]}')
    if value.dim() != 4 or value.shape[0] != query.shape[0] or value.shape[2:] != query.shape[2:]:
        raise ValueError(f'value must have shape (N, V, H, W) with N, H, W of the query {shapes[0]}, not {shapes[2]}')
    if not (query.device == key.device == value.device):
        raise ValueError(f'query, key and value must share a device, not {query.device}, {key.device}, {value.device}')
    if not (query.is_floating_point() and key.is_floating_point() and value.is_floating_point()):
        raise ValueError(f'query, key and value must be floating point, not {query.dtype}, {key.dtype}, {value.dtype}')
    if window != 'global' and (not isinstance(window, int) or window < 1 or window % 2 == 0):
        raise ValueError(f"window must be an odd positive integer or 'global', not {window!r}")
    if border not in ('mask', 'zero'):
        raise ValueError(f"border must be 'mask' or 'zero', not {border!r}")


def _autocast(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cast as autocast does for a matrix product; the custom operator has no autocast rule."""
    kind = query.device.type
    if kind == 'meta' or not torch.is_autocast_enabled(kind):  # the meta device has no autocast
        return query, key, value
    dtype = torch.get_autocast_dtype(kind)
    query, key, value = (x if x.dtype == torch.float64 else x.to(dtype) for x in (query, key, value))
    return query, key, value


def _global_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Attend from each pixel to the whole map of the other frame."""
    dtype = torch.promote_types(torch.promote_types(query.dtype, key.dtype), value.dtype)
    # (N, 1, H*W, C): the single head makes the fused kernels eligible.
    q, k, v = (tensor.to(dtype).flatten(2).transpose(1, 2).unsqueeze(1) for tensor in (query, key, value))
    out = F.scaled_dot_product_attention(q, k, v, scale=scale).squeeze(1).transpose(1, 2).reshape(value.shape)
    return as_laid_out(out.to(value.dtype), value)
