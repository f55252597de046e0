"""Label spaces of regression tasks: continuous values as classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_bins(values: Tensor, lower: float, upper: float, count: int) -> Tensor:
    """Return the index of each value's interval among `count` intervals from `lower` to `upper`, int64.

    The intervals are log-spaced and include their lower end. Values outside fall into the first or
    last interval. ATRC's released code does this with lower = 0.7 and upper = 10 metres.

    Examples:
        >>> log_bins(torch.tensor([0.5, 1.0, 1.9, 2.0, 5.0, 9.0]), 1.0, 8.0, 3).tolist()
        [0, 0, 0, 1, 2, 2]
    """
    steps = torch.arange(1, count, dtype=torch.float64) / count
    edges = torch.exp(math.log(lower) + steps * math.log(upper / lower))
    return torch.bucketize(values, edges.to(values), right=True)


def half_sphere(count: int) -> Tensor:
    """Return unit vectors (count, 3), spread evenly over the hemisphere z < 0 of normals that point to the camera.

    They form a Fibonacci lattice. The heights are the middles of equal intervals, so each vector covers the same area;
    the azimuth advances by the golden angle.
    """
    steps = torch.arange(count, dtype=torch.float64)
    z = -(steps + 0.5) / count
    azimuth = steps * math.pi * (3 - math.sqrt(5))
    radius = (1 - z**2).sqrt()
    return torch.stack([radius * azimuth.cos(), radius * azimuth.sin(), z], dim=1).float()
