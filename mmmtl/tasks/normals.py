"""Surface normals: L1 loss on unit vectors and angular errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.registry import TASKS
from mmmtl.structures import Array, CameraChange

from .base import IGNORE, Task, nothing_labelled
from .colour import NO_LABEL, hatch_where
from .label_space import half_sphere
from .legend import Legend, Span
from .reduction import masked_mean
from .stored import Unit, check_normal_colours, decode_normals, encode_normals

BINS_PER_DEGREE = 100
THRESHOLDS = (11.25, 22.5, 30.0)
BALL = 128
"""Side of the ball in the legend of a picture, in pixels."""


@TASKS.register_module()
class SurfaceNormals(Task):
    """Surface normals. Map: (H, W, 3) float32 unit vectors in the camera's coordinates, the zero vector = none.

    Axes: x right, y down, z forward; normals point to the camera (a floor seen by a level camera is (0, -1, 0)).

    Loss `loss_l1`: |n - g| of the normalised prediction, summed over x, y, z and averaged over the labelled pixels
    (three times the mean over pixels and coordinates).

    Metrics, over all labelled pixels of all images: the angle to the label in degrees, as `mean` and `median` (from a
    histogram with bins of 0.01 degrees), and the percentages `within_11.25`, `within_22.5` and `within_30`.
    Temporal metric: `warp_err`, the mean angle in degrees, which includes the rotation of the camera.

    Its label space consists of 40 fixed directions, spread evenly over the hemisphere; a normal belongs to the nearest
    one. (ATRC uses 40 k-means clusters of the training normals; fixed directions need no data.)
    """

    higher_is_better = {'mean': False, 'median': False, 'within_11.25': True, 'within_22.5': True, 'within_30': True}
    primary_metric = 'mean'
    out_channels = 3
    map_channels = 3
    label_space_size = 40
    units = ('opencv', 'opengl')

    def interpret(self, stored: Array, where: str, unit: Unit | None = None) -> Array:
        """Return unit vectors of colours v = round((n + 1) / 2 * 255), or of floats as they are.

        The unit says where y and z point: 'opencv' down and forward, as here, 'opengl' up and backward.

        Raises:
            ValueError: most colours are not unit vectors, or most vectors point away from the camera.
        """
        normals = stored
        if stored.dtype == np.uint8 and stored.ndim == 3:
            check_normal_colours(stored, where)
            normals = decode_normals(stored)
        if normals.ndim != 3 or normals.shape[2] != 3:
            return normals
        if normals.dtype.kind != 'f':
            raise ValueError(f'{where}: {normals.dtype} instead of uint8 colours or floats; convert the normals')
        if unit == 'opengl':
            normals = normals * np.array((1, -1, -1), dtype=np.float32)
        if 2 * np.count_nonzero(normals[..., 2] > 0.05) > np.count_nonzero(normals.any(axis=-1)):
            self.check(normals, where)  # a wrong length says more than a wrong direction
            raise ValueError(
                f'{where}: most normals point away from the camera (z > 0); if y points up and z backward in them, '
                f"set unit=dict({self.source}='opengl') of the data set"
            )
        return normals.astype(np.float32)

    def export(self, array: Array) -> Array:
        """Return unit vectors; refuse others, such as NaN."""
        if (wrong := _impossible_lengths(array, axis=0)).size:
            raise ValueError(
                f'the map of task {self.name!r} has vectors of length {wrong.min():g} to {wrong.max():g}, which are '
                'neither unit vectors nor zero = none; scale them to length 1'
            )
        return super().export(array)

    def encode(self, array: Array) -> Array:
        """Return RGB, about v = round((n + 1) / 2 * 255); black where there is none."""
        return encode_normals(array)

    def check(self, array: Array, where: str) -> None:
        """Refuse vectors that are neither of unit length nor zero, and maps that are not (H, W, 3)."""
        if array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(f'{where}: the map of task {self.name!r} has shape {array.shape}, not (H, W, 3)')
        if _impossible_lengths(array, axis=-1).size:
            raise ValueError(
                f'{where}: normals of task {self.name!r} must be unit vectors, or zero = none; convert colours '
                'that are stored as floats v from 0 to 1 to 2 * v - 1'
            )

    def adjust(self, array: Array, change: CameraChange) -> Array:
        turned: Array = array @ change.linear.T
        return turned.astype(np.float32)

    def loss(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        difference = (self.decode(logits) - target).abs().sum(dim=1)
        return {'loss_l1': masked_mean(difference, target.any(dim=1))}

    def discretize(self, target: Tensor) -> Tensor:
        directions = half_sphere(self.label_space_size).to(target)
        # Autocast would round the products, and pixels between two directions would change sides.
        with torch.autocast(target.device.type, enabled=False):
            nearest = torch.einsum('kc,nchw->nkhw', directions, target).argmax(dim=1, keepdim=True)
        return nearest.masked_fill(~target.any(dim=1, keepdim=True), IGNORE)

    def decode(self, logits: Tensor) -> Tensor:
        """Return unit vectors (N, 3, H, W)."""
        # The result of `F.normalize`, in a tenth of its time on a CPU.
        return logits / logits.square().sum(dim=1, keepdim=True).clamp(min=1e-12).sqrt()

    def decoding(self) -> dict[str, Any]:
        return {'kind': 'unit_vectors'}

    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the count, the sum of the angles, the counts below the thresholds, and the histogram of the angles."""
        mask = target.any(dim=0)
        p, g = prediction[:, mask].double(), target[:, mask].double()
        angle = angles(p, g)
        bins = (angle * BINS_PER_DEGREE).long().clamp(max=180 * BINS_PER_DEGREE - 1)
        histogram = torch.bincount(bins, minlength=180 * BINS_PER_DEGREE).double()
        head = [mask.sum(), angle.sum(), *((angle < threshold).sum() for threshold in THRESHOLDS)]
        return torch.cat([torch.stack([term.double() for term in head]), histogram]).cpu()

    def summarize(self, totals: Tensor) -> dict[str, float]:
        count, total, *below = totals[:5].tolist()
        if not count:
            return dict.fromkeys(self.higher_is_better, float('nan'))
        cumulative = totals[5:].cumsum(0)
        lower, upper = (int(torch.searchsorted(cumulative, rank)) for rank in ((count - 1) // 2 + 1, count // 2 + 1))
        median = ((lower + upper) / 2 + 0.5) / BINS_PER_DEGREE
        within = {f'within_{t:g}': 100 * n / count for t, n in zip(THRESHOLDS, below, strict=True)}
        return {'mean': total / count, 'median': median, **within}

    def differences(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the angle in degrees."""
        return angles(first, second)[None]

    def constant(self, maps: Iterable[Array]) -> Array:
        """Return the mean normal."""
        total = np.zeros(3)
        for normals in maps:
            total += normals.reshape(-1, 3).sum(axis=0, dtype=np.float64)
        length = np.linalg.norm(total)
        if not length:
            raise nothing_labelled(self)
        return (total / length).astype(np.float32).reshape(3, 1, 1)

    def legend(self, array: Array, span: Span | None = None) -> Legend:
        """Return a ball as the camera sees it, in the colours of its normals."""
        x, y = np.meshgrid(*2 * [np.linspace(-1, 1, BALL)])
        inside = x**2 + y**2 <= 1
        normals = np.where(inside, np.stack([x, y, -np.sqrt(np.maximum(1 - x**2 - y**2, 0))]), 0)
        ball = np.where(inside[..., None], _colours(normals), 255).astype(np.uint8)
        swatches = dict.fromkeys([] if _labelled(array).all() else [NO_LABEL])
        return Legend(swatches, (NO_LABEL,), ball=ball, notes=('as on a ball:', 'x right, y down,', 'z forward'))

    def draw(self, image: Array, array: Array, span: Span | None = None) -> Array:
        """Draw (n + 1) / 2 as RGB, rounded to 8 bits; unlabelled pixels show the image, hatched."""
        return hatch_where(_colours(array), image, ~_labelled(array))


def _impossible_lengths(array: Array, axis: int) -> Array:
    """Return the lengths (P,) of those vectors along an axis that are neither unit vectors nor zero."""
    length = np.linalg.norm(array, axis=axis)
    wrong: Array = length[~((np.abs(length - 1) <= 0.01) | (length == 0))]
    return wrong


def _labelled(array: Array) -> Array:
    """Return where normals (3, H, W) are not zero, (H, W) bool."""
    x, y, z = array != 0
    labelled: Array = x | y | z
    return labelled


def _colours(array: Array) -> Array:
    """Return v = round((n + 1) / 2 * 255), (H, W, 3) uint8, of normals (3, H, W)."""
    return (127.5 * (array + 1)).clip(0, 255).round().astype(np.uint8).transpose(1, 2, 0)


def angles(first: Tensor, second: Tensor) -> Tensor:
    """Return the degrees (P,) between vectors (3, P) of any length; 90 if one of them is zero."""
    p, g = F.normalize(first, dim=0), F.normalize(second, dim=0)
    # Unlike the arc cosine of a rounded product, this is exact for small angles too.
    return torch.rad2deg(2 * torch.atan2((p - g).norm(dim=0), (p + g).norm(dim=0)))
