"""The base of tasks that predict a probability for each pixel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from mmmtl.structures import Array

from .base import IGNORE, Task
from .colour import NO_LABEL, colourize, hatch_where
from .imitation import imitate_binary
from .legend import Legend, Scale, Span
from .stored import Unit, binary_map, examine_mask, single_plane


class ProbabilityTask(Task):
    """A task with one logit a pixel. Map: (H, W) float32, 0 to 1, 255 = ignore.

    A subclass adds loss and metrics, and says in `colours` how 0 to 1 are drawn: (256, 3) uint8 RGB.
    """

    fill = IGNORE
    out_channels = 1
    units = ('grey', 'label')
    stored_unit = 'grey'
    colours: ClassVar[Array]

    def interpret(self, stored: Array, where: str, unit: Unit | None = None) -> Array:
        return binary_map(single_plane(stored), where, unit)

    def examine(self, maps: Iterable[Array]) -> str | None:
        fix = "divide floats by 255; for whole numbers do not set the unit 'label'"
        return examine_mask(maps, '0', fix, zeros_suffice=True)

    def export(self, array: Array) -> Array:
        """Return probabilities; refuse numbers that do not round to one of 256 grey levels, such as NaN."""
        numbers = super().export(array)
        low, high = float(numbers.min()), float(numbers.max())
        if not (255 * low > -0.5 and 255 * high < 255.5):
            raise ValueError(
                f'the map of task {self.name!r} has values from {low:g} to {high:g}, but a probability is in 0..1; '
                'divide grey levels by 255'
            )
        return numbers.clip(0, 1)

    def encode(self, array: Array) -> Array:
        """Return grey levels, v = round(255 p)."""
        return (255 * array).round().astype(np.uint8)

    def check(self, array: Array, where: str) -> None:
        """Refuse maps that are not (H, W) or have values other than 0 to 1 and 255."""
        wrong = array[~((array >= 0) & (array <= 1)) & (array != IGNORE)]
        if array.ndim != 2 or wrong.size:
            values = f' with the values {np.unique(wrong)[:8].tolist()}' if wrong.size else ''
            raise ValueError(
                f'{where}: shape {array.shape}{values}; a map of task {self.name!r} is (H, W) with values in 0..1, or '
                '255 = ignore; divide grey levels by 255'
            )

    def imitate(self, student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
        return imitate_binary(student, teacher, temperature)

    def decode(self, logits: Tensor) -> Tensor:
        """Return the probability, (N, 1, H, W)."""
        return logits.sigmoid()

    def decoding(self) -> dict[str, Any]:
        return {'kind': 'probabilities'}

    def draw(self, image: Array, array: Array, span: Span | None = None) -> Array:
        """Draw probabilities in `colours`; ignored pixels show the image, hatched."""
        shown = np.nan_to_num(array[0], nan=IGNORE)
        return hatch_where(colourize(shown, self._scale), image, shown == IGNORE)

    def legend(self, array: Array, span: Span | None = None) -> Legend:
        hatched = [NO_LABEL] if (np.nan_to_num(array, nan=IGNORE) == IGNORE).any() else []
        return Legend(dict.fromkeys(hatched), (NO_LABEL,), self._scale)

    @property
    def _scale(self) -> Scale:
        return Scale((0.0, 1.0), '', self.colours, lambda values: values)
