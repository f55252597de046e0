"""The choice among the contexts of one pair of tasks during ATRC's search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmtl.models.layers import ModuleMap

from .context import Context, TaskMaps, build_context


def entropy(alpha: Tensor) -> Tensor:
    """Return the entropy -sum_i p_i log p_i of p = softmax(alpha), in nats: a scalar for logits (K,)."""
    log_p = alpha.log_softmax(dim=0)
    return -(log_p.exp() * log_p).sum()


def leads(alpha: Tensor, lead: float) -> Tensor:
    """Return whether the largest probability of logits (K,) is at least `lead` above the second: a bool scalar."""
    first, second = alpha.softmax(dim=0).topk(2).values.unbind()
    return first - second >= lead


class ContextChoice(nn.Module):
    """The candidate contexts of one pair, and the logits `alpha` that rate them; called like a context.

    In training each call draws weights w ~ Gumbel-softmax(alpha, temperature) and returns sum_i w_i context_i, as SNAS
    does. The weights are relaxed, so all candidates learn; they become one-hot as the temperature approaches 0. Once
    `decided`, and in evaluation, only the likeliest candidate runs, and the others keep their parameters.

    The value norms are not affine, so `alpha` alone scales a candidate.

    Args:
        kinds: types of `CONTEXTS`, at least two; 'none' is a map of zeros.
        in_channels: C of the features.
        channels: D of the contexts.

    Reference: ATRC, section 3.3; Xie et al., SNAS: Stochastic Neural Architecture Search, ICLR 2019.
    """

    decided: Tensor

    def __init__(
        self, kinds: Sequence[str], in_channels: int, channels: int, *, norm_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.kinds = tuple(kinds)
        self.channels = channels
        self.temperature = 1.0
        self.candidates: ModuleMap[Context] = ModuleMap(
            {
                kind: build_context(kind, in_channels, channels, norm_cfg=norm_cfg, affine_value=False)
                for kind in kinds
                if kind != 'none'
            }
        )
        self.alpha = nn.Parameter(torch.zeros(len(self.kinds)))
        self.register_buffer('decided', torch.tensor(False))

    @property
    def chosen(self) -> str:
        """The likeliest kind. Raises a ValueError if the model has no weights (meta device)."""
        if self.alpha.is_meta:
            raise ValueError(
                'a search without weights has not chosen its contexts; count the cost of its result: ATRCHead with '
                "contexts='genotype.json'"
            )
        return self.kinds[int(self.alpha.argmax())]

    def decide(self, lead: float) -> None:
        """Stop the search of this pair, for good, if one candidate leads by this much."""
        self.decided |= leads(self.alpha.detach(), lead)

    def entropy(self) -> Tensor:
        """Return the entropy of the choice. Its gradient reaches alpha until the pair is decided."""
        return entropy(self.alpha.detach() if self.decided else self.alpha)

    def forward(self, target: TaskMaps, source: TaskMaps) -> Tensor:
        weights: dict[str, Tensor | float] = {}
        if self.training and not self.decided:
            weights.update(zip(self.kinds, F.gumbel_softmax(self.alpha, self.temperature), strict=True))
        else:
            weights[self.chosen] = 1.0
        found = target.features.new_zeros(len(target.features), self.channels, *target.features.shape[2:])
        for kind, weight in weights.items():
            if kind != 'none':
                found = found + weight * self.candidates[kind](target, source)
        return found
