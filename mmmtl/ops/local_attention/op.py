"""The operators `mmmtl::local_attention` and `mmmtl::local_attention_backward`, registered with PyTorch.

Their argument `backend` names the kernel that runs, so a compiled or exported graph keeps it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from .contract import empty_gradients, empty_outputs
from .dispatch import KERNELS, log_choice

_FORWARD = 'mmmtl::local_attention'
_BACKWARD = 'mmmtl::local_attention_backward'

torch.library.define(
    _FORWARD,
    '(Tensor query, Tensor key, Tensor value, int window, float scale, str border, str backend) -> (Tensor, Tensor)',
    tags=(torch.Tag.pt2_compliant_tag,),
)
torch.library.define(
    _BACKWARD,
    '(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor weights, int window, float scale, str backend) '
    '-> (Tensor, Tensor, Tensor)',
    tags=(torch.Tag.pt2_compliant_tag,),
)


@torch.library.impl(_FORWARD, 'default')
def _forward(
    query: Tensor, key: Tensor, value: Tensor, window: int, scale: float, border: str, backend: str
) -> tuple[Tensor, Tensor]:
    log_choice(backend, value.device.type, value.dtype)
    return KERNELS[backend].forward(query, key, value, window=window, scale=scale, border=border)


@torch.library.impl(_BACKWARD, 'default')
def _backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, weights: Tensor, window: int, scale: float, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    return KERNELS[backend].backward(grad, query, key, value, weights, window=window, scale=scale)


@torch.library.register_fake(_FORWARD)
def _forward_fake(query: Tensor, key: Tensor, value: Tensor, window: int, *_: Any) -> tuple[Tensor, Tensor]:
    return empty_outputs(query, key, value, window)


@torch.library.register_fake(_BACKWARD)
def _backward_fake(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return empty_gradients(query, key, value)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, ctx.window, ctx.scale, _, ctx.backend = inputs
    weights = output[1]
    ctx.save_for_backward(query, key, value, weights)
    ctx.mark_non_differentiable(weights)


def _differentiate(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    grads = torch.ops.mmmtl.local_attention_backward(grad, *ctx.saved_tensors, ctx.window, ctx.scale, ctx.backend)
    return *grads, None, None, None, None


def _refuse(ctx: Any, *grads: Tensor) -> None:
    # Without this, PyTorch would treat the gradients as constants and only warn.
    raise RuntimeError('local_attention can be differentiated only once: it has no double backward')


torch.library.register_autograd(_FORWARD, _differentiate, setup_context=_save)
torch.library.register_autograd(_BACKWARD, _refuse)


@register_flop_formula(torch.ops.mmmtl.local_attention)
def _forward_flops(query: torch.Size, key: torch.Size, value: torch.Size, window: int, *_: Any, **__: Any) -> int:
    """Count two per multiply-accumulate, for all L * L taps including those outside the image."""
    images, channels, height, width = query
    return 2 * window * window * (channels + value[1]) * images * height * width


@register_flop_formula(torch.ops.mmmtl.local_attention_backward)
def _backward_flops(grad: torch.Size, query: torch.Size, key: torch.Size, *others: Any, **_: Any) -> int:
    """Count two products for each of the forward's two."""
    value, _weights, window, *_rest = others
    return 2 * _forward_flops(query, key, value, window)
