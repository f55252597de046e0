"""Video from stills: a clip from one labelled image by a camera that turns in place."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from mmmtl.registry import TRANSFORMS
from mmmtl.structures import CameraChange

from .geometric import GeometricTransform, Size, warp_image, warp_map


@TRANSFORMS.register_module()
class StillToClip(GeometricTransform):
    """Makes the frames of a clip (`slots` of the data set, `clip.still`) from its one labelled image.

    The camera turns about its centre on a smooth random path. What it sees is a homography of the still whatever the
    depth, so labels, depth and normals of every view are exact: normals turn, depth is that along the new axis. What
    lies outside the still is mirrored in the frames and unlabelled in the maps. There is no parallax and nothing moves
    by itself, which real video has. Crops come after it: the optical axis is taken to be in the middle.

    Args:
        fov: horizontal field of view of the still, degrees.
        max_speed: largest angular speed at the current frame about each axis, degrees per frame; from frame to frame it
            changes by at most a quarter of that.
        max_turn: largest angle between the still's camera and the current frame's, about each axis, degrees.

    Raises:
        ValueError: the item is no still of a data set with `clip.still`.
    """

    def __init__(self, *, fov: float = 60.0, max_speed: float = 1.0, max_turn: float = 3.0) -> None:
        self.fov = fov
        self.max_speed = max_speed
        self.max_turn = max_turn

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        if len(results['imgs']) != 1:
            raise ValueError(
                f'{results.get("img_path")}: StillToClip makes clips of single images; give the data set '
                'clip=dict(still=True, ...)'
            )
        (still,) = results['imgs']
        size = still.shape[:2]
        camera = intrinsics(size, self.fov)
        rotations = self.path(results['rng'], [slot or 0 for slot in results.get('slots', (0,))])
        matrices = [camera @ turn @ np.linalg.inv(camera) for turn in rotations]

        # Maps belong to the current frame, which is the last.
        change = CameraChange(
            linear=rotations[-1].astype(np.float32), depth_ratio=depth_ratio(camera, rotations[-1], size)
        )
        self.apply(results, lambda image: image, lambda array, fill: warp_map(array, matrices[-1], fill), change)
        results['imgs'] = [warp_image(still, matrix) for matrix in matrices]
        return results

    def path(self, rng: np.random.Generator, times: list[int]) -> list[np.ndarray]:
        """The camera's rotations (3, 3), still's to new coordinates, at `times`: frames relative to the current one."""
        limits = (self.max_turn, self.max_speed, self.max_speed / 4)
        turn, speed, acceleration = (np.deg2rad(rng.uniform(-limit, limit, 3)) for limit in limits)
        # A rotation vector: axis times angle.
        return [cv2.Rodrigues(turn + speed * t + acceleration * t * t / 2)[0] for t in times]


def intrinsics(size: Size, fov: float) -> np.ndarray:
    """Pinhole matrix with the principal point in the middle; `fov` is horizontal, in degrees."""
    height, width = size
    focal = width / 2 / np.tan(np.deg2rad(fov) / 2)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def depth_ratio(camera: np.ndarray, turn: np.ndarray, size: Size) -> np.ndarray:
    """(H, W) new depth / old depth on the new grid: the ray (x, y, 1) had the depth (turn^T ray)_z before."""
    rows, columns = np.indices(size)
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(camera).T
    return (1 / (rays @ turn)[..., 2]).astype(np.float32)
