"""Saliency: class-balanced cross-entropy, and two metrics that papers report."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from mmmtl.registry import TASKS
from mmmtl.structures import Array

from .balanced_bce import balanced_bce
from .base import IGNORE, nothing_labelled
from .colour import MAGMA
from .probability import ProbabilityTask

THRESHOLDS = tuple(i / 20 for i in range(1, 20))
IOU_THRESHOLDS = slice(THRESHOLDS.index(0.2), THRESHOLDS.index(0.9) + 1)
BETA_SQUARED = 0.3


@TASKS.register_module()
class SaliencyDetection(ProbabilityTask):
    """Salient regions. Map: (H, W) float32, 1 = salient, 0 = not, 255 = ignore.

    Loss `loss_bce`: class-balanced binary cross-entropy, averaged over the labelled pixels. Positives are weighted by
    the fraction of negatives in the batch, and negatives by the fraction of positives, as in ASTMT and MTI-Net. (ATRC
    uses a balanced cross-entropy of two logits.)

    Metrics, in percent. A pixel is salient if its label is above one half. It is predicted as salient at a threshold t
    if its probability is at least t.

    - `max_mIoU`: the mean over images of the IoU of predicted and labelled salient pixels (1 if an image has neither);
      the maximum over t = 0.2, 0.25, ..., 0.9. ASTMT and MTI-Net print it as mIoU, about 65 on PASCAL-Context (they
      round probabilities to 8 bits and count those above t).
    - `maxF`: the F-measure (1 + b) p r / (b p + r), b = 0.3, of precision p and recall r over the pixels of all images;
      the maximum over t = 0.05, 0.1, ..., 0.95. ATRC, InvPT and most later papers report it, about 84.
    """

    colours = MAGMA
    higher_is_better = {'max_mIoU': True, 'maxF': True}
    primary_metric = 'maxF'

    def loss(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {'loss_bce': balanced_bce(logits, target, target != IGNORE)}

    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return 1, the count of salient pixels, and at each threshold the predicted ones, the hits and the IoU."""
        labelled = target != IGNORE
        if not labelled.any():
            return torch.zeros(2 + 2 * len(THRESHOLDS) + len(THRESHOLDS[IOU_THRESHOLDS]), dtype=torch.float64)
        probability, salient = prediction[labelled], target[labelled] > 0.5
        # First the number of thresholds that each pixel reaches, then the number of pixels that reach each threshold.
        reached = torch.bucketize(probability, probability.new_tensor(THRESHOLDS), right=True)
        predicted, hits = (_at_least(part, len(THRESHOLDS)) for part in (reached, reached[salient]))
        count = salient.sum().double().cpu()
        union = predicted + count - hits
        iou = torch.where(union > 0, hits / union, torch.ones_like(union))
        return torch.cat([torch.stack([torch.ones_like(count), count]), predicted, hits, iou[IOU_THRESHOLDS]])

    def summarize(self, totals: Tensor) -> dict[str, float]:
        images, count, *_ = totals.tolist()
        if not images:
            return dict.fromkeys(self.higher_is_better, float('nan'))
        size = len(THRESHOLDS)
        predicted, hits, iou = totals[2 : 2 + size], totals[2 + size : 2 + 2 * size], totals[2 + 2 * size :]
        # The F-measure with p = hits / predicted and r = hits / count, rearranged so that it is defined for zeros.
        f_measure = (1 + BETA_SQUARED) * hits / (BETA_SQUARED * count + predicted).clamp(min=BETA_SQUARED)
        return {'max_mIoU': 100 * float(iou.max() / images), 'maxF': 100 * float(f_measure.max())}

    def constant(self, maps: Iterable[Array]) -> Array:
        """Predict salient everywhere: no constant scores higher if any pixel is salient."""
        if not any((array != IGNORE).any() for array in maps):
            raise nothing_labelled(self)
        return np.ones((1, 1, 1), dtype=np.float32)


def _at_least(reached: Tensor, count: int) -> Tensor:
    """Return (count,) float64: how many pixels reach each threshold, given how many thresholds each pixel reaches."""
    histogram = torch.bincount(reached, minlength=count + 1).double().cpu()
    return histogram.flip(0).cumsum(0).flip(0)[1:]
