"""The choice among contexts of one pair of tasks, while ATRC searches it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmtl.models.layers import ModuleMap

from .context import Context, TaskMaps, build_context


def entropy(alpha: Tensor) -> Tensor:
    """Entropy -sum_i p_i log p_i of p = softmax(alpha), in nats: of logits (K,) a scalar."""
    log_p = alpha.log_softmax(dim=0)
    return -(log_p.exp() * log_p).sum()


def leads(alpha: Tensor, lead: float) -> Tensor:
    """Whether the largest probability of logits (K,) is at least `lead` above the second: a bool scalar."""
    first, second = alpha.softmax(dim=0).topk(2).values
    return first - second >= lead


class ContextChoice(nn.Module):
    """Candidates of one pair, and the logits `alpha` of how good each is; it is called as a context is.

    In training each call draws weights w ~ Gumbel-softmax(alpha, temperature) and returns sum_i w_i context_i, as SNAS
    does: relaxed, not one-hot, so that all candidates learn; near temperature 0 they are one-hot. Once `decided`, and
    in evaluation, the likeliest candidate runs alone, and the rest keep their weights.

    The norms of the values have no weights of their own: of how much a candidate counts, alpha alone decides.

    Args:
        kinds: of `CONTEXTS`, two at least; 'none' is a map of zeros.
        in_channels: C of the features.
        channels: D of the contexts.
        norm_cfg: normalisation.

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
        """The likeliest kind.

        Raises:
            ValueError: the model has no weights, as where its cost is counted.
        """
        if self.alpha.is_meta:
            raise ValueError(
                'a search has no contexts before it has weights; count the cost of what it found: ATRCHead with '
                "contexts='genotype.json'"
            )
        return self.kinds[int(self.alpha.argmax())]

    def decide(self, lead: float) -> None:
        """Stop the search of this pair, for good, if one candidate leads by this much."""
        self.decided |= leads(self.alpha.detach(), lead)

    def entropy(self) -> Tensor:
        """Of the choice; it teaches alpha until the pair is decided."""
        return entropy(self.alpha.detach() if self.decided else self.alpha)

    def forward(self, target: TaskMaps, source: TaskMaps) -> Tensor:
        """Return (N, D, H, W), see `Context`."""
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
