"""A colour scale for maps of one number per pixel."""

from __future__ import annotations

import cv2
import numpy as np

from mmmtl.structures import Array


def colourize(values: Array, valid: Array) -> Array:
    """Draw `values` (H, W), clipped to 0..1, as (H, W, 3) uint8 RGB; black where not `valid`."""
    levels = (255 * np.clip(values, 0, 1)).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_MAGMA)[..., ::-1]
    return np.where(valid[..., None], colours, 0).astype(np.uint8)
