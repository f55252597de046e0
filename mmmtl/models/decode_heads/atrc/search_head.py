"""ATRC's search: the decoder in which each pair of tasks is still choosing its type of context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmmtl.models.training_observer import TrainingObserver
from mmmtl.registry import MODELS
from mmmtl.tasks import Task

from ..base import HeadOutput
from .genotype import CONTEXTS, Genotype
from .head import ATRCHead
from .search import ContextChoice


@MODELS.register_module()
class ATRCSearchHead(ATRCHead, TrainingObserver):
    """An `ATRCHead` in which every pair of tasks is a `ContextChoice` among all types, learnt with the weights.

    A task with itself has no 'source_label', which would equal its 'target_label'. The mean entropy of the choices is a
    loss, `search.loss_entropy`. Its weight goes from below zero (explore) to above (decide) while the temperature of
    the samples falls, both linearly in the progress of training. A pair whose likeliest candidate leads by enough is
    decided for good. Checkpoints hold all that the search has learnt and decided, and the schedule follows from the
    progress, so a resumed search continues like an uninterrupted one. At its end the search writes `genotype.json`.

    `ATRCHead` explains the arguments that it shares; `norm_cfg` must know `affine`, as BN, SyncBN and GN do.

    Args:
        temperature: temperatures at the beginning and at the end.
        entropy_weight: weights of the entropy at the beginning and at the end.
        lead: margin of the largest probability over the second that decides a pair.

    Reference: Bruggemann et al., Exploring Relational Context for Multi-Task Dense Prediction, ICCV 2021, section 3.3.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        channels: int | None = None,
        context_channels: int | None = None,
        dropout: float = 0.05,
        norm_cfg: dict[str, Any] | None = None,
        temperature: tuple[float, float] = (1.0, 0.05),
        entropy_weight: tuple[float, float] = (-0.02, 0.06),
        lead: float = 0.3,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            tasks=tasks,
            in_channels=in_channels,
            contexts='target_label',  # needs the label space of every task, as the search does
            channels=channels,
            context_channels=context_channels,
            dropout=dropout,
            norm_cfg=norm_cfg,
            init_cfg=init_cfg,
        )
        if not (min(temperature) > 0 and 0 < lead < 1):
            raise ValueError(f'temperatures must be above 0 and lead between 0 and 1, not {temperature} and {lead}')
        self.temperature = temperature
        self.entropy_weight = entropy_weight
        self.lead = lead
        self.before_iteration(0, 0.0, 0)

    def build_pair(
        self, target: str, source: str, kind: str, in_channels: int, channels: int, norm_cfg: dict[str, Any]
    ) -> ContextChoice:
        """Build the choice of a pair among all types."""
        kinds = [kind for kind in CONTEXTS if (target, kind) != (source, 'source_label')]
        return ContextChoice(kinds, in_channels, channels, norm_cfg=norm_cfg)

    @property
    def choices(self) -> dict[tuple[str, str], ContextChoice]:
        """The choices by target and source task."""
        return {(target, source): choice for target, row in self.contexts.items() for source, choice in row.items()}

    @torch.no_grad()
    def before_iteration(self, iteration: int, progress: float, draw_seed: int) -> None:
        """Decide the pairs that are ready, and set the schedule."""
        self.entropy_weight_now = _between(self.entropy_weight, progress)
        for choice in self.choices.values():
            choice.temperature = _between(self.temperature, progress)
            choice.decide(self.lead)

    def on_train_end(self) -> dict[str, Any]:
        return {'genotype': self.genotype()}

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Predict like `ATRCHead`, in training with the loss of the entropy."""
        output = super().forward(features)
        return replace(output, losses=self.entropy_losses()) if self.training else output

    def entropy_losses(self) -> dict[str, Tensor]:
        """Return `search.loss_entropy` and, for the log, `search.entropy` (nats) and `search.open` (open share)."""
        choices = self.choices.values()
        mean = torch.stack([choice.entropy() for choice in choices]).mean()
        loss, decided = self.entropy_weight_now * mean, torch.stack([choice.decided for choice in choices])
        return {'search.loss_entropy': loss, 'search.entropy': mean.detach(), 'search.open': (~decided).float().mean()}

    def genotype(self) -> Genotype:
        """Return the likeliest type of every pair, {target: {source: type}}, as `ATRCHead(contexts=...)` takes it."""
        choices = self.choices
        return {t: {s: choices[t, s].chosen for s in self.contexts} for t in self.contexts}


def _between(ends: tuple[float, float], progress: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * progress
