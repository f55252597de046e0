"""The change of camera that goes with a geometric augmentation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .array import Array


@dataclass(frozen=True, eq=False)
class CameraChange:
    """A change of camera, from which tasks adjust the values of their maps after the pixels have been resampled.

    Normals are multiplied by `linear` and depth by `depth_ratio`; disparity is divided by it.

    Args:
        linear: (3, 3), maps a direction from the old camera's coordinates to the new ones (x right, y down, z forward).
            A mirror is diag(-1, 1, 1); a roll or a pan is a rotation.
        depth_ratio: new depth / old depth of the point that a pixel shows, a number or (H, W) on the new pixel grid. A
            crop that is enlarged `zoom` times has 1 / zoom: with the same intrinsics, the scene seems to come nearer.
    """

    linear: Array = field(default_factory=lambda: np.eye(3, dtype=np.float32))
    depth_ratio: float | Array = 1.0
