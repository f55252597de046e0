"""Stereo disparity: L1 loss and absolute and relative errors."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mmmtl.registry import TASKS
from mmmtl.structures import Array, CameraChange

from .arguments import check_choice, check_number, check_span
from .legend import Span
from .number import NumberTask
from .stored import Unit, scale, single_plane


@TASKS.register_module()
class DisparityEstimation(NumberTask):
    """Stereo disparity (inverse depth). Map: (H, W) float32, 0 = none.

    Data sets deliver disparity in pixels of the full image width; resizing does not change the values. With
    `unit='raw'` the task uses the value p / 65535 = (256 d + 1) / 65535 of a Cityscapes file instead, which MTAN and
    MILA learn and score. A disparity of 0 (p = 1, infinitely far) counts as none here, but not in MTAN's code, so
    `rel_err` does not compare with theirs: with 5 % of the pixels at p = 1, 0.89 here was 27.3 by MTAN's formula. A
    zoom multiplies the raw value, including its offset.

    Loss `loss_l1`: |scale * logits - disparity|, averaged over the labelled pixels. Metrics: `abs_err` in `unit` and
    `rel_err`; MILA's table 2 prints 100 * abs_err of the raw value.

    Its label space consists of 40 log-spaced intervals, from `max_disparity` / 64 to `max_disparity`.

    Args:
        unit: 'pixel' or 'raw'.
        scale: units of disparity per unit of the logits, positive.
        shown_range: (min, max) disparity on the scale of pictures, in `unit`; None is the range of what is
            shown.
        max_disparity: end of the label space, in `unit`; by default 128 pixels, or the raw 0.5
            (nearly the same).
    """

    higher_is_better = {'abs_err': False, 'rel_err': False}
    primary_metric = 'abs_err'
    steps = {'px': 1, 'px/256': 256, 'cityscapes': 256}  # KITTI stores px/256, Cityscapes the same plus 1
    units = tuple(steps)
    stored_unit = 'px/256'
    near_is_high = True
    least, most = 0.0, None

    def __init__(
        self,
        *,
        name: str,
        unit: Literal['pixel', 'raw'] = 'pixel',
        scale: float = 1.0,
        max_disparity: float | None = None,
        shown_range: Span | None = None,
        source: str | None = None,
        loss_weight: float = 1.0,
        primary_metric: str | None = None,
    ) -> None:
        super().__init__(name=name, source=source, loss_weight=loss_weight, primary_metric=primary_metric)
        check_choice(name, 'unit', unit, ('pixel', 'raw'))
        check_number(name, 'scale', scale, above=0)
        if max_disparity is None:
            max_disparity = 128.0 if unit == 'pixel' else 0.5
        check_number(name, 'max_disparity', max_disparity, above=0)
        self.unit = unit
        self.map_unit = 'px' if unit == 'pixel' else 'raw'
        self.scale = scale
        self.max_disparity = max_disparity
        self.label_range = max_disparity / 64, max_disparity
        self.shown_range = None if shown_range is None else check_span(name, 'shown_range', shown_range, least=0)
        self.usual_range = 0.0, max_disparity

    def definition(self) -> dict[str, Any]:
        return {**super().definition(), 'unit': self.unit}

    def interpret(self, stored: Array, where: str, unit: Unit | None = None) -> Array:
        """Return pixels; floats are pixels and whole numbers are refused, unless `unit` says what they are."""
        disparity = single_plane(stored)
        if unit is None and disparity.dtype.kind != 'f':
            raise ValueError(
                f'{where}: disparity of task {self.name!r} as {disparity.dtype}, which has no usual unit; set unit='
                f"dict({self.source}=...) of the data set to 'px', 'px/256' (KITTI), 'cityscapes' or the pixels of a "
                'step, or store float pixels'
            )
        if unit == 'cityscapes':
            disparity = np.where(disparity == 0, 0, disparity.astype(np.float32) - 1)
        # A task of another kind may borrow this method.
        steps = self.steps if isinstance(self, DisparityEstimation) else DisparityEstimation.steps
        return scale(disparity, unit or 'px', steps)

    def convert(self, array: Array) -> Array:
        if self.unit == 'pixel':
            return array
        return np.where(array <= 0, array, (256 * array + 1) / 65535).astype(np.float32)

    def export(self, array: Array) -> Array:
        if self.unit == 'pixel':
            return super().export(array)
        pixels: Array = ((65535 * array[0] - 1) / 256).clip(0).astype(np.float32)
        return pixels

    def adjust(self, array: Array, change: CameraChange) -> Array:
        return (array / change.depth_ratio).astype(np.float32)

    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the count and the sums of |e| and |e| / g."""
        mask = self.valid(target)
        g = target[mask].double()
        error = (prediction[mask].double() - g).abs()
        return torch.stack([mask.sum().double(), error.sum(), (error / g).sum()]).cpu()

    def summarize(self, totals: Tensor) -> dict[str, float]:
        abs_err, rel_err = (totals[1:] / totals[0]).tolist()
        return {'abs_err': abs_err, 'rel_err': rel_err}
