"""Non-maximum suppression of soft edge maps: only the ridges stay."""

from __future__ import annotations

import cv2
import numpy as np

SMOOTHING = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1]) / 25
MARGIN = 1.01
BORDER = 5


def edge_nms(strength: np.ndarray) -> np.ndarray:
    """An edge map with zeros wherever a neighbour across the edge is stronger.

    1. Orientation: with E smoothed by a triangle filter of radius 4 (reflected at the border), and its second
       derivatives from repeated central differences, o = atan(E_yy sign(-E_xy) / (E_xx + 1e-5)) mod pi, roughly the
       direction across the edge, x to the right and y down.
    2. A pixel stays if 1.01 times its strength reaches that of both points at distance 1 along (cos o, sin o), of the
       map itself, between pixels bilinear. Points outside are moved to the border.
    3. Towards the border, where estimates are noisy, strengths fall linearly to zero over the last 5 pixels.

    Deviation: sign(0) is 1. The original's 0 turns exactly horizontal edges by a right angle; maps of networks have
    none.

    Args:
        strength: (H, W), at least 2x2, not negative.

    Returns:
        (H, W) float64.

    Raises:
        ValueError: `strength` is not (H, W) or too small to have an orientation.

    Reference: Dollár and Zitnick, Fast edge detection using structured forests, PAMI 37(8), 2015, section 2.3, with
    the values that SEISM calls it with.
    """
    if strength.ndim != 2 or min(strength.shape) < 2:
        raise ValueError(f'edges are thinned in maps (H, W) of at least 2x2 pixels, not {strength.shape}')
    strength = strength.astype(np.float64)
    rows, columns = np.nonzero(strength > 0)
    angle = _across(strength)[rows, columns]
    dx, dy, own = np.cos(angle), np.sin(angle), MARGIN * strength[rows, columns]
    ahead, behind = (_sample(strength, rows + side * dy, columns + side * dx) for side in (1, -1))
    stays = (own >= ahead) & (own >= behind)
    rows, columns = rows[stays], columns[stays]
    height, width = strength.shape
    out = np.zeros_like(strength)
    out[rows, columns] = strength[rows, columns] * _fade(height)[rows] * _fade(width)[columns]
    return out


def _across(strength: np.ndarray) -> np.ndarray:
    """(H, W) angles in 0 to pi, roughly across the edges."""
    smooth = cv2.sepFilter2D(strength, cv2.CV_64F, SMOOTHING, SMOOTHING, borderType=cv2.BORDER_REFLECT)
    y, x = np.gradient(smooth)
    xx = np.gradient(x, axis=1)
    yy, xy = np.gradient(y)
    return np.arctan2(np.where(xy > 0, -yy, yy), xx + 1e-5) % np.pi


def _sample(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Values between pixels, bilinear; what lies outside is moved to the border."""
    height, width = values.shape
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    i, j = np.minimum(rows.astype(int), height - 2), np.minimum(columns.astype(int), width - 2)
    y, x = rows - i, columns - j
    upper = (1 - x) * values[i, j] + x * values[i, j + 1]
    lower = (1 - x) * values[i + 1, j] + x * values[i + 1, j + 1]
    return (1 - y) * upper + y * lower


def _fade(length: int) -> np.ndarray:
    """(length,) factors: 0, 1/5, ... to 1 from either end, over half the length at most."""
    reach = min(BORDER, length // 2)
    position = np.arange(length)
    return np.minimum(np.minimum(position, position[::-1]) / reach, 1)
