"""Non-maximum suppression, which keeps the ridges of soft edge maps."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SMOOTHING = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1]) / 25
MARGIN = 1.01
BORDER = 5


def edge_nms(strength: NDArray[Any]) -> NDArray[Any]:
    """Set an edge map (H, W) >= 0 to zero wherever a neighbour across the edge is stronger; return float64.

    1. Orientation: smooth the map with a triangle filter of radius 4 (reflected at the border), and take second
       derivatives by repeated central differences. Then o = atan(E_yy sign(-E_xy) / (E_xx + 1e-5)) mod pi is roughly
       the direction across the edge, x to the right and y down.
    2. A pixel stays if 1.01 times its strength reaches that of both points at distance 1 along (cos o, sin o) in the
       unsmoothed map, bilinear between pixels. Points outside are moved to the border.
    3. Strengths fall linearly to zero over the last 5 pixels before the border, where estimates are noisy.

    Deviation: sign(0) is 1. The original's 0 rotates exactly horizontal edges by 90 degrees; predictions of networks
    have none.

    Reference: Dollár and Zitnick, Fast edge detection using structured forests, PAMI 37(8), 2015, section 2.3, with
    the parameters of SEISM.
    """
    from scipy.ndimage import map_coordinates  # slow to import, and only this metric needs it

    if strength.ndim != 2 or min(strength.shape) < 2:
        raise ValueError(f'an edge map must be (H, W) with at least 2x2 pixels, not {strength.shape}')
    strength = strength.astype(np.float64)
    rows, columns = np.nonzero(strength > 0)
    angle = _across(strength)[rows, columns]
    dx, dy, own = np.cos(angle), np.sin(angle), MARGIN * strength[rows, columns]
    ahead, behind = (
        map_coordinates(strength, (rows + side * dy, columns + side * dx), order=1, mode='nearest') for side in (1, -1)
    )
    stays = (own >= ahead) & (own >= behind)
    rows, columns = rows[stays], columns[stays]
    height, width = strength.shape
    out = np.zeros_like(strength)
    out[rows, columns] = strength[rows, columns] * _fade(height)[rows] * _fade(width)[columns]
    return out


def _across(strength: NDArray[Any]) -> NDArray[Any]:
    """Return angles (H, W) in 0 to pi, roughly across the edges."""
    smooth = cv2.sepFilter2D(strength, cv2.CV_64F, SMOOTHING, SMOOTHING, borderType=cv2.BORDER_REFLECT)
    y, x = np.gradient(smooth)
    xx = np.gradient(x, axis=1)
    yy, xy = np.gradient(y)
    angles: NDArray[Any] = np.arctan2(np.where(xy > 0, -yy, yy), xx + 1e-5) % np.pi
    return angles


def _fade(length: int) -> NDArray[Any]:
    """Return factors (length,) that rise as 0, 1/5, ..., 1 from both ends, over at most half the length."""
    reach = min(BORDER, length // 2)
    position = np.arange(length)
    factors: NDArray[Any] = np.minimum(np.minimum(position, position[::-1]) / reach, 1)
    return factors
