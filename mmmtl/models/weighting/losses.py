"""Weightings of the losses: fixed, learned, drawn at random, or from the course of the losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mmmtl.registry import MODELS

from .base import JoinedWeighting, LossWeighting, Objectives
from .library import torchjd


@MODELS.register_module()
class FixedWeighting(JoinedWeighting):
    """The sum of all losses, bit for bit that of a model without a weighting; it only adds the log."""

    def join(self, step: Objectives) -> Tensor:
        # In the order of mmengine's `parse_losses`.
        total: Tensor = sum(step.losses.values())  # type: ignore[assignment]
        return total

    def weights(self, step: Objectives, loss: Tensor) -> Tensor:
        return torch.ones(len(step.values))


class Scalarization(LossWeighting):
    """A scalariser of torchjd, with one number per task in each of its parameters, if it has any."""

    def __init__(self, scalarizer: nn.Module, *, tasks: Sequence[str], log_interval: int) -> None:
        super().__init__(tasks=tasks, log_interval=log_interval)
        self.scalarizer = scalarizer

    def combine(self, values: Tensor, tasks: Tensor) -> Tensor:
        # Of the tasks with labels alone.
        numbers = {name: numbers[tasks.to(numbers.device)] for name, numbers in self.scalarizer.named_parameters()}
        total: Tensor = functional_call(self.scalarizer, numbers, (values,))
        return total


@MODELS.register_module()
class UncertaintyWeighting(Scalarization):
    """sum_i exp(-s_i) L_i / 2 + s_i / 2, with s_i learned, the logarithm of a variance (torchjd's `UW`).

    The paper leaves out the factor 1/2 of the first term for classification; `loss_weight=2` does. The optimizer has
    the s_i, so its weight decay pulls them to 0 unless `paramwise_cfg` says otherwise.

    Reference: Kendall et al., Multi-Task Learning Using Uncertainty to Weigh Losses, CVPR 2018, equation 7.
    """

    def __init__(self, *, tasks: Sequence[str], log_interval: int = 50) -> None:
        super().__init__(torchjd('scalarization').UW(len(tasks)), tasks=tasks, log_interval=log_interval)


@MODELS.register_module()
class IMTLL(Scalarization):
    """sum_i exp(s_i) L_i - s_i, with s_i learned; for the optimizer, what `UncertaintyWeighting` says holds.

    Reference: Liu et al., Towards Impartial Multi-task Learning, ICLR 2021, section 3.2.
    """

    def __init__(self, *, tasks: Sequence[str], log_interval: int = 50) -> None:
        super().__init__(torchjd('scalarization').IMTLL(len(tasks)), tasks=tasks, log_interval=log_interval)


@MODELS.register_module()
class GeometricMean(Scalarization):
    """(prod_i L_i)^(1/P) over the P tasks with labels; the losses must not be negative.

    Reference: Chennupati et al., MultiNet++, CVPR Workshops 2019, equation 3.
    """

    def __init__(self, *, tasks: Sequence[str], log_interval: int = 50) -> None:
        super().__init__(torchjd('scalarization').GeometricMean(), tasks=tasks, log_interval=log_interval)


@MODELS.register_module()
class RandomWeighting(Scalarization):
    """sum_i w_i L_i, with w the softmax of normal numbers, drawn anew in each iteration; they add up to 1.

    Reference: Lin et al., Reasonable Effectiveness of Random Weighting, TMLR 2022, algorithm 2.
    """

    def __init__(self, *, tasks: Sequence[str], log_interval: int = 50) -> None:
        super().__init__(torchjd('scalarization').Random(), tasks=tasks, log_interval=log_interval)

    def combine(self, values: Tensor, tasks: Tensor) -> Tensor:
        with self.numbered_draws(values.device):
            return super().combine(values, tasks)


@MODELS.register_module()
class DWA(LossWeighting):
    """sum_i w_i L_i, w = P softmax(r / temperature), r_i the ratio of the mean of L_i in the last two intervals.

    Until two intervals are known, a ratio is 1. torchjd's DWA keeps its history where no checkpoint has it.

    Args:
        interval: iterations of a mean; the paper takes an epoch.
        temperature: larger ones make the weights more alike.

    Reference: Liu et al., End-to-End Multi-Task Learning with Attention, CVPR 2019, equation 7.
    """

    passed: Tensor
    sums: Tensor
    counts: Tensor
    means: Tensor

    def __init__(
        self, *, interval: int, tasks: Sequence[str], temperature: float = 2.0, log_interval: int = 50
    ) -> None:
        super().__init__(tasks=tasks, log_interval=log_interval)
        if interval < 1 or temperature <= 0:
            raise ValueError(f'interval and temperature must be positive, not {interval} and {temperature}')
        self.interval = interval
        self.temperature = temperature
        self.register_buffer('passed', torch.tensor(0))
        self.register_buffer('sums', torch.zeros(len(tasks)))
        self.register_buffer('counts', torch.zeros(len(tasks)))
        self.register_buffer('means', torch.zeros(2, len(tasks)))

    def combine(self, values: Tensor, tasks: Tensor) -> Tensor:
        tasks = tasks.to(values.device)
        before, last = self.means[:, tasks]
        ratios = torch.where((before != 0) & (last != 0), last / before, 1.0)
        weights = len(tasks) * (ratios / self.temperature).softmax(dim=0)
        self.sums[tasks] += values.detach()
        self.counts[tasks] += 1
        self.passed += 1
        if self.passed == self.interval:
            known = self.counts > 0
            self.means[0] = torch.where(known, self.means[1], self.means[0])
            self.means[1] = torch.where(known, self.sums / self.counts, self.means[1])
            for buffer in (self.passed, self.sums, self.counts):
                buffer.zero_()
        return (weights * values).sum()


@MODELS.register_module()
class FAMO(LossWeighting):
    """FAMO: all objectives should fall by the same factor; their weights follow from the last changes.

    After each update, the losses of the batch are computed once more, without gradients. torchjd's Adam moves the
    logits of the tasks that had labels; checkpoints hold its state. The losses must be positive; the value of their
    combination means nothing.

    Args:
        lr, weight_decay: learning rate and weight decay of the logits.

    Reference: Liu et al., FAMO: Fast Adaptive Multitask Optimization, NeurIPS 2023, algorithm 2.
    """

    logits: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor

    def __init__(
        self, *, tasks: Sequence[str], lr: float = 0.025, weight_decay: float = 1e-3, log_interval: int = 50
    ) -> None:
        super().__init__(tasks=tasks, log_interval=log_interval)
        self.lr = lr
        self.weight_decay = weight_decay
        for name in ('logits', 'exp_avg', 'exp_avg_sq'):
            self.register_buffer(name, torch.zeros(len(tasks)))
        self.register_buffer('step', torch.tensor(0.0))
        self.present = torch.arange(0)
        self.before = torch.zeros(0)
        self._famo(self.present)  # fails now if torchjd is not installed

    def join(self, step: Objectives) -> Tensor:
        self.present = step.tasks
        return super().join(step)

    def combine(self, values: Tensor, tasks: Tensor) -> Tensor:
        self._check_signs(values, tasks)
        self.before = values.detach()
        total: Tensor = self._famo(tasks)(values)
        return total

    def after_update(self, losses_now: Callable[[], Mapping[str, Tensor]]) -> None:
        """Move the logits of the tasks that had labels by the changes of their objectives."""
        present, self.present = self.present, torch.arange(0)
        if len(present) < 2:  # alone, a task has all the weight
            return
        step = self.objectives(losses_now())
        now = dict(zip(step.tasks.tolist(), step.values, strict=True))
        values = torch.stack([now.get(task, torch.zeros_like(step.rest)) for task in present.tolist()])
        self._check_signs(values, present)
        famo = self._famo(present)
        famo(self.before)
        (logits,) = famo.parameters()
        exp_avg, exp_avg_sq = self.exp_avg[present], self.exp_avg_sq[present]
        famo._optimizer = torch.optim.Adam([logits], lr=self.lr, weight_decay=self.weight_decay)
        famo._optimizer.state[logits] = dict(step=self.step, exp_avg=exp_avg, exp_avg_sq=exp_avg_sq)
        famo.update(values)
        self.logits[present] = logits.detach()
        self.exp_avg[present], self.exp_avg_sq[present] = exp_avg, exp_avg_sq

    def _check_signs(self, values: Tensor, tasks: Tensor) -> None:
        if (negative := (values < 0).cpu()).any():
            names = ', '.join(self.tasks[task] for task in tasks[negative].tolist())
            raise ValueError(
                f'FAMO needs losses that are not negative; check those of {names}, or use another weighting'
            )

    def _famo(self, tasks: Tensor) -> Any:
        """Return torchjd's FAMO of some tasks, with their logits."""
        famo = torchjd('scalarization').FAMO(len(tasks), lr=self.lr, weight_decay=self.weight_decay)
        (logits,) = famo.to(self.logits).parameters()
        logits.data.copy_(self.logits[tasks])
        return famo
