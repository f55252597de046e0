"""Monocular depth: L1 loss and the usual errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from mmmtl.registry import TASKS
from mmmtl.structures import Array, CameraChange

from .arguments import check_number, check_span
from .base import IGNORE, Task, mean_map
from .colour import draw_numbers, legend_of_numbers, magma_scale, span_of
from .label_space import log_bins
from .legend import Legend, Scale, Span
from .reduction import masked_mean
from .stored import LAST, Unit, scale, single_plane, to_uint16

STEPS: dict[str, float] = {'mm': 1000, 'cm': 100, 'm': 1, 'm/256': 256, 'm/5000': 5000}
"""{unit of a depth file: numbers in a metre}; KITTI stores m/256, TUM m/5000."""

Values = TypeVar('Values', Array, Tensor)

SMALLEST = 1e-9
"""Least depth in ratios and logarithms, in metres, like that of MTI-Net's released code."""


@TASKS.register_module()
class DepthEstimation(Task):
    """Depth along the optical axis. Map: (H, W) float32 metres, 0 = no measurement.

    Loss `loss_l1`: |scale * logits - depth| in metres, averaged over the pixels with depth in (min_depth, max_depth].

    Metrics, over the same pixels of all images: `abs_err` and `rmse` in metres, `rel_err` (|d - g| / g), `rmse_log`
    (natural logarithm, of at least 1e-9 m) and `delta1..3`, the percentage with max(d / g, g / d) < 1.25, 1.25^2,
    1.25^3. Temporal metrics: `warp_err` in metres, and `warp_rel_err`, relative to the mean of the two depths.

    Its label space consists of 40 log-spaced intervals.

    Args:
        min_depth: smallest depth that is learnt and scored, in metres.
        max_depth: largest such depth.
        prediction_range: predictions are clamped to (min, max) metres, None = no limit; by default to `min_depth`
            and `max_depth`. MTI-Net's and SCA-MTL's released codes have (1e-9, None), ATRC's (0.0, None) and MTAN's
            no limit, so that predictions beyond `max_depth` cost more.
        scale: metres per unit of the logits, positive; about the mean depth is a good start for a fresh network.
        shown_range: (min, max) depth on the scale of pictures, in metres; None is the range of what is shown.
        label_range: (min, max) of the label space in metres; depths outside fall into its first or last interval. By
            default 0.07 * `max_depth` to `max_depth`: for 10 metres, ATRC's 0.7 to 10.
    """

    higher_is_better = {
        'abs_err': False,
        'rel_err': False,
        'rmse': False,
        'rmse_log': False,
        'delta1': True,
        'delta2': True,
        'delta3': True,
    }
    temporal_metrics = {'warp_err': False, 'warp_rel_err': False}
    primary_metric = 'abs_err'
    out_channels = 1
    label_space_size = 40
    units = tuple(STEPS)
    takes_step = True

    def __init__(
        self,
        *,
        name: str,
        max_depth: float,
        min_depth: float = 1e-3,
        prediction_range: tuple[float | None, float | None] | None = None,
        scale: float = 1.0,
        label_range: tuple[float, float] | None = None,
        shown_range: Span | None = None,
        source: str | None = None,
        loss_weight: float = 1.0,
        primary_metric: str | None = None,
    ) -> None:
        super().__init__(name=name, source=source, loss_weight=loss_weight, primary_metric=primary_metric)
        check_number(name, 'max_depth', max_depth)
        check_number(name, 'min_depth', min_depth)
        if not 0 < min_depth < max_depth:
            raise ValueError(f'task {name!r}: depths need 0 < min_depth < max_depth, not {min_depth} and {max_depth}')
        check_number(name, 'scale', scale, above=0)
        self.min_depth = min_depth
        self.max_depth = max_depth
        if prediction_range is None:
            prediction_range = (min_depth, max_depth)
        if not isinstance(prediction_range, (list, tuple)) or len(prediction_range) != 2:
            raise ValueError(f'task {name!r}: prediction_range must be (min, max), not {prediction_range!r}')
        for number in prediction_range:
            if number is not None:
                check_number(name, 'prediction_range', number)
        self.least, self.most = prediction_range
        if self.least is not None and self.most is not None and self.least >= self.most:
            raise ValueError(f'task {name!r}: prediction_range needs min < max, not {prediction_range}')
        self.scale = scale
        self.shown_range = check_span(name, 'shown_range', shown_range)
        if label_range is None:
            label_range = (0.07 * max_depth, max_depth)
        if not isinstance(label_range, (list, tuple)) or len(label_range) != 2:
            raise ValueError(f'task {name!r}: label_range must be (min, max), not {label_range!r}')
        for number in label_range:
            check_number(name, 'label_range', number)
        self.nearest, self.farthest = label_range
        if not 0 < self.nearest < self.farthest:
            raise ValueError(f'task {name!r}: label_range needs 0 < min < max, not {label_range}')

    def definition(self) -> dict[str, Any]:
        return {**super().definition(), 'scale': self.scale}

    def interpret(self, stored: Array, where: str, unit: Unit | None = None) -> Array:
        """Return metres; whole numbers are millimetres and floats metres, unless `unit` says otherwise.

        Numbers of 8 bits are refused, unless `unit` says how many metres a step has: they may be anything.
        """
        depth = single_plane(stored)
        if depth.ndim == 2 and depth.dtype.itemsize == 1 and not isinstance(unit, (int, float)):
            raise ValueError(
                f'{where}: 8-bit depth of task {self.name!r}, which may be relative, inverse or class numbers; store '
                'depth as uint16 millimetres (0 = none) or float metres, or set `unit` of the data set to the metres '
                'of one grey level'
            )
        return scale(depth, unit or ('m' if depth.dtype.kind == 'f' else 'mm'), STEPS)

    @property
    def stored_unit(self) -> Unit:  # type: ignore[override]
        """The finest unit whose 16-bit numbers reach the end of the range."""
        farthest = self.max_depth if self.most is None else self.most
        return next((unit for unit in ('mm', 'm/256', 'cm') if farthest * STEPS[unit] <= LAST), farthest / LAST)

    def encode(self, array: Array) -> Array:
        """Return uint16; depths of less than half a unit, negative ones among them, become 0, none."""
        return to_uint16(array, self.stored_unit, STEPS, f'depth of task {self.name!r}')

    def examine(self, maps: Iterable[Array]) -> str | None:
        seen = False
        for depth in maps:
            seen = seen or bool((depth > 0).any())
            if ((depth > self.max_depth / 200) & (depth <= self.max_depth)).any():
                return None
        if not seen:
            return 'no pixel of them has a depth'
        return (
            f'no depth lies between {self.max_depth / 200:g} and {self.max_depth:g} m (max_depth / 200 to max_depth); '
            'check the unit of the files'
        )

    def check(self, array: Array, where: str) -> None:
        """Refuse negative and non-finite depths, and maps that lie wholly beyond 10 * `max_depth` (wrong unit).

        Maps wholly beyond `max_depth` itself pass: crops of the sky or of a distant facade.
        """
        if not np.isfinite(array).all() or (array < 0).any():
            raise ValueError(f'{where}: depth of task {self.name!r} must be finite and >= 0 (0 = no measurement)')
        measured = array[array > 0]
        if len(measured) and measured.min() > 10 * self.max_depth:
            raise ValueError(
                f'{where}: every depth of task {self.name!r} is far beyond max_depth={self.max_depth} m (nearest '
                f'{measured.min():.1f}); convert it to metres, with 0 for no measurement'
            )

    def adjust(self, array: Array, change: CameraChange) -> Array:
        return (array * change.depth_ratio).astype(np.float32)

    def loss(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {'loss_l1': masked_mean((self.scale * logits - target).abs(), self.valid(target))}

    def discretize(self, target: Tensor) -> Tensor:
        bins = log_bins(target, self.nearest, self.farthest, self.label_space_size)
        return bins.masked_fill(~self.valid(target), IGNORE)

    def decode(self, logits: Tensor) -> Tensor:
        """Return metres, clamped to the range of predictions, (N, 1, H, W)."""
        metres = self.scale * logits
        return metres if self.least is None and self.most is None else metres.clamp(self.least, self.most)

    def decoding(self) -> dict[str, Any]:
        return {'kind': 'linear', 'scale': float(self.scale), 'least': self.least, 'most': self.most, 'unit': 'm'}

    def valid(self, target: Values) -> Values:
        """Return where the depth is within the task's range."""
        return (target > self.min_depth) & (target <= self.max_depth)

    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the count, the sums of |e|, |e| / g, e^2 and squared log error, and the counts of the three deltas."""
        mask = self.valid(target)
        p, g = prediction[mask].double(), target[mask].double()
        error = (p - g).abs()
        p = p.clamp(min=SMALLEST)
        ratio = torch.maximum(p / g, g / p)
        terms = [error, error / g, error**2, (p.log() - g.log()) ** 2, *(ratio < 1.25**i for i in (1, 2, 3))]
        return torch.stack([mask.sum().double(), *(term.double().sum() for term in terms)]).cpu()

    def summarize(self, totals: Tensor) -> dict[str, float]:
        abs_err, rel_err, mse, mse_log, *deltas = (totals[1:] / totals[0]).tolist()
        metrics = {'abs_err': abs_err, 'rel_err': rel_err, 'rmse': mse**0.5, 'rmse_log': mse_log**0.5}
        return metrics | {f'delta{i}': 100 * delta for i, delta in enumerate(deltas, 1)}

    def differences(self, first: Tensor, second: Tensor) -> Tensor:
        error = (first - second).abs()
        return torch.cat([error, 2 * error / (first + second).clamp(min=SMALLEST)])

    def constant(self, maps: Iterable[Array]) -> Array:
        """Return the mean depth."""
        return mean_map(self, (m[(m > self.min_depth) & (m <= self.max_depth)] for m in maps))

    def span(self, array: Array) -> Span | None:
        return span_of(array[self.valid(array)], self.shown_range)

    def draw(self, image: Array, array: Array, span: Span | None = None) -> Array:
        """Draw near depths bright and far ones dark, none in grey, and those outside of range or scale in blue."""
        return draw_numbers(array[0], *self._picture(array, span))

    def legend(self, array: Array, span: Span | None = None) -> Legend:
        return legend_of_numbers(*self._picture(array, span))

    def _picture(self, array: Array, span: Span | None) -> tuple[Scale, Array, Array]:
        """Return the scale, where nothing was measured, and what is out of range."""
        depth = array[0]
        low, high = span or self.span(array) or (self.min_depth, self.max_depth)
        none = depth <= 0
        # A hair of tolerance: the ends of the scale are on it.
        outside = ~none & (~self.valid(depth) | (depth < low * (1 - 1e-6)) | (depth > high * (1 + 1e-6)))
        return magma_scale((low, high), 'm', near_is_high=False), none, outside
