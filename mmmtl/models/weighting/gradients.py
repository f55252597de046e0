"""Gradients of several objectives at once, the same on all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from mmmtl.ops.precision import at_least_float32

Gradients = list[Tensor | None]
"""A gradient for each of some parameters; None where nothing depends on it."""


class TaskGradients(NamedTuple):
    """The gradients of K objectives with respect to the N parameters that this process has reached.

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


def parameters_of(losses: Iterable[Tensor], parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return the parameters, in their order, that the graphs of the losses reach."""
    stack = [loss.grad_fn for loss in losses if loss.grad_fn is not None]
    seen = set(stack)
    reached = set()
    while stack:
        node = stack.pop()
        reached.add(id(getattr(node, 'variable', None)))
        new = {child for child, _ in node.next_functions if child is not None} - seen
        seen |= new
        stack += new
    return [parameter for parameter in parameters if id(parameter) in reached]


def gradients_of(loss: Tensor, parameters: Sequence[Tensor], scale: Tensor) -> Gradients:
    """Return the gradients of a loss, times `scale`; its graph is kept."""
    if not loss.requires_grad:
        return [None] * len(parameters)
    return list(torch.autograd.grad(loss, parameters, scale, retain_graph=True, allow_unused=True))


def task_gradients(
    objectives: Sequence[Tensor], parameters: Sequence[Tensor], reached: Sequence[Tensor], scale: Tensor
) -> TaskGradients:
    """Return the gradients of `objectives`, times `scale`, with respect to the parameters that they have `reached`.

    All processes must call it with the same objectives and the same `parameters`, which include those that any of them
    has reached. The inner products are without `scale`.
    """
    rows = [gradients_of(objective, reached, scale) for objective in objectives]
    places = {id(parameter): place for place, parameter in enumerate(parameters)}
    numbers = [places[id(parameter)] for parameter in reached]
    moved = torch.zeros(len(rows), len(parameters), dtype=torch.int32, device=scale.device)
    for row, flags in zip(rows, moved, strict=True):
        found = [number for number, gradient in zip(numbers, row, strict=True) if gradient is not None]
        if found:
            # The largest magnitude, since a sum of squares may underflow; NaN is not zero either.
            sizes = torch._foreach_norm([gradient for gradient in row if gradient is not None], ord=float('inf'))
            flags[found] = torch.stack([(size != 0).int() for size in sizes])
    all_reduce(moved, op='max')
    shared = (moved.sum(dim=0) > 1).tolist()
    gramian = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=scale.device)
    if any(shared):
        gramian += _gramian(rows, numbers, [p for p, s in zip(parameters, shared, strict=True) if s], places)
    return TaskGradients(rows, [shared[number] for number in numbers], (gramian / scale.double() ** 2).cpu())


def _gramian(
    rows: Sequence[Gradients], numbers: Sequence[int], shared: Sequence[Tensor], places: Mapping[int, int]
) -> Tensor:
    """Return the inner products of the gradients of `shared` parameters, averaged over the processes."""
    size = sum(parameter.numel() for parameter in shared)
    matrix = torch.empty(len(rows), size, dtype=at_least_float32(*shared), device=shared[0].device)
    for row, flat in zip(rows, matrix, strict=True):
        own = dict(zip(numbers, row, strict=True))
        found = [own.get(places[id(parameter)]) for parameter in shared]
        parts = [torch.zeros_like(p) if g is None else g for p, g in zip(shared, found, strict=True)]
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
