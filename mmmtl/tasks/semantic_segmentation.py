"""Semantic segmentation: cross-entropy, mIoU and pixel accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.registry import TASKS
from mmmtl.structures import Array

from .arguments import check_names, check_number
from .base import IGNORE, Task, nothing_labelled
from .classes import class_list
from .colour import NO_LABEL, hatch_where, over_grey
from .imitation import imitate_classes
from .legend import Colour, Legend, Span
from .reduction import divide_sums
from .stored import Unit, examine_mask, single_plane

VC_WINDOWS = (8, 16)
"""Window lengths, in frames, of VSPW's VC8 and VC16."""


@TASKS.register_module()
class SemanticSegmentation(Task):
    """One class per pixel. Map: (H, W) labels 0 to C - 1, 255 = ignore.

    Loss `loss_ce`: cross-entropy, averaged over the labelled pixels (weighted if `class_weights` is given).

    Metrics, in percent, from one confusion matrix of all images: `mIoU`, the mean over scored classes of intersection /
    union, and `pixel_acc`. The mean leaves out classes that neither occur nor are predicted; the released codes of
    MTI-Net and ATRC count them as 0. (`MultiTaskMetric(per_image=True)` also scores each image by itself.) Temporal
    metrics: `TC`, the mIoU of a prediction and the warped prediction of the next frame, and `VC8` and `VC16`.

    Args:
        classes: name of a list in `mmmtl.tasks.classes`, or the class names.
        palette: RGB colours of the classes; by default those of the named list, else colours that people with
            any colour vision tell apart.
        class_weights: weight of each class in the loss.
        unscored: classes whose pixels the metrics ignore.
    """

    dtype = torch.int64
    fill = IGNORE
    higher_is_better = {'mIoU': True, 'pixel_acc': True}
    temporal_metrics = {'TC': True, **{f'VC{n}': True for n in VC_WINDOWS}}
    consistency_windows = VC_WINDOWS
    primary_metric = 'mIoU'

    def __init__(
        self,
        *,
        name: str,
        classes: str | Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        class_weights: Sequence[float] | None = None,
        unscored: Sequence[str] = (),
        source: str | None = None,
        loss_weight: float = 1.0,
        primary_metric: str | None = None,
    ) -> None:
        super().__init__(name=name, source=source, loss_weight=loss_weight, primary_metric=primary_metric)
        if not isinstance(classes, str):
            check_names(name, 'classes', classes)
        check_names(name, 'unscored', unscored)
        try:
            self.classes, self.palette = class_list(classes, palette)
        except ValueError as error:
            raise ValueError(f'task {name!r}: {error}') from None
        self.out_channels = self.label_space_size = len(self.classes)
        if self.out_channels < 2:
            raise ValueError(
                f'task {name!r}: one class alone, {self.classes[0]!r}, leaves nothing to learn; name the rest, too: '
                f"classes=['background', {self.classes[0]!r}], with 0 and 1 in the masks"
            )
        if NO_LABEL in self.classes:
            raise ValueError(f'task {name!r}: {NO_LABEL!r} means pixels without a label; name the class otherwise')
        if self.out_channels > IGNORE:
            raise ValueError(f'task {name!r}: {self.out_channels} classes are too many, label {IGNORE} means ignore')
        if class_weights is not None:
            self._check_weights(name, class_weights)
        if unknown := sorted(set(unscored) - set(self.classes)):
            raise ValueError(f'task {name!r}: unscored classes {unknown} are not among its classes {self.classes}')
        if set(unscored) == set(self.classes):
            raise ValueError(f'task {name!r}: every class is unscored')
        self.class_weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.scored = torch.tensor([c not in unscored for c in self.classes])

    def _check_weights(self, name: str, class_weights: Sequence[float]) -> None:
        if not isinstance(class_weights, (list, tuple)):
            raise ValueError(f'task {name!r}: class_weights must be a list of numbers, not {class_weights!r}')
        if len(class_weights) != self.out_channels:
            raise ValueError(f'task {name!r}: {len(class_weights)} class_weights for {self.out_channels} classes')
        for weight in class_weights:
            check_number(name, 'class_weights', weight, least=0)
        if not any(class_weights):
            raise ValueError(f'task {name!r}: class_weights are all 0, so nothing would be learnt')

    def definition(self) -> dict[str, Any]:
        return {**super().definition(), 'classes': self.classes}

    def interpret(self, stored: Array, where: str, unit: Unit | None = None) -> Array:
        """Return labels, which whole numbers of any type may hold."""
        labels = single_plane(stored)
        if labels.ndim != 2 or labels.dtype.kind not in 'iu' or labels.dtype == np.uint8:
            return labels
        if labels.min(initial=0) < 0 or labels.max(initial=0) > IGNORE:
            self.check(labels, where)
            return labels
        return labels.astype(np.uint8)

    def export(self, array: Array) -> Array:
        """Return labels, uint8; refuse numbers other than 0 to C - 1 and 255."""
        numbers = super().export(array)
        with np.errstate(invalid='ignore'):
            labels = numbers.astype(np.uint8)
        wrong = numbers[(labels != numbers) | ((labels >= self.out_channels) & (labels != IGNORE))]
        if wrong.size:
            raise ValueError(
                f'the map of task {self.name!r} has the labels {np.unique(wrong)[:8].tolist()}, which are neither in '
                f'0..{self.out_channels - 1} nor 255 (ignore); check the {self.out_channels} `classes` of the task'
            )
        return labels

    def encode(self, array: Array) -> Array:
        return array

    def examine(self, maps: Iterable[Array]) -> str | None:
        return examine_mask(maps, 'class 0', 'write class numbers 0 and 1')

    def check(self, array: Array, where: str) -> None:
        """Refuse labels other than 0 to C - 1 and 255, and maps with colour channels."""
        if array.ndim != 2:
            raise ValueError(
                f'{where}: the map of task {self.name!r} has shape {array.shape}, not (H, W); convert colours to class '
                'numbers'
            )
        found = np.unique(array)
        wrong = found[((found < 0) | (found >= self.out_channels)) & (found != IGNORE)]
        if len(wrong):
            raise ValueError(
                f'{where}: labels {wrong[:8].tolist()} of task {self.name!r} are neither in '
                f'0..{self.out_channels - 1} nor 255 (ignore); check that the {self.out_channels} `classes` of the '
                'task are those of this data set, and that its labels are class numbers, not colours'
            )

    def loss(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        labels = target.squeeze(1)
        weight = None if self.class_weights is None else self.class_weights.to(logits)
        total = F.cross_entropy(logits, labels, weight=weight, ignore_index=IGNORE, reduction='sum')
        valid = labels != IGNORE
        if weight is None:
            return {'loss_ce': divide_sums(total, valid.sum())}
        weights = torch.where(valid, weight[labels.where(valid, torch.zeros_like(labels))], torch.zeros_like(weight[0]))
        return {'loss_ce': divide_sums(total, weights.sum())}

    def discretize(self, target: Tensor) -> Tensor:
        return target

    def imitate(self, student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
        return imitate_classes(student, teacher, temperature)

    def decode(self, logits: Tensor) -> Tensor:
        """Return the most likely class, (N, 1, H, W) int64."""
        return logits.max(dim=1, keepdim=True).indices  # the result of `argmax`, in a tenth of its time on a CPU

    def decoding(self) -> dict[str, Any]:
        return {'kind': 'classes', 'classes': list(self.classes)}

    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the confusion matrix of the scored labels, (C * C,), rows = label, columns = prediction."""
        labels, predicted = target.flatten().long(), prediction.flatten().long()
        valid = labels != IGNORE
        valid &= self.scored.to(labels.device)[labels.where(valid, torch.zeros_like(labels))]
        index = labels[valid] * self.out_channels + predicted[valid]
        return torch.bincount(index, minlength=self.out_channels**2).double().cpu()

    def summarize(self, totals: Tensor) -> dict[str, float]:
        iou = self._iou(totals)
        hits = totals.view(self.out_channels, self.out_channels).trace()
        return {'mIoU': 100 * float(iou[~iou.isnan()].mean()), 'pixel_acc': 100 * float(hits / totals.sum())}

    def class_scores(self, totals: Tensor) -> dict[str, float]:
        """Return the IoU of each scored class; NaN for one that neither occurs nor is predicted."""
        iou = self._iou(totals)
        return {name: 100 * float(iou[i]) for i, name in enumerate(self.classes) if self.scored[i]}

    def confusion(self, totals: Tensor) -> dict[str, dict[str, int]]:
        """Return the confusion matrix; its rows are the scored classes."""
        rows = totals.long().view(self.out_channels, self.out_channels).tolist()
        return {
            name: dict(zip(self.classes, rows[i], strict=True)) for i, name in enumerate(self.classes) if self.scored[i]
        }

    def measure_change(self, first: Tensor, second: Tensor) -> Tensor:
        return self.measure(second, first)

    def summarize_change(self, totals: Tensor) -> dict[str, float]:
        return {'TC': self.summarize(totals)['mIoU']}

    def constant(self, maps: Iterable[Array]) -> Array:
        """Return the most frequent scored class."""
        counts = np.zeros(self.out_channels, dtype=np.int64)
        for labels in maps:
            counts += np.bincount(labels.ravel(), minlength=IGNORE + 1)[: self.out_channels]
        counts[~self.scored.numpy()] = 0
        if not counts.any():
            raise nothing_labelled(self)
        return np.full((1, 1, 1), int(np.argmax(counts)), dtype=np.int64)

    def draw(self, image: Array, array: Array, span: Span | None = None) -> Array:
        """Lay the colours of the classes over the image in grey, which keeps their hue; hatch ignored pixels."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        colours = np.zeros((IGNORE + 1, 3))
        colours[: self.out_channels] = self.palette
        return hatch_where(over_grey(array[0], colours, grey), image, array[0] == IGNORE)

    def legend(self, array: Array, span: Span | None = None) -> Legend:
        """Return the classes that occur, in their colours over a middle grey."""
        counts = np.bincount(array.ravel(), minlength=IGNORE + 1)
        numbers = np.arange(self.out_channels)
        tints = over_grey(numbers, np.array(self.palette), np.full_like(numbers, 128))
        colours: dict[str, Colour | None] = {
            name: (r, g, b) for name, (r, g, b) in zip(self.classes, tints.tolist(), strict=True)
        }
        names = dict(enumerate(self.classes)) | {IGNORE: NO_LABEL}
        found = [names[label] for label in np.argsort(-counts, kind='stable').tolist() if counts[label]]
        return Legend({name: colours.get(name) for name in found}, tuple(names.values()))

    def _iou(self, totals: Tensor) -> Tensor:
        """Return the IoU of each class, (C,) in 0..1; NaN for classes that are not scored, or do not appear at all."""
        confusion = totals.view(self.out_channels, self.out_channels)
        hits = confusion.diagonal()
        union = confusion.sum(0) + confusion.sum(1) - hits
        return (hits / union).where(self.scored, torch.nan)
