"""The interface of local attention backends."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..precision import at_least_float32

# N images, C channels of query and key, V channels of value, L side of the window, H W the map.


class Backend(Protocol):
    """A module that computes local attention; `dispatch.py` lists all of them by name."""

    def missing(self) -> str:
        """Return why this backend cannot run on this machine; empty if it can."""

    def unsupported(self, query: Tensor, key: Tensor, value: Tensor, window: int) -> str:
        """Return why this backend cannot run these tensors; empty if it can."""


class Kernel(Backend, Protocol):
    """A backend that runs inside the operator: a module with these four functions.

    Taps are numbered row by row: tap (y + r) * L + (x + r) weights the neighbour at (i + y, j + x), with r = L // 2.
    Logits, softmax and sums have the dtype `at_least_float32`. Results have the memory layout of `empty_outputs` and
    `empty_gradients`, because the compiler plans with exactly those strides.
    """

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, window: int, scale: float, border: str
    ) -> tuple[Tensor, Tensor]:
        """Return the output (N, V, H, W) and the softmax weights (N, L*L, H, W), 0 for excluded neighbours."""

    def backward(
        self, grad: Tensor, query: Tensor, key: Tensor, value: Tensor, weights: Tensor, *, window: int, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of query, key and value, bit-identical in every run."""


def empty_outputs(query: Tensor, key: Tensor, value: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Allocate the output (layout of `value`) and the weights (N, L*L, H, W) (contiguous, `at_least_float32`)."""
    images, _, height, width = value.shape
    shape = (images, window * window, height, width)
    weights = torch.empty(shape, dtype=at_least_float32(query, key, value), device=value.device)
    return torch.empty_like(value), weights


def as_laid_out(out: Tensor, value: Tensor) -> Tensor:
    """Return `out` in the memory format of `value`, for results computed without `empty_outputs`."""
    channels_last = value.is_contiguous(memory_format=torch.channels_last) and not value.is_contiguous()
    return out.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def empty_gradients(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Allocate the gradients, each with the layout of its input."""
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
