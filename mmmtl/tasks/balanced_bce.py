"""Binary cross-entropy with a weight against rare positives, the loss of saliency and edges."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def balanced_bce(logits: Tensor, target: Tensor, valid: Tensor, pos_weight: float | None = None) -> Tensor:
    """-[w t log p + (1 - w) (1 - t) log(1 - p)], p = sigmoid(logits), averaged over the valid pixels.

    With w = 0.5 this is half the plain cross-entropy. `pos_weight=None` takes the share of negatives among all valid
    pixels of the batch, so positives and negatives weigh the same in total, whichever are rare.

    Args:
        logits: of any shape.
        target: of the same shape, 0 to 1; anything where not `valid`.
        valid: bool, of the same shape.
        pos_weight: w, between 0 and 1; None for the share of negatives.

    Returns:
        A scalar; zero, tied to the graph, where nothing is valid.

    Raises:
        ValueError: `pos_weight` is not between 0 and 1.

    Reference: HED (Xie and Tu, ICCV 2015), equation 2, with the share taken over the batch, not over each image, and
    the mean over the pixels in place of the sum, as in ASTMT and MTI-Net.
    """
    if pos_weight is not None and not 0 < pos_weight < 1:
        raise ValueError(
            f'pos_weight must be between 0 and 1, not {pos_weight}: it is the weight of a positive pixel, '
            '1 - pos_weight that of a negative'
        )
    target = torch.where(valid, target, torch.zeros_like(target))
    count = valid.sum().clamp(min=1)
    weight = 1 - target.sum() / count if pos_weight is None else pos_weight
    # -log p = softplus(-x) and -log(1 - p) = softplus(x): no logarithm of a rounded probability.
    terms = weight * target * F.softplus(-logits) + (1 - weight) * (1 - target) * F.softplus(logits)
    return torch.where(valid, terms, torch.zeros_like(terms)).sum() / count
