"""Gradients of several objectives at once, the same on all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from mmmtl.ops.precision import at_least_float32

Gradients = list[Tensor | None]
"""A gradient for each of some parameters; None where nothing depends on it."""


class TaskGradients(NamedTuple):
    """The gradients of K objectives with respect to N parameters.

    A parameter is shared if at least two objectives have a gradient there that is not zero, on any process.
    """

    rows: Sequence[Gradients]
    shared: Sequence[bool]
    gramian: Tensor
    """Inner products (K, K) of the gradients of all shared parameters, averaged over the processes; float64, CPU."""

    def combine(self, weights: Tensor) -> Gradients:
        """Return the sum of the gradients, those of shared parameters times the weights (K,) of their objectives.

        It is that of this process alone, as of any loss: DistributedDataParallel averages afterwards.
        """
        combined: Gradients = []
        for column, shared in zip(zip(*self.rows, strict=True), self.shared, strict=True):
            factors = weights.tolist() if shared else [1.0] * len(column)
            combined.append(add(w * g for w, g in zip(factors, column, strict=True) if g is not None))
        return combined


def add(gradients: Iterable[Tensor | None]) -> Tensor | None:
    """Return the sum of the gradients that exist."""
    found = [gradient for gradient in gradients if gradient is not None]
    return sum(found[1:], found[0]) if found else None


def reached_by(losses: Iterable[Tensor], parameters: Iterable[Tensor]) -> list[bool]:
    """Return for each parameter whether the graphs of the losses reach it."""
    stack = [loss.grad_fn for loss in losses if loss.grad_fn is not None]
    seen = set(stack)
    reached = set()
    while stack:
        node = stack.pop()
        reached.add(id(getattr(node, 'variable', None)))
        new = {child for child, _ in node.next_functions if child is not None} - seen
        seen |= new
        stack += new
    return [id(parameter) in reached for parameter in parameters]


def gradients_of(loss: Tensor, parameters: Sequence[Tensor], scale: Tensor) -> Gradients:
    """Return the gradients of a loss, times `scale`; its graph is kept."""
    if not loss.requires_grad:
        return [None] * len(parameters)
    return list(torch.autograd.grad(loss, parameters, scale, retain_graph=True, allow_unused=True))


def task_gradients(objectives: Sequence[Tensor], parameters: Sequence[Tensor], scale: Tensor) -> TaskGradients:
    """Return the gradients of objectives, times `scale`.

    All processes must call it with the same objectives and parameters. The inner products are without `scale`.
    """
    rows = [gradients_of(objective, parameters, scale) for objective in objectives]
    moved = torch.zeros(len(rows), len(parameters), dtype=torch.int32, device=scale.device)
    for row, flags in zip(rows, moved, strict=True):
        found = {place: gradient for place, gradient in enumerate(row) if gradient is not None}
        if found:
            # The largest magnitude, since a sum of squares may underflow; NaN is not zero either.
            sizes = torch._foreach_norm(list(found.values()), ord=float('inf'))
            flags[list(found)] = torch.stack([(size != 0).int() for size in sizes])
    all_reduce(moved, op='max')
    shared = (moved.sum(dim=0) > 1).tolist()
    gramian = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=scale.device)
    if any(shared):
        gramian += _gramian([list(compress(row, shared)) for row in rows], list(compress(parameters, shared)))
    return TaskGradients(rows, shared, (gramian / scale.double() ** 2).cpu())


def _gramian(rows: Sequence[Gradients], parameters: Sequence[Tensor]) -> Tensor:
    """Return the inner products of gradients of the same parameters, averaged over the processes."""
    size = sum(parameter.numel() for parameter in parameters)
    matrix = torch.empty(len(rows), size, dtype=at_least_float32(*parameters), device=parameters[0].device)
    for row, flat in zip(rows, matrix, strict=True):
        parts = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, row, strict=True)]
        torch.cat([part.flatten() for part in parts], out=flat)
        all_reduce(flat, op='mean')
    # In float64, as dependent gradients must stay so; by parts, which need less memory.
    doubled = (part.double() for part in torch.split(matrix, 1 << 20, dim=1))
    return torch.stack([part @ part.T for part in doubled]).sum(dim=0)


class _GivenGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Callable[[Tensor], Gradients], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Any, ...]:
        gradients, ctx.gradients = ctx.gradients, None  # frees the graphs that it holds
        return None, None, *gradients(scale)


def with_gradients(value: Tensor, gradients: Callable[[Tensor], Gradients], parameters: Sequence[Tensor]) -> Tensor:
    """Return `value` as a loss whose backward pass gives the parameters what `gradients(scale)` returns for them.

    `scale` is the gradient of the loss itself, which is not 1 with accumulated gradients or a GradScaler. So whatever
    surrounds a backward pass works: optimizer wrappers, DistributedDataParallel, hooks.
    """
    loss: Tensor = _GivenGradients.apply(value.detach(), gradients, *parameters)  # type: ignore[no-untyped-call]
    return loss
