"""The loss that aligns fast features with slow ones: L1 and a discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from mmmtl.registry import MODELS
from mmmtl.tasks.reduction import mean, sum_over_processes


class AlignLosses(NamedTuple):
    """Losses of slow and fast features; None for those that a configuration leaves out."""

    l1: Tensor | None = None
    discriminator: Tensor | None = None
    """The discriminator's own loss, which moves nothing else, in mode 'alternating'."""
    adversarial: Tensor | None = None
    accuracy: Tensor | None = None
    """The share of positions that the discriminator classifies correctly, for the log alone."""

    def named(self, prefix: str = '') -> dict[str, Tensor]:
        """Return the losses and the accuracy by their names in the log."""
        names = ('loss_l1', 'loss_discriminator', 'loss_adversarial', 'discriminator_accuracy')
        return {prefix + name: value for name, value in zip(names, self, strict=True) if value is not None}


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * grad, None


def reverse_gradient(x: Tensor, weight: float = 1.0) -> Tensor:
    """Return x itself; in the backward pass its gradient is multiplied by -weight (Ganin et al., JMLR 2016)."""
    reversed_: Tensor = _ReverseGradient.apply(x, weight)  # type: ignore[no-untyped-call]
    return reversed_


@MODELS.register_module()
class AdversarialAlignLoss(BaseModule):
    """alpha * |slow - fast| and an adversarial loss in which a discriminator D tells slow from fast features.

    D sees each position through 1x1 convolutions; strided ones would not fit small maps. It minimises the binary
    cross-entropy -log D(slow) - log(1 - D(fast)). Equation 3 prints the opposite sign, which has no lower bound.

    In mode 'grl' one optimiser moves everything. The features reach D through a gradient that is reversed and
    multiplied by beta, so one loss trains D and the fast network against it; the logged value is D's. In mode
    'alternating' the fast network minimises -beta log D(fast) and D its own loss, with two optimisers
    (`AlternatingOptimWrapperConstructor`).

    The paper does not say whether the slow network gets a gradient. With `detach_slow` only the fast one moves.
    Otherwise the slow one moves against D too, as equation 3 reads literally; in mode 'alternating' it minimises -beta
    log(1 - D(slow)).

    Args:
        in_channels: (C,) of the features, by default those of the slow network.
        hidden_channels: channels of the discriminator's two hidden layers.
        alpha: weight of the L1 loss; 0 leaves it out.
        beta: weight of the adversarial loss; 0 leaves it and the discriminator out.
        spectral: spectral normalisation of the discriminator.

    Reference: MILA, section 3.3, equation 3.
    """

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        hidden_channels: int = 256,
        alpha: float = 1.0,
        beta: float = 1.0,
        mode: Literal['grl', 'alternating'] = 'grl',
        detach_slow: bool = True,
        spectral: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if mode not in ('grl', 'alternating'):
            raise ValueError(f"mode must be 'grl' or 'alternating', not {mode!r}")
        if alpha < 0 or beta < 0:
            raise ValueError(f'alpha and beta must not be negative, not {alpha} and {beta}')
        self.alpha = alpha
        self.beta = beta
        self.mode = mode
        self.detach_slow = detach_slow
        self.discriminator = None
        if beta:
            widths = (in_channels[-1], hidden_channels, hidden_channels, 1)
            layers = [nn.Conv2d(a, b, 1) for a, b in zip(widths, widths[1:], strict=False)]
            first, second, last = (spectral_norm(layer) for layer in layers) if spectral else layers
            self.discriminator = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last)

    def forward(self, slow: Tensor, fast: Tensor) -> AlignLosses:
        """Return the losses of features (N, C, h, w) of the same frames.

        They are means over the positions of all processes. Without any they are zeros that are tied to the graph, and
        there is no accuracy.
        """
        if slow.shape != fast.shape:
            raise ValueError(
                f'slow features {tuple(slow.shape)} and fast features {tuple(fast.shape)} must have one shape; give '
                'both networks the same channels (AlignedBackbone) and the same output stride'
            )
        if self.detach_slow:
            slow = slow.detach()
        losses = AlignLosses(l1=self.alpha * mean((slow - fast).abs()) if self.alpha else None)
        if self.discriminator is None:
            return losses
        if self.mode == 'grl':
            on_slow, on_fast = (self.discriminator(reverse_gradient(x, self.beta)) for x in (slow, fast))
            losses = losses._replace(adversarial=_discrimination_loss(on_slow, on_fast))
        else:
            on_slow, on_fast = self.discriminator(slow.detach()), self.discriminator(fast.detach())
            own = _discrimination_loss(on_slow, on_fast)
            losses = losses._replace(discriminator=own, adversarial=self.beta * self._confusion(slow, fast))
        parts = ((on_slow > 0).float().sum(), (on_fast < 0).float().sum(), torch.tensor(on_fast.numel()))
        slow_right, fast_right, count = sum_over_processes(*parts)
        if count:
            losses = losses._replace(accuracy=(slow_right / count + fast_right / count) / 2)
        return losses

    def _confusion(self, slow: Tensor, fast: Tensor) -> Tensor:
        """Return the networks' adversarial loss, with the discriminator frozen."""
        assert self.discriminator is not None
        self.discriminator.requires_grad_(False)
        loss = mean(F.softplus(-self.discriminator(fast)))
        if not self.detach_slow:
            loss = loss + mean(F.softplus(self.discriminator(slow)))
        self.discriminator.requires_grad_(True)
        return loss


def _discrimination_loss(on_slow: Tensor, on_fast: Tensor) -> Tensor:
    """Return the binary cross-entropy of the discriminator's logits, summed over both kinds as in equation 3."""
    return mean(F.softplus(-on_slow)) + mean(F.softplus(on_fast))
