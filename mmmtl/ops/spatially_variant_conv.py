"""Spatially variant convolution: each pixel has its own kernel, shared by all channels."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from types import EllipsisType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from .precision import at_least_float32

Box = tuple[EllipsisType, slice, slice]

# N images, V channels, K side of the kernels, H W the map.


def spatially_variant_conv(value: Tensor, kernels: Tensor) -> Tensor:
    """Compute a weighted sum of each pixel's neighbours, with weights that differ between pixels.

    out[:, :, i, j] = sum_{y,x} kernels[:, (y + K // 2) * K + x + K // 2, i, j] value[:, :, i+y, j+x]

    Neighbours outside the image count as zero. Sums are float32 (float64 if an input is). One pass per tap instead of
    unfolding keeps the memory independent of K. The operator is differentiable once.

    Args:
        value: (N, V, H, W).
        kernels: (N, K * K, H, W) with an odd K, row by row; they are not normalised here.

    Returns:
        (N, V, H, W), dtype of `value`.

    Reference: Li et al., Low-Latency Video Semantic Segmentation, CVPR 2018.
    """
    taps = kernels.shape[1] if kernels.dim() == 4 else 0
    # `len` would fix the batch of exported programs.
    if value.dim() != 4 or kernels.shape != (value.shape[0], taps, *value.shape[2:]) or value.device != kernels.device:
        raise ValueError(
            f'value must be (N, V, H, W) and kernels (N, K * K, H, W) on one device, not {tuple(value.shape)} on '
            f'{value.device} and {tuple(kernels.shape)} on {kernels.device}'
        )
    if isqrt(taps) ** 2 != taps or taps % 2 == 0:
        raise ValueError(f'kernels have {taps} weights, which is not the square of an odd number')
    if torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting():
        return weighted_neighbours(value, kernels)
    out: Tensor = torch.ops.mmmtl.spatially_variant_conv(value, kernels)
    return out


def weighted_neighbours(value: Tensor, kernels: Tensor) -> Tensor:
    """Compute the convolution by slicing padded maps, for exporters that do not know the operator.

    Sizes may be symbolic. The graph has some operators for each row of the kernels, and the memory holds K copies of
    the map.
    """
    side, dtype = isqrt(kernels.shape[1]), at_least_float32(value, kernels)
    weights = kernels.to(dtype).unsqueeze(1)
    total = torch.zeros_like(value, dtype=dtype)
    for y, row in enumerate(neighbour_rows(value.to(dtype), side)):
        total = total + (weights[:, :, y * side : (y + 1) * side] * row).sum(2)
    return total.to(value.dtype)


def neighbour_rows(maps: Tensor, side: int) -> Iterator[Tensor]:
    """Yield (N, C, side, H, W) for each row of a window: the neighbours in it, zero outside the maps (N, C, H, W)."""
    height, width = maps.shape[-2:]
    padded = F.pad(maps, (side // 2,) * 4)
    shifted = torch.stack([padded[..., x : x + width] for x in range(side)], dim=2)
    for y in range(side):
        yield shifted[..., y : y + height, :]


@torch.library.custom_op(
    'mmmtl::spatially_variant_conv', mutates_args=(), schema='(Tensor value, Tensor kernels) -> Tensor'
)
def _forward(value: Tensor, kernels: Tensor) -> Tensor:
    dtype = at_least_float32(value, kernels)
    source, weights = value.to(dtype), kernels.to(dtype)
    total = torch.zeros_like(source)
    for tap, here, there in _taps(kernels):
        total[here].addcmul_(weights[:, tap : tap + 1][here], source[there])
    return total.to(value.dtype)


@torch.library.custom_op(
    'mmmtl::spatially_variant_conv_backward',
    mutates_args=(),
    schema='(Tensor grad, Tensor value, Tensor kernels) -> (Tensor, Tensor)',
)
def _backward(grad: Tensor, value: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor]:
    dtype = at_least_float32(value, kernels)
    grad, source, weights = grad.to(dtype), value.to(dtype), kernels.to(dtype)
    grad_value, grad_kernels = torch.zeros_like(source), torch.zeros_like(weights)
    for tap, here, there in _taps(kernels):
        grad_value[there].addcmul_(weights[:, tap : tap + 1][here], grad[here])
        grad_kernels[:, tap : tap + 1][here] = (grad[here] * source[there]).sum(dim=1, keepdim=True)
    return grad_value.to(value.dtype), grad_kernels.to(kernels.dtype)


@_forward.register_fake
def _(value: Tensor, kernels: Tensor) -> Tensor:
    return torch.empty_like(value)


@_backward.register_fake
def _(grad: Tensor, value: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(value), torch.empty_like(kernels)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor] = torch.ops.mmmtl.spatially_variant_conv_backward(grad, *ctx.saved_tensors)
    return gradients


_forward.register_autograd(_differentiate, setup_context=_save)


@register_flop_formula(torch.ops.mmmtl.spatially_variant_conv)
def _flops(value: torch.Size, kernels: torch.Size, *_: Any, **__: Any) -> int:
    """Count two per multiply-accumulate, for all taps including those outside the image."""
    return 2 * value.numel() * kernels[1]


@register_flop_formula(torch.ops.mmmtl.spatially_variant_conv_backward)
def _backward_flops(grad: torch.Size, value: torch.Size, kernels: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * _flops(value, kernels)


def _taps(kernels: Tensor) -> Iterator[tuple[int, Box, Box]]:
    """Yield each tap, the box of pixels that have this neighbour, and the box of these neighbours."""
    taps, height, width = kernels.shape[1:]
    side = isqrt(taps)
    for tap in range(taps):
        y, x = tap // side - side // 2, tap % side - side // 2
        top, bottom, left, right = max(0, -y), min(height, height - y), max(0, -x), min(width, width - x)
        if top < bottom and left < right:
            here = (..., slice(top, bottom), slice(left, right))
            yield tap, here, (..., slice(top + y, bottom + y), slice(left + x, right + x))
