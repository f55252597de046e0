"""Monocular depth: L1 loss and the usual errors."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from mmmtl.registry import TASKS
from mmmtl.structures import Array, CameraChange

from .arguments import check_number, check_span
from .legend import Span
from .number import NumberTask, Values
from .stored import LAST, Unit, scale, single_plane

SMALLEST = 1e-9
"""Least depth in ratios and logarithms, in metres, like that of MTI-Net's released code."""


@TASKS.register_module()
class DepthEstimation(NumberTask):
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
    steps = {'mm': 1000, 'cm': 100, 'm': 1, 'm/256': 256, 'm/5000': 5000}  # KITTI stores m/256, TUM m/5000
    units = tuple(steps)
    map_unit = 'm'
    near_is_high = False

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
        self.scale = scale
        self.min_depth = min_depth
        self.max_depth = max_depth
        self.shown_range = None if shown_range is None else check_span(name, 'shown_range', shown_range, least=0)
        self.usual_range = min_depth, max_depth
        if prediction_range is None:
            prediction_range = (min_depth, max_depth)
        self.least, self.most = check_span(name, 'prediction_range', prediction_range, open_ends=True)
        if label_range is None:
            label_range = (0.07 * max_depth, max_depth)
        self.label_range = check_span(name, 'label_range', label_range, above=0)

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
        # A task of another kind may borrow this method.
        steps = self.steps if isinstance(self, DepthEstimation) else DepthEstimation.steps
        return scale(depth, unit or ('m' if depth.dtype.kind == 'f' else 'mm'), steps)

    @property
    def stored_unit(self) -> Unit:  # type: ignore[override]
        """The finest unit whose 16-bit numbers reach the end of the range."""
        farthest = self.max_depth if self.most is None else self.most
        return next((unit for unit in ('mm', 'm/256', 'cm') if farthest * self.steps[unit] <= LAST), farthest / LAST)

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
        super().check(array, where)
        measured = array[array > 0]
        if len(measured) and measured.min() > 10 * self.max_depth:
            raise ValueError(
                f'{where}: every depth of task {self.name!r} is far beyond max_depth={self.max_depth} m (nearest '
                f'{measured.min():.1f}); convert it to metres, with 0 for no measurement'
            )

    def adjust(self, array: Array, change: CameraChange) -> Array:
        return (array * change.depth_ratio).astype(np.float32)

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
