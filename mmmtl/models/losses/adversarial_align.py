"""The loss that makes fast features like slow ones: L1 and a discriminator."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from mmmtl.registry import MODELS


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * grad, None


def reverse_gradient(x: Tensor, weight: float = 1.0) -> Tensor:
    """The identity whose gradient is multiplied by -weight (Ganin et al., JMLR 2016)."""
    return _ReverseGradient.apply(x, weight)


@MODELS.register_module()
class AdversarialAlignLoss(BaseModule):
    """alpha * |slow - fast| and an adversarial loss in which a discriminator D tells slow from fast features.

    D sees each position through 1x1 convolutions; strided ones would not fit small maps. It minimises the binary
    cross-entropy -log D(slow) - log(1 - D(fast)): equation 3 prints the opposite sign, which has no lower bound.

    In mode 'grl' one optimiser moves everything: the fast features reach D through a reversed gradient times beta, so
    one loss trains D and the fast network against it; the value that is logged is D's. In mode 'alternating' the fast
    network minimises -beta log D(fast), D its own loss, each with an optimiser of its own
    (`AlternatingOptimWrapperConstructor`).

    The paper does not say whether the slow network gets a gradient; detached, only the fast one moves.

    Args:
        channels: of the features.
        hidden_channels: of the discriminator's two hidden layers.
        alpha: weight of the L1 loss; 0 leaves it out.
        beta: weight of the adversarial loss; 0 leaves it and the discriminator out.
        mode: 'grl' or 'alternating'.
        detach_slow: slow features get no gradient.
        spectral: spectral normalisation of the discriminator.

    Reference: MILA, section 3.3, equation 3.
    """

    def __init__(
        self,
        *,
        channels: int,
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
        self.alpha = alpha
        self.beta = beta
        self.mode = mode
        self.detach_slow = detach_slow
        self.discriminator = None
        if beta:
            widths = (channels, hidden_channels, hidden_channels, 1)
            layers = [nn.Conv2d(a, b, 1) for a, b in zip(widths, widths[1:], strict=False)]
            first, second, last = (spectral_norm(layer) for layer in layers) if spectral else layers
            self.discriminator = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last)

    def forward(self, slow: Tensor, fast: Tensor) -> dict[str, Tensor]:
        """Losses of features (N, channels, h, w) of the same frames; with N = 0 zeros that are tied to the graph.

        Returns:
            `loss_l1`, `loss_adversarial`, `discriminator_accuracy` (share of positions told right, logged only) and in
            mode 'alternating' `loss_discriminator`, which belongs to the discriminator's optimiser alone.
        """
        if self.detach_slow:
            slow = slow.detach()
        losses = {}
        if self.alpha:
            losses['loss_l1'] = self.alpha * (slow - fast).abs().sum() / max(fast.numel(), 1)
        if self.discriminator is None:
            return losses
        if self.mode == 'grl':
            on_slow, on_fast = self.discriminator(slow), self.discriminator(reverse_gradient(fast, self.beta))
            losses['loss_adversarial'] = _told_apart(on_slow, on_fast)
        else:
            on_slow, on_fast = self.discriminator(slow.detach()), self.discriminator(fast.detach())
            losses['loss_discriminator'] = _told_apart(on_slow, on_fast)
            self.discriminator.requires_grad_(False)
            losses['loss_adversarial'] = self.beta * _mean(F.softplus(-self.discriminator(fast)))
            self.discriminator.requires_grad_(True)
        right = (on_slow.detach() > 0).float().sum() + (on_fast.detach() < 0).float().sum()
        losses['discriminator_accuracy'] = right / max(on_slow.numel() + on_fast.numel(), 1)
        return losses


def _told_apart(on_slow: Tensor, on_fast: Tensor) -> Tensor:
    """Binary cross-entropy of the discriminator's logits, summed over both kinds as in equation 3."""
    return _mean(F.softplus(-on_slow)) + _mean(F.softplus(on_fast))


def _mean(values: Tensor) -> Tensor:
    """The mean; zero for none."""
    return values.sum() / max(values.numel(), 1)
