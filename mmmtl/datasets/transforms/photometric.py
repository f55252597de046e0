"""Photometric transforms: one draw for all frames of a clip."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmmtl.registry import TRANSFORMS
from mmmtl.structures import Array


@TRANSFORMS.register_module()
class ColorJitter(BaseTransform):
    """Random brightness, contrast, saturation and hue, the same for all frames of a clip.

    Args:
        brightness: the factor is uniform in [1 - brightness, 1 + brightness].
        contrast: the same for the factor on the difference to the mean of the current frame.
        saturation: the same for the factor on the difference to grey (the mean of the three colours).
        hue: the colours turn about the axis of greys, uniformly in [-hue, hue] degrees; 120 turns red into green.
    """

    def __init__(
        self, *, brightness: float = 0.3, contrast: float = 0.3, saturation: float = 0.3, hue: float = 10.0
    ) -> None:
        self.limits = np.array([brightness, contrast, saturation])
        if not (self.limits >= 0).all() or not (self.limits <= 1).all() or not hue >= 0:
            raise ValueError(
                f'brightness={brightness}, contrast={contrast} and saturation={saturation} must lie in 0 to 1, and '
                f'hue={hue} must be at least 0'
            )
        self.hue = hue

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        rng = results['rng']
        brightness, contrast, saturation = rng.uniform(1 - self.limits, 1 + self.limits)
        hue = rng.uniform(-self.hue, self.hue)
        mean = results['imgs'][-1].mean()
        colours = contrast * colour_matrix(saturation, hue)
        affine = brightness * np.column_stack([colours, np.full(3, (1 - contrast) * mean)])
        results['imgs'] = [recolour(image, affine) for image in results['imgs']]
        return results


def colour_matrix(saturation: float, hue: float) -> Array:
    """Return the matrix, (3, 3), that turns the hue of BGR by `hue` degrees and scales the distance to grey."""
    # In BGR, red to green is the negative turn about the diagonal.
    turn = cv2.Rodrigues(np.full(3, -np.deg2rad(hue) / np.sqrt(3)))[0]
    return saturation * turn + (1 - saturation) / 3


def recolour(image: Array, affine: Array) -> Array:
    """Map uint8 colours by an affine map (3, 4), rounded and clipped to 0..255."""
    mapped = image.astype(np.float32) @ affine[:, :3].T.astype(np.float32) + affine[:, 3].astype(np.float32)
    return mapped.clip(0, 255).round().astype(np.uint8)
