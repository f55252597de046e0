"""Continuous values as classes: the label spaces in which regression tasks describe the regions of a picture."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_bins(values: Tensor, lower: float, upper: float, count: int) -> Tensor:
    """Return the number of the interval that a value lies in; the intervals have equal lengths in the logarithm.

    >>> log_bins(torch.tensor([0.5, 1.0, 1.9, 2.0, 5.0, 9.0]), 1.0, 8.0, 3).tolist()
    [0, 0, 0, 1, 2, 2]

    Args:
        values: of any shape.
        lower: where the first interval begins, positive; what is smaller falls into it.
        upper: where the last one ends; what is larger falls into it.
        count: of intervals.

    Returns:
        int64 in 0..count - 1, as `values`; an interval includes where it begins.

    Reference: ATRC's code, with lower = 0.7 and upper = 10 metres.
    """
    steps = torch.arange(1, count, dtype=torch.float64) / count
    edges = torch.exp(math.log(lower) + steps * math.log(upper / lower))
    return torch.bucketize(values, edges.to(values), right=True)


def half_sphere(count: int) -> Tensor:
    """(count, 3) unit vectors, spread evenly over the half sphere z < 0 of normals that point to the camera.

    A Fibonacci lattice: the heights are the middles of equal intervals, so each vector stands for the same area; from
    one to the next the azimuth turns by the golden angle.
    """
    steps = torch.arange(count, dtype=torch.float64)
    z = -(steps + 0.5) / count
    azimuth = steps * math.pi * (3 - math.sqrt(5))
    radius = (1 - z**2).sqrt()
    return torch.stack([radius * azimuth.cos(), radius * azimuth.sin(), z], dim=1).float()
