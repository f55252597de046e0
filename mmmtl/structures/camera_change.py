"""How a geometric augmentation changed the camera: all that a task must know to adjust the values of its map."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class CameraChange:
    """A change of camera that goes with a resampling of the picture.

    The resampling itself moves pixels and is the same for every map. This says what happens to their values; a task
    takes from it what concerns it: normals turn by `linear`, depth is multiplied by `depth_ratio`, disparity divided
    by it.

    Args:
        linear: (3, 3), the new camera's coordinates of a direction = linear @ its old coordinates (camera axes x right,
            y down, z forward). A mirror is diag(-1, 1, 1), a roll or a pan is a rotation.
        depth_ratio: new depth / old depth of the point that a pixel shows, a number or (H, W) on the new pixel grid. A
            crop that is enlarged `zoom` times has 1 / zoom: the intrinsics stay, so the scene seems to come nearer.
    """

    linear: np.ndarray = field(default_factory=lambda: np.eye(3, dtype=np.float32))
    depth_ratio: float | np.ndarray = 1.0
