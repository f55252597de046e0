"""Monocular depth: L1 loss and the usual errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.registry import TASKS
from mmmtl.structures import CameraChange

from .base import IGNORE, Task, masked_mean, nothing_labelled
from .colour import colourize
from .levels import log_levels


@TASKS.register_module()
class DepthEstimation(Task):
    """Depth along the optical axis. Map: (H, W) float32 metres, 0 = no measurement.

    Loss `loss_l1`: |scale * logits - depth| in metres, averaged over the pixels with depth in (min_depth, max_depth].

    Metrics, over the same pixels of all images: `abs_err` and `rmse` in metres, `rel_err` (|d - g| / g), `rmse_log`
    (natural logarithm) and `delta1..3`, the percentage with max(d / g, g / d) < 1.25, 1.25^2, 1.25^3.

    Temporal metrics: `warp_err` in metres, and `warp_rel_err`, relative to the mean of the two depths.

    Its 40 levels are intervals of equal length in the logarithm.

    Args:
        min_depth: nearest depth that is learnt, predicted and scored, in metres.
        max_depth: farthest.
        scale: metres per unit of the logits, positive; about the mean depth lets a fresh network start near it.
        level_range: depths from and to which the levels reach, in metres; nearer and farther ones fall into the first
            and the last. By default 0.07 * `max_depth` and `max_depth`: for 10 metres, the 0.7 and 10 of ATRC.
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
    num_levels = 40

    def __init__(
        self,
        *,
        name: str,
        max_depth: float,
        min_depth: float = 1e-3,
        scale: float = 1.0,
        level_range: tuple[float, float] | None = None,
        source: str | None = None,
        loss_weight: float = 1.0,
        primary_metric: str | None = None,
    ) -> None:
        super().__init__(name=name, source=source, loss_weight=loss_weight, primary_metric=primary_metric)
        if not 0 < min_depth < max_depth:
            raise ValueError(f'task {name!r}: depths need 0 < min_depth < max_depth, not {min_depth} and {max_depth}')
        if scale <= 0:
            raise ValueError(f'task {name!r}: scale must be positive, not {scale}')
        self.min_depth = min_depth
        self.max_depth = max_depth
        self.scale = scale
        self.nearest, self.farthest = level_range or (0.07 * max_depth, max_depth)
        if not 0 < self.nearest < self.farthest:
            raise ValueError(f'task {name!r}: level_range needs 0 < nearest < farthest, not {level_range}')

    def definition(self) -> dict[str, Any]:
        """The unit of the logits."""
        return {**super().definition(), 'scale': self.scale}

    def check(self, array: np.ndarray, where: str) -> None:
        """Refuse negative and non-finite depths, and maps that lie wholly beyond 10 * `max_depth` (wrong unit).

        A map that is merely all too far passes: a crop of the sky or of a distant facade has nothing to learn.
        """
        if not np.isfinite(array).all() or (array < 0).any():
            raise ValueError(f'{where}: depth of task {self.name!r} must be finite and >= 0 (0 = none)')
        measured = array[array > 0]
        if len(measured) and measured.min() > 10 * self.max_depth:
            raise ValueError(
                f'{where}: every depth of task {self.name!r} is far beyond max_depth={self.max_depth} m (nearest '
                f'{measured.min():.1f}); depths must be in metres, and 0 where there is none, as in the sky'
            )

    def adjust(self, array: np.ndarray, change: CameraChange) -> np.ndarray:
        """Depth is multiplied by the change's ratio."""
        return (array * change.depth_ratio).astype(np.float32)

    def loss(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """`loss_l1`, see the class."""
        return {'loss_l1': masked_mean((self.scale * logits - target).abs(), self.valid(target))}

    def discretize(self, target: Tensor) -> Tensor:
        """The interval of the depth, see the class; what the loss leaves out is ignored."""
        levels = log_levels(target, self.nearest, self.farthest, self.num_levels)
        return levels.masked_fill(~self.valid(target), IGNORE)

    def decode(self, logits: Tensor) -> Tensor:
        """Metres within the task's range, (N, 1, H, W)."""
        return (self.scale * logits).clamp(self.min_depth, self.max_depth)

    def valid(self, target: Tensor) -> Tensor:
        """Where the target counts."""
        return (target > self.min_depth) & (target <= self.max_depth)

    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Count and sums of |e|, |e| / g, e^2, log error^2, and counts of the three deltas."""
        mask = self.valid(target)
        p, g = prediction[mask].double(), target[mask].double()
        error = (p - g).abs()
        ratio = torch.maximum(p / g, g / p)
        terms = [error, error / g, error**2, (p.log() - g.log()) ** 2, *(ratio < 1.25**i for i in (1, 2, 3))]
        return torch.stack([mask.sum().double(), *(term.double().sum() for term in terms)]).cpu()

    def summarize(self, totals: Tensor) -> dict[str, float]:
        """The metrics of the class; NaN where nothing was measured."""
        abs_err, rel_err, mse, mse_log, *deltas = (totals[1:] / totals[0]).tolist()
        metrics = {'abs_err': abs_err, 'rel_err': rel_err, 'rmse': mse**0.5, 'rmse_log': mse_log**0.5}
        return metrics | {f'delta{i}': 100 * delta for i, delta in enumerate(deltas, 1)}

    def differences(self, first: Tensor, second: Tensor) -> Tensor:
        """Metres, and relative to the mean of the two."""
        error = (first - second).abs()
        return torch.cat([error, 2 * error / (first + second)])

    def constant(self, maps: Iterable[np.ndarray]) -> np.ndarray:
        """The mean depth."""
        return mean_map(self, (m[(m > self.min_depth) & (m <= self.max_depth)] for m in maps))

    def draw(self, image: np.ndarray, array: np.ndarray) -> np.ndarray:
        """Near is bright, far is dark, none is black; the colours span 0 to `max_depth` by its square root."""
        depth = array[0]
        return colourize(1 - np.sqrt(depth / self.max_depth), depth > 0)


@TASKS.register_module()
class DisparityEstimation(Task):
    """Stereo disparity (inverse depth). Map: (H, W) float32, 0 = none.

    Data sets deliver pixels at their full width; a plain resize changes nothing. With `unit='raw'` the task works on
    the value p / 65535 = (256 d + 1) / 65535 of a Cityscapes file instead, which MTAN and MILA learn and score. A
    disparity of 0 (p = 1, infinitely far) counts as none, and a zoom multiplies the raw value, its offset included.

    Loss `loss_l1`: |scale * logits - disparity|, averaged over the pixels that have one. Metrics: `abs_err` in `unit`
    and `rel_err`; MILA's table 2 prints 100 * abs_err of the raw value.

    Its 40 levels are intervals of equal length in the logarithm, from 1 / 64 of `max_disparity` to `max_disparity`.

    Args:
        unit: 'pixel' or 'raw'.
        scale: units of disparity per unit of the logits, positive.
        max_disparity: end of the colour scale and of the levels, in `unit`; by default 128 pixels, or the raw 0.5
            (nearly the same).
    """

    higher_is_better = {'abs_err': False, 'rel_err': False}
    primary_metric = 'abs_err'
    out_channels = 1
    num_levels = 40

    def __init__(
        self,
        *,
        name: str,
        unit: Literal['pixel', 'raw'] = 'pixel',
        scale: float = 1.0,
        max_disparity: float | None = None,
        source: str | None = None,
        loss_weight: float = 1.0,
        primary_metric: str | None = None,
    ) -> None:
        super().__init__(name=name, source=source, loss_weight=loss_weight, primary_metric=primary_metric)
        if unit not in ('pixel', 'raw'):
            raise ValueError(f"task {name!r}: unit must be 'pixel' or 'raw', not {unit!r}")
        if scale <= 0:
            raise ValueError(f'task {name!r}: scale must be positive, not {scale}')
        self.unit = unit
        self.scale = scale
        self.max_disparity = max_disparity or (128.0 if unit == 'pixel' else 0.5)

    def definition(self) -> dict[str, Any]:
        """The unit of the logits."""
        return {**super().definition(), 'scale': self.scale, 'unit': self.unit}

    def convert(self, array: np.ndarray) -> np.ndarray:
        """Pixels to `unit`."""
        if self.unit == 'pixel':
            return array
        return np.where(array > 0, (256 * array + 1) / 65535, 0).astype(np.float32)

    def check(self, array: np.ndarray, where: str) -> None:
        """Refuse negative and non-finite disparities."""
        if not np.isfinite(array).all() or (array < 0).any():
            raise ValueError(f'{where}: disparity of task {self.name!r} must be finite and >= 0 (0 = none)')

    def adjust(self, array: np.ndarray, change: CameraChange) -> np.ndarray:
        """Disparity is divided by the change's depth ratio."""
        return (array / change.depth_ratio).astype(np.float32)

    def loss(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """`loss_l1`, see the class."""
        return {'loss_l1': masked_mean((self.scale * logits - target).abs(), target > 0)}

    def discretize(self, target: Tensor) -> Tensor:
        """The interval of the disparity, see the class."""
        levels = log_levels(target, self.max_disparity / 64, self.max_disparity, self.num_levels)
        return levels.masked_fill(target <= 0, IGNORE)

    def decode(self, logits: Tensor) -> Tensor:
        """Disparity >= 0, (N, 1, H, W)."""
        return F.relu(self.scale * logits)

    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Count and sums of |e| and |e| / g."""
        mask = target > 0
        g = target[mask].double()
        error = (prediction[mask].double() - g).abs()
        return torch.stack([mask.sum().double(), error.sum(), (error / g).sum()]).cpu()

    def summarize(self, totals: Tensor) -> dict[str, float]:
        """`abs_err` and `rel_err`; NaN where nothing was measured."""
        abs_err, rel_err = (totals[1:] / totals[0]).tolist()
        return {'abs_err': abs_err, 'rel_err': rel_err}

    def constant(self, maps: Iterable[np.ndarray]) -> np.ndarray:
        """The mean disparity."""
        return mean_map(self, (m[m > 0] for m in maps))

    def draw(self, image: np.ndarray, array: np.ndarray) -> np.ndarray:
        """Near is bright, none is black."""
        return colourize(np.sqrt(array[0] / self.max_disparity), array[0] > 0)


def mean_map(task: Task, values: Iterable[np.ndarray]) -> np.ndarray:
    """The mean of all `values`, weighted alike, as a constant map (1, 1, 1).

    Raises:
        ValueError: there are none.
    """
    total, count = 0.0, 0
    for array in values:
        total += array.sum(dtype=np.float64)
        count += array.size
    if not count:
        raise nothing_labelled(task)
    return np.full((1, 1, 1), total / count, dtype=np.float32)
