"""Stereo disparity: L1 loss and absolute and relative errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.registry import TASKS
from mmmtl.structures import Array, CameraChange

from .arguments import check_choice, check_number, check_span
from .base import IGNORE, Task, mean_map
from .colour import draw_numbers, legend_of_numbers, magma_scale, span_of
from .label_space import log_bins
from .legend import Legend, Scale, Span
from .reduction import masked_mean
from .stored import Unit, scale, single_plane, to_uint16

STEPS: dict[str, float] = {'px': 1, 'px/256': 256, 'cityscapes': 256}
"""{unit of a disparity file: numbers in a pixel}; KITTI stores px/256, Cityscapes the same plus 1."""


@TASKS.register_module()
class DisparityEstimation(Task):
    """Stereo disparity (inverse depth). Map: (H, W) float32, 0 = none.

    Data sets deliver disparity in pixels of the full image width; resizing does not change the values. With
    `unit='raw'` the task uses the value p / 65535 = (256 d + 1) / 65535 of a Cityscapes file instead, which MTAN and
    MILA learn and score. A disparity of 0 (p = 1, infinitely far) counts as none. A zoom multiplies the raw value,
    including its offset.

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
    out_channels = 1
    label_space_size = 40
    units = tuple(STEPS)
    takes_step = True
    stored_unit = 'px/256'

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
        self.shown_range = check_span(name, 'shown_range', shown_range)
        self.unit = unit
        self.scale = scale
        self.max_disparity = max_disparity

    def definition(self) -> dict[str, Any]:
        return {**super().definition(), 'scale': self.scale, 'unit': self.unit}

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
            disparity = np.where(disparity > 0, disparity.astype(np.float32) - 1, 0)
        return scale(disparity, unit or 'px', STEPS)

    def convert(self, array: Array) -> Array:
        if self.unit == 'pixel':
            return array
        return np.where(array > 0, (256 * array + 1) / 65535, 0).astype(np.float32)

    def export(self, array: Array) -> Array:
        if self.unit == 'pixel':
            return super().export(array)
        pixels: Array = ((65535 * array[0] - 1) / 256).clip(0).astype(np.float32)
        return pixels

    def encode(self, array: Array) -> Array:
        """Return uint16; disparities of less than half a unit become 0, none."""
        return to_uint16(array, self.stored_unit, STEPS, f'disparity of task {self.name!r}')

    def check(self, array: Array, where: str) -> None:
        """Refuse negative and non-finite disparities."""
        if not np.isfinite(array).all() or (array < 0).any():
            raise ValueError(f'{where}: disparity of task {self.name!r} must be finite and >= 0 (0 = none)')

    def adjust(self, array: Array, change: CameraChange) -> Array:
        return (array / change.depth_ratio).astype(np.float32)

    def loss(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {'loss_l1': masked_mean((self.scale * logits - target).abs(), target > 0)}

    def discretize(self, target: Tensor) -> Tensor:
        bins = log_bins(target, self.max_disparity / 64, self.max_disparity, self.label_space_size)
        return bins.masked_fill(target <= 0, IGNORE)

    def decode(self, logits: Tensor) -> Tensor:
        return F.relu(self.scale * logits)

    def decoding(self) -> dict[str, Any]:
        return {
            'kind': 'linear',
            'scale': float(self.scale),
            'least': 0.0,
            'most': None,
            'unit': 'px' if self.unit == 'pixel' else 'raw',
        }

    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the count and the sums of |e| and |e| / g."""
        mask = target > 0
        g = target[mask].double()
        error = (prediction[mask].double() - g).abs()
        return torch.stack([mask.sum().double(), error.sum(), (error / g).sum()]).cpu()

    def summarize(self, totals: Tensor) -> dict[str, float]:
        abs_err, rel_err = (totals[1:] / totals[0]).tolist()
        return {'abs_err': abs_err, 'rel_err': rel_err}

    def constant(self, maps: Iterable[Array]) -> Array:
        """Return the mean disparity."""
        return mean_map(self, (m[m > 0] for m in maps))

    def span(self, array: Array) -> Span | None:
        return span_of(array[array > 0], self.shown_range)

    def draw(self, image: Array, array: Array, span: Span | None = None) -> Array:
        """Draw near pixels bright and far ones dark, none in grey, and those outside the scale in blue."""
        return draw_numbers(array[0], *self._picture(array, span))

    def legend(self, array: Array, span: Span | None = None) -> Legend:
        return legend_of_numbers(*self._picture(array, span))

    def _picture(self, array: Array, span: Span | None) -> tuple[Scale, Array, Array]:
        """Return the scale, where nothing was measured, and what is out of range."""
        disparity = array[0]
        low, high = span or self.span(array) or (0.0, self.max_disparity)
        none = disparity <= 0
        outside = ~none & ((disparity < low * (1 - 1e-6)) | (disparity > high * (1 + 1e-6)))
        unit = 'px' if self.unit == 'pixel' else 'raw'
        return magma_scale((low, high), unit, near_is_high=True), none, outside
