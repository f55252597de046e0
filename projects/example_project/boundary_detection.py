"""Semantic boundaries: the pixels where one class ends and another begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.registry import TASKS
from mmmtl.tasks import SemanticSegmentation, Task, masked_mean
from mmmtl.tasks.base import IGNORE
from mmmtl.tasks.legend import Span

NONE = -1.0


@TASKS.register_module()
class BoundaryDetection(Task):
    """Boundaries between the classes of a semantic map. Map: (H, W) float32, 1 on a boundary, 0 off it, -1 = none.

    The maps are made from those of another task, which `source` names, so no labels are needed.

    Loss `loss_bce`: binary cross-entropy, averaged over the labelled pixels.

    Metrics, in percent, over the labelled pixels of all images: `f1`, `precision` and `recall` of the pixels with a
    probability above one half.

    Args:
        name: name of the task, given by `resolve`.
        pos_weight: weight of a boundary pixel in the loss; there are few of them.
        source: key of the semantic maps in the data set.
        loss_weight: factor of the loss.
        primary_metric: 'f1' by default.
    """

    out_channels = 1
    fill = NONE
    interpret = SemanticSegmentation.interpret  # files hold classes
    higher_is_better = {'f1': True, 'precision': True, 'recall': True}
    primary_metric = 'f1'

    def __init__(
        self,
        *,
        name: str,
        pos_weight: float = 4.0,
        source: str | None = None,
        loss_weight: float = 1.0,
        primary_metric: str | None = None,
    ) -> None:
        super().__init__(name=name, source=source, loss_weight=loss_weight, primary_metric=primary_metric)
        if pos_weight <= 0:
            raise ValueError(f'task {name!r}: pos_weight must be positive, not {pos_weight}')
        self.pos_weight = pos_weight

    def convert(self, array: np.ndarray) -> np.ndarray:
        """Return the boundaries of (H, W) labels: pixels next to (above, below, left or right) another class."""
        return np.where(array == IGNORE, NONE, boundaries(array)).astype(np.float32)

    def check(self, array: np.ndarray, where: str) -> None:
        """Refuse values that are neither a probability nor -1."""
        if array.ndim != 2 or not (((array >= 0) & (array <= 1)) | (array == NONE)).all():
            raise ValueError(f'{where}: boundaries of task {self.name!r} must be (H, W) in 0..1, or -1 where unknown')

    def loss(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        labelled = target != NONE
        weight = logits.new_tensor(self.pos_weight)
        each = F.binary_cross_entropy_with_logits(logits, target.clamp(min=0), pos_weight=weight, reduction='none')
        return {'loss_bce': masked_mean(each, labelled)}

    def decode(self, logits: Tensor) -> Tensor:
        """Return probabilities, (N, 1, H, W)."""
        return logits.sigmoid()

    def decoding(self) -> dict[str, Any]:
        """Describe `decode` to programs without mmmtl, for `mmmtl export`."""
        return {'kind': 'probabilities'}

    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Count labelled, hit, invented and missed pixels."""
        labelled = target != NONE
        found, there = prediction > 0.5, target > 0.5
        counts = [labelled, found & there, found & ~there & labelled, ~found & there]
        return torch.stack([count.sum() for count in counts]).double().cpu()

    def summarize(self, totals: Tensor) -> dict[str, float]:
        """Return the metrics of the class; 0 if nothing was found, NaN if nothing was labelled."""
        count, hit, invented, missed = totals.tolist()
        if not count:
            return dict.fromkeys(self.higher_is_better, float('nan'))
        return {
            'f1': 100 * hit / max(hit + (invented + missed) / 2, 1),
            'precision': 100 * hit / max(hit + invented, 1),
            'recall': 100 * hit / max(hit + missed, 1),
        }

    def constant(self, maps: Iterable[np.ndarray]) -> np.ndarray:
        """Predict boundary everywhere: no constant has a higher F1 if there is any boundary."""
        values = np.concatenate([array[array != NONE] for array in maps])
        if not len(values):
            raise ValueError(f'task {self.name!r}: the maps have no labelled pixel')
        return np.full((1, 1, 1), (values > 0.5).any(), dtype=np.float32)

    def draw(self, image: np.ndarray, array: np.ndarray, span: Span | None = None) -> np.ndarray:
        """Draw the boundaries in white on the darkened image."""
        strength = array[0].clip(0, 1)[..., None]
        return (255 * strength + 0.5 * image * (1 - strength)).round().astype(np.uint8)


def boundaries(labels: np.ndarray) -> np.ndarray:
    """Return whether each pixel of (H, W) labels has a neighbour of another class; ignored pixels do not count."""
    found = np.zeros(labels.shape, dtype=bool)
    for this, other in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        a, b = labels[this], labels[other]
        differ = (a != b) & (a != IGNORE) & (b != IGNORE)
        found[this] |= differ
        found[other] |= differ
    return found
