"""The base of tasks that predict one number for each pixel, which tells how near it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch import Tensor

from mmmtl.structures import Array

from .base import IGNORE, Task, mean_map
from .colour import draw_numbers, legend_of_numbers, magma_scale
from .label_space import log_bins
from .legend import Legend, Scale, Span
from .reduction import masked_mean
from .stored import Unit, to_uint16

Values = TypeVar('Values', Array, Tensor)


class NumberTask(Task):
    """A task with one number a pixel, which tells how near it is. Map: (H, W) float32, 0 = none.

    Loss `loss_l1`: |scale * logits - target|, averaged over the pixels that are `valid`. The label space consists of 40
    log-spaced intervals of `label_range`.

    A subclass adds metrics, and sets the attributes below.
    """

    out_channels = 1
    label_space_size = 40
    takes_step = True
    steps: ClassVar[dict[str, float]]
    """{unit of a file: numbers in one unit of the map}."""
    stored_unit: Unit
    map_unit: str
    """The unit of the map."""
    near_is_high: ClassVar[bool]
    """Whether large numbers are near."""
    scale: float
    """Units of the map per unit of the logits, positive."""
    least: float | None
    most: float | None
    """Limits of predictions; None means that there is none."""
    label_range: Span
    """The ends of the label space; numbers outside fall into its first or last interval."""
    shown_range: Span | None
    """The ends of the scale of pictures; None is the range of what is shown."""
    usual_range: Span
    """These ends where no number is valid."""

    def definition(self) -> dict[str, Any]:
        return {**super().definition(), 'scale': self.scale}

    def valid(self, target: Values) -> Values:
        """Return where a number is learnt, scored and drawn on the scale; by default where there is one."""
        return target > 0

    def encode(self, array: Array) -> Array:
        """Return uint16; numbers of less than half a unit, negative ones among them, become 0, none."""
        return to_uint16(array, self.stored_unit, self.steps, f'the map of task {self.name!r}')

    def check(self, array: Array, where: str) -> None:
        """Refuse negative and non-finite numbers."""
        if not np.isfinite(array).all() or (array < 0).any():
            raise ValueError(f'{where}: a map of task {self.name!r} must be finite and >= 0 (0 = none)')

    def loss(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {'loss_l1': masked_mean((self.scale * logits - target).abs(), self.valid(target))}

    def discretize(self, target: Tensor) -> Tensor:
        bins = log_bins(target, *self.label_range, self.label_space_size)
        return bins.masked_fill(~self.valid(target), IGNORE)

    def decode(self, logits: Tensor) -> Tensor:
        """Return the map within the limits of predictions, (N, 1, H, W)."""
        numbers = self.scale * logits
        return numbers if self.least is None and self.most is None else numbers.clamp(self.least, self.most)

    def decoding(self) -> dict[str, Any]:
        return {
            'kind': 'linear',
            'scale': float(self.scale),
            'least': self.least,
            'most': self.most,
            'unit': self.map_unit,
        }

    def constant(self, maps: Iterable[Array]) -> Array:
        """Return the mean number."""
        return mean_map(self, (m[self.valid(m)] for m in maps))

    def span(self, array: Array) -> Span | None:
        numbers = _or_none(array)
        shown = numbers[self.valid(numbers)]
        if self.shown_range is not None or not shown.size:
            return self.shown_range
        return float(shown.min()), float(shown.max())

    def draw(self, image: Array, array: Array, span: Span | None = None) -> Array:
        """Draw near pixels bright and far ones dark, none in grey, and those not valid or beyond the scale in blue."""
        return draw_numbers(*self._picture(array, span))

    def legend(self, array: Array, span: Span | None = None) -> Legend:
        return legend_of_numbers(*self._picture(array, span)[1:])

    def _picture(self, array: Array, span: Span | None) -> tuple[Array, Scale, Array, Array]:
        """Return the numbers (H, W), their scale, where nothing was measured, and what is out of range."""
        numbers = _or_none(array[0])
        low, high = span or self.span(numbers) or self.usual_range
        none = numbers <= 0
        # A hair of tolerance: the ends of the scale are on it.
        outside = ~none & (~self.valid(numbers) | (numbers < low * (1 - 1e-6)) | (numbers > high * (1 + 1e-6)))
        return numbers, magma_scale((low, high), self.map_unit, near_is_high=self.near_is_high), none, outside


def _or_none(array: Array) -> Array:
    """Return a map in which values that are not finite are 0, which means none."""
    return np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0)
