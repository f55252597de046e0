"""The contract of weightings, which make one loss of the objectives of the tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations, compress

import torch
from mmengine.logging import MessageHub
from torch import Tensor, nn

from mmmtl.models.training_observer import TrainingObserver
from mmmtl.ops.precision import at_least_float32

from .gradients import Gradients, add, gradients_of, reached_by, task_gradients, with_gradients


@dataclass(frozen=True)
class Objectives:
    """The losses of a step, one objective for each task that has labels.

    Attributes:
        losses: all of them, scalars by name.
        tasks: positions (P,) of the tasks with labels among all, int64 on the CPU.
        values: P scalars, each the sum of the losses of a task.
        rest: the sum of all other losses.
    """

    losses: Mapping[str, Tensor]
    tasks: Tensor
    values: Sequence[Tensor]
    rest: Tensor


def task_of(name: str) -> str:
    """Return the task that a loss belongs to, or the first part of its name.

    Examples:
        >>> [task_of(f'{prefix}depth.loss_l1') for prefix in ('', 'preliminary.2.', 'label_space.', 'distill.')]
        ['depth', 'depth', 'depth', 'distill']
    """
    parts = name.split('.')
    return parts[{'preliminary': 2, 'label_space': 1}.get(parts[0], 0)]


class Weighting(nn.Module, TrainingObserver, ABC):
    """Base of the weightings: they make one loss of the objectives of the tasks.

    The objective of a task is the sum of all its losses, as the model weighs them: those of its prediction, of
    preliminary predictions and of label spaces. All other losses (alignment, distillation, search) are added as they
    are. An objective of exactly 0 is that of a task without a label in the batches of all processes; it is added to
    these other losses, so the weighting sees only the others.

    A subclass is a `LossWeighting` or a `GradientWeighting`. Learnt values and counts belong in parameters and
    buffers, so that checkpoints hold them. Draws are made inside `numbered_draws`.

    Args:
        tasks: names of the tasks, given by the model, sorted.
        log_interval: iterations from one log of `objective/<task>`, `weight/<task>`, `grad_norm/<task>` and
            `grad_cosine/<task>-<task>` to the next; 0 logs nothing. Gradients are those of the shared parameters.
    """

    def __init__(self, *, tasks: Sequence[str], log_interval: int = 50) -> None:
        super().__init__()
        if log_interval < 0:
            raise ValueError(f'log_interval must be at least 1, or 0 for no log, not {log_interval}')
        self.tasks = tuple(tasks)
        self.log_interval = log_interval
        self.iteration = 0
        self.draw_seed = 0

    def before_iteration(self, iteration: int, progress: float, draw_seed: int) -> None:
        self.iteration, self.draw_seed = iteration, draw_seed

    def forward(self, losses: Mapping[str, Tensor], parameters: Iterable[nn.Parameter]) -> Tensor:
        """Return the loss of a step, a scalar; its backward pass gives the weighted gradients.

        Args:
            losses: scalars by name, those of the whole batch of all processes.
            parameters: all of the model; the gradients of those that the losses do not reach stay None.
        """
        return self.total(self.objectives(losses), [p for p in parameters if p.requires_grad])

    @abstractmethod
    def total(self, step: Objectives, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Return the loss of a step."""

    def objectives(self, losses: Mapping[str, Tensor]) -> Objectives:
        """Sort the losses of a step."""
        rest = next(iter(losses.values())).new_zeros(())
        sums = dict.fromkeys(self.tasks, rest)
        for name, value in losses.items():
            if (task := task_of(name)) in sums:
                sums[task] = sums[task] + value
            else:
                rest = rest + value
        # One transfer from the device for all tasks.
        labelled = (torch.stack([value.detach() for value in sums.values()]) != 0).tolist()
        for value, chosen in zip(sums.values(), labelled, strict=True):
            rest = rest if chosen else rest + value
        values = [value for value, chosen in zip(sums.values(), labelled, strict=True) if chosen]
        return Objectives(losses, torch.tensor(labelled).nonzero()[:, 0], values, rest)

    def tie(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the same losses, in whose graph the parameters of the weighting are.

        DistributedDataParallel takes those that the forward pass of the model does not reach for unused.
        """
        zero = sum(0 * parameter.sum() for parameter in self.parameters() if parameter.requires_grad)
        (name, first), *_ = losses.items()
        return {**losses, name: first + zero}

    @property
    def logs_now(self) -> bool:
        """Whether this iteration is logged."""
        return self.log_interval > 0 and (self.iteration + 1) % self.log_interval == 0

    def log(self, kind: str, tasks: Tensor, values: Tensor) -> None:
        """Log a value for each of some tasks as `<kind>/<task>`."""
        for task, value in zip(tasks.tolist(), values.tolist(), strict=True):
            MessageHub.get_current_instance().update_scalar(f'train/{kind}/{self.tasks[task]}', value)

    def log_gradients(self, tasks: Tensor, gramian: Tensor) -> None:
        """Log the norms and cosines of the gradients of some tasks, from their inner products (P, P)."""
        norms = gramian.diag().sqrt()
        self.log('grad_norm', tasks, norms)
        for i, j in combinations(range(len(tasks)), 2):
            if norms[i] * norms[j] > 0:
                name = f'{self.tasks[int(tasks[i])]}-{self.tasks[int(tasks[j])]}'
                cosine = float(gramian[i, j] / (norms[i] * norms[j]))
                MessageHub.get_current_instance().update_scalar(f'train/grad_cosine/{name}', cosine)

    @contextmanager
    def numbered_draws(self, device: torch.device) -> Iterator[None]:
        """Seed torch with the seed of the iteration, the same on all processes; put everything back at the end."""
        with torch.random.fork_rng([device] if device.type == 'cuda' else []):
            torch.manual_seed(self.draw_seed)
            yield


class JoinedWeighting(Weighting):
    """Base of the weightings that compute one loss, and leave its gradients to the backward pass."""

    @abstractmethod
    def join(self, step: Objectives) -> Tensor:
        """Return the loss of a step, with the losses that have no weight."""

    def weights(self, step: Objectives, loss: Tensor) -> Tensor:
        """Return the weights (P,) of the objectives, the derivatives of the loss."""
        return torch.stack(torch.autograd.grad(loss, list(step.values), retain_graph=True))

    def total(self, step: Objectives, parameters: Sequence[nn.Parameter]) -> Tensor:
        # A task of which everything is frozen has no graph, but its objective has a weight.
        values = [value if value.requires_grad else value.detach().requires_grad_() for value in step.values]
        step = replace(step, values=values)
        loss = self.join(step)
        if self.logs_now and step.values:
            self.log('objective', step.tasks, torch.stack(list(step.values)))
            self.log('weight', step.tasks, self.weights(step, loss))

            def log(scale: Tensor) -> None:
                found = task_gradients(step.values, parameters, scale)
                self.log_gradients(step.tasks, found.gramian)

            loss.register_hook(log)  # type: ignore[no-untyped-call]
        return loss


class LossWeighting(JoinedWeighting):
    """Base of the weightings that compute one loss from the values of the objectives."""

    @abstractmethod
    def combine(self, values: Tensor, tasks: Tensor) -> Tensor:
        """Return a loss, a scalar, from objectives (P,), at least one, and the positions (P,) of their tasks."""

    def join(self, step: Objectives) -> Tensor:
        if not step.values:
            return step.rest
        loss = self.combine(torch.stack(list(step.values)), step.tasks)
        if not isinstance(loss, Tensor) or loss.ndim:
            found = f'a tensor {tuple(loss.shape)}' if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(
                f'{type(self).__name__}.combine must return one loss, a tensor without dimensions, not {found}'
            )
        return loss + step.rest


class GradientWeighting(Weighting):
    """Base of the weightings that combine the gradients of the objectives where they share parameters.

    A shared parameter gets the weighted sum of these gradients, and any other its plain gradient. A parameter is shared
    if several objectives have a gradient there that is not zero. A step takes one backward pass for each objective, and
    one for the losses without a weight. With accumulated gradients, each batch is weighted on its own.
    """

    precision = torch.float32
    """Type of the gradients whose inner products `weigh` gets, float32 for smaller ones."""

    @abstractmethod
    def weigh(self, gramian: Tensor, tasks: Tensor) -> Tensor:
        """Return the weights (P,) of at least two objectives.

        Args:
            gramian: inner products (P, P) of the gradients of the shared parameters, float64 on the CPU.
            tasks: positions (P,) of their tasks.
        """

    def total(self, step: Objectives, parameters: Sequence[nn.Parameter]) -> Tensor:
        values, rest = list(step.values), step.rest
        if not values:
            return rest
        reached = reached_by([*values, rest], parameters)

        def gradients(scale: Tensor) -> Gradients:
            found = task_gradients(values, parameters, scale)
            weights = torch.ones(len(values), dtype=torch.float64)
            # What overflows is left to the GradScaler, or spoils the weights as without a weighting.
            if found.gramian.isfinite().all() and found.gramian.any():
                self.precision = at_least_float32(*compress(parameters, reached))
                weights = self._checked(self.weigh(found.gramian, step.tasks), len(values))
            if self.logs_now:
                self.log('objective', step.tasks, torch.stack(values))
                self.log('weight', step.tasks, weights)
                self.log_gradients(step.tasks, found.gramian)
            both = zip(found.combine(weights), gradients_of(rest, parameters, scale), strict=True)
            return list(map(add, compress(both, reached)))

        return with_gradients(sum(values, rest), gradients, list(compress(parameters, reached)))

    def _checked(self, weights: Tensor, count: int) -> Tensor:
        """Refuse weights that are not a finite number for each objective: they would break the parameters."""
        method = f'{type(self).__name__}.weigh'
        if not isinstance(weights, Tensor) or weights.shape != (count,):
            found = f'a tensor {tuple(weights.shape)}' if isinstance(weights, Tensor) else type(weights).__name__
            raise ValueError(f'{method} must return a tensor ({count},), a weight for each objective, not {found}')
        if not weights.isfinite().all():
            raise FloatingPointError(
                f'{method} returned {weights.tolist()} for finite gradients; training stopped before the parameters of '
                'the model changed'
            )
        return weights
