"""Class-balanced binary cross-entropy: the loss of saliency and edges."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .reduction import masked_mean


def balanced_bce(logits: Tensor, target: Tensor, valid: Tensor, pos_weight: float | None = None) -> Tensor:
    """Average -[w t log p + (1 - w) (1 - t) log(1 - p)] with p = sigmoid(logits) over the valid pixels.

    The batch is that of all processes. With w = 0.5 this is half the plain cross-entropy. If no pixel is valid, return
    a zero tied to the graph.

    Args:
        logits: any shape.
        target: same shape, 0 to 1; ignored where not `valid`.
        valid: bool, same shape.
        pos_weight: w, between 0 and 1. None takes the fraction of negatives among the valid pixels of the batch, so
            that positives and negatives have the same total weight.

    Reference: HED (Xie and Tu, ICCV 2015), equation 2, with two changes as in ASTMT and MTI-Net: the fraction is taken
    over the batch, not over each image, and the loss is the mean over the pixels, not their sum.
    """
    target = torch.where(valid, target, torch.zeros_like(target))
    weight = 1 - masked_mean(target, valid) if pos_weight is None else pos_weight
    # -log p = softplus(-x) and -log(1 - p) = softplus(x) avoid the logarithm of a rounded probability.
    terms = weight * target * F.softplus(-logits) + (1 - weight) * (1 - target) * F.softplus(logits)
    return masked_mean(terms, valid)
