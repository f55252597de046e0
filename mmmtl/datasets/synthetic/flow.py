"""The exact motion of a scene's surfaces from one frame to another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .geometry import NEAR, PosedSolid
from .render import RenderedFrame, camera_rays
from .scene import Scene


def scene_flow(
    scene: Scene, frame: RenderedFrame, t: int, step: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the motion of each pixel of a frame, rendered at `t`, to the one `step` later.

    Returns:
        The motion, (H, W, 2) float32 pixels, x to the right and y down, also to places that are hidden; the sky only
        turns with the camera; 0 where invalid. And where it is valid, (H, W) bool, False for points that end up behind
        the camera.
    """
    height, width = frame.depth.shape
    intrinsics, flat = camera_rays(height, width, scene.focal)
    depth = frame.depth.astype(np.float64).ravel()
    sky = depth == 0
    # The sky is at infinity: the position of the camera does not matter.
    points = frame.pose[:3, :3] @ (flat * np.where(sky, 1.0, depth))
    points[:, ~sky] += frame.pose[:3, 3:]
    owner = frame.owner.ravel()
    for index in np.unique(owner[frame.moving.ravel()]):
        now, then = (PosedSolid(scene.solids[index], time, np.zeros(3)) for time in (t, t + step))
        seen = owner == index
        local = now.to_local(*(points[:, seen] - now.centre[:, None]))
        points[:, seen] = np.stack(then.to_world(*local)) + then.centre[:, None]
    pose = scene.camera.pose(t + step)
    points[:, ~sky] -= pose[:3, 3:]
    x, y, z = pose[:3, :3].T @ points
    valid = z > NEAR
    z = np.where(valid, z, 1.0)
    targets = np.stack([x / z * intrinsics[0, 0] + intrinsics[0, 2], y / z * intrinsics[1, 1] + intrinsics[1, 2]])
    rows, columns = np.divmod(np.arange(height * width), width)
    motion = np.where(valid, targets - np.stack([columns, rows]), 0).astype(np.float32)
    return np.ascontiguousarray(motion.T).reshape(height, width, 2), valid.reshape(height, width)
