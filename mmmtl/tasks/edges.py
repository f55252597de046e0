"""Edge detection: balanced cross-entropy and the F-measure of matched boundaries."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from mmmtl.ops.edges.matching import count_pairs, reachable_pixels
from mmmtl.ops.edges.nms import edge_nms
from mmmtl.ops.edges.thinning import thin
from mmmtl.registry import TASKS
from mmmtl.structures import Array

from .arguments import check_number
from .balanced_bce import balanced_bce
from .base import IGNORE, mean_map
from .probability import ProbabilityTask

WHITE_TO_BLACK: Array = np.repeat(np.arange(255, -1, -1, dtype=np.uint8)[:, None], 3, axis=1)


@TASKS.register_module()
class EdgeDetection(ProbabilityTask):
    """Edges of objects and surfaces. Map: (H, W) float32, 1 = edge, 0 = no edge, soft in between, 255 = ignore.

    Loss `loss_bce`: cross-entropy with weight `pos_weight` for edges and 1 - `pos_weight` for the rest, averaged over
    the labelled pixels; a soft label s is weighted s as edge and 1 - s as background.

    Metrics, in percent, as in SEISM. The predicted probabilities of an image go through non-maximum suppression. For
    each threshold, the pixels that reach it are thinned and matched one to one with the thinned label (> 0.5), at most
    `max_distance` apart. With m pairs of p predicted and l labelled pixels, precision is m / p, recall is m / l and
    F = 2 m / (p + l). Ignored pixels are removed from the label before thinning, and from the prediction after it.

    - `odsF`, the optimal data set scale: F of the counts summed over the images, at the best threshold.
    - `oisF`, the optimal image scale: F of the counts summed at each image's best threshold (the lowest if tied).

    Args:
        pos_weight: 0.95 is usual for PASCAL-Context (ASTMT, MTI-Net), 0.8 for NYUD (ATRC).
        max_distance: fraction of the image's diagonal; 0.0075 for PASCAL-Context, 0.011 for NYUD.
        thresholds: how many, evenly spaced between 0 and 1; the time of `measure` grows with it.
        nms: apply non-maximum suppression before the thresholds.

    Reference: Pont-Tuset and Marques, Supervised evaluation of image segmentation and object proposal techniques,
    PAMI 38(7), 2016 (SEISM). docs/edge_metric.md lists the steps and every deviation.
    """

    colours = WHITE_TO_BLACK
    higher_is_better = {'odsF': True, 'oisF': True}
    primary_metric = 'odsF'

    def __init__(
        self,
        *,
        name: str,
        pos_weight: float = 0.95,
        max_distance: float = 0.0075,
        thresholds: int = 99,
        nms: bool = True,
        source: str | None = None,
        loss_weight: float = 1.0,
        primary_metric: str | None = None,
    ) -> None:
        super().__init__(name=name, source=source, loss_weight=loss_weight, primary_metric=primary_metric)
        check_number(name, 'pos_weight', pos_weight, above=0, below=1)
        check_number(name, 'max_distance', max_distance, least=0, below=1)
        check_number(name, 'thresholds', thresholds, least=1, below=10_000, whole=True)
        if not isinstance(nms, bool):
            raise ValueError(f'task {name!r}: nms must be True or False, not {nms!r}')
        self.pos_weight = pos_weight
        self.max_distance = max_distance
        self.thresholds = np.arange(1, thresholds + 1) / (thresholds + 1)
        self.nms = nms

    def loss(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {'loss_bce': balanced_bce(logits, target, target != IGNORE, self.pos_weight)}

    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return 1 and the counts of labels, of pairs and predictions at the best threshold, and at each threshold."""
        strength, edge = prediction[0].double().cpu().numpy(), target[0].cpu().numpy()
        labelled = edge != IGNORE
        if not labelled.any():
            return torch.zeros(4 + 2 * len(self.thresholds), dtype=torch.float64)
        label = thin((edge > 0.5) & labelled)
        pairs, predicted = self._counts(edge_nms(strength) if self.nms else strength, label, labelled)
        best = np.argmax(f_measure(pairs, predicted, label.sum()))
        counts = [1, label.sum(), pairs[best], predicted[best], *pairs, *predicted]
        return torch.tensor(counts, dtype=torch.float64)

    def _counts(self, strength: Array, label: Array, labelled: Array) -> tuple[Array, Array]:
        """Count the pairs and the predicted pixels at each threshold."""
        sizes = [np.count_nonzero(strength >= threshold) for threshold in self.thresholds]
        # Thresholds with equal counts select the same pixels, so each distinct mask is computed once.
        _, first, same = np.unique(sizes, return_index=True, return_inverse=True)
        masks = [thin(strength >= threshold) & labelled for threshold in self.thresholds[first]]
        found = np.logical_or.reduce(masks)
        reachable = reachable_pixels(found, label, self.max_distance * np.hypot(*label.shape))
        near = np.diff(reachable.indptr) > 0
        reachable, (rows, columns) = reachable[near], np.argwhere(found)[near].T
        pairs = np.array([count_pairs(reachable[mask[rows, columns]]) for mask in masks])
        return pairs[same], np.array([mask.sum() for mask in masks])[same]

    def summarize(self, totals: Tensor) -> dict[str, float]:
        images, labels, best_pairs, best_predicted, *counts = totals.numpy()
        if not images:
            return dict.fromkeys(self.higher_is_better, float('nan'))
        pairs, predicted = np.split(np.array(counts), 2)
        data_set, image = f_measure(pairs, predicted, labels).max(), f_measure(best_pairs, best_predicted, labels)
        return {'odsF': 100 * float(data_set), 'oisF': 100 * float(image)}

    def constant(self, maps: Iterable[Array]) -> Array:
        """Return the share of edge pixels."""
        return mean_map(self, (edge[edge != IGNORE] for edge in maps))


def f_measure(pairs: Array, predicted: Array, labels: float) -> Array:
    """Return 2 m / (p + l), the harmonic mean of m / p and m / l; 0 where p = l = 0."""
    measure: Array = 2 * pairs / np.maximum(predicted + labels, 1)
    return measure
