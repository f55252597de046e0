"""Video from stills: a camera that turns in place makes a clip of one labelled image."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from mmmtl.registry import TRANSFORMS
from mmmtl.structures import Array, CameraChange

from .geometric import GeometricTransform, Size, warp_image, warp_map


@TRANSFORMS.register_module()
class StillToClip(GeometricTransform):
    """The frames of a clip (`slots` of a data set with `clip.still`), made of its one labelled image.

    The camera turns about its centre on a smooth random path. Its view is a homography of the still whatever the depth,
    so labels, depth and normals of every view are exact: normals turn, and depth is along the new axis. Pixels from
    outside the still are mirrored in the frames and unlabelled in the maps. Unlike in real video there is no parallax,
    and nothing in the scene moves. Crop only afterwards: the optical axis is taken to be in the middle.

    Args:
        fov: horizontal field of view of the still, degrees.
        max_speed: largest angular speed at the current frame about each axis, degrees per frame; it changes by at most
            a quarter of that per frame.
        max_turn: largest angle between the cameras of the still and of the current frame, about each axis, degrees.
    """

    def __init__(self, *, fov: float = 60.0, max_speed: float = 1.0, max_turn: float = 3.0) -> None:
        self.fov = fov
        self.max_speed = max_speed
        self.max_turn = max_turn

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if len(results['imgs']) != 1:
            raise ValueError(
                f'{results.get("img_path")}: StillToClip makes clips of single images; give the data set '
                'clip=dict(still=True, ...)'
            )
        (still,) = results['imgs']
        size = still.shape[:2]
        camera = intrinsics(size, self.fov)
        # The pixels of the file are square, those after a resize may not be.
        height, width = results['ori_shape']
        camera[1, 1] *= (size[0] * width) / (size[1] * height)
        rotations = self.path(results['rng'], [slot or 0 for slot in results.get('slots', (0,))])
        matrices = [camera @ turn @ np.linalg.inv(camera) for turn in rotations]

        # Maps belong to the current frame, the last.
        change = CameraChange(
            linear=rotations[-1].astype(np.float32), depth_ratio=depth_ratio(camera, rotations[-1], size)
        )
        self.apply(results, lambda image: image, lambda array, fill: warp_map(array, matrices[-1], fill), change)
        results['imgs'] = [warp_image(still, matrix) for matrix in matrices]
        return results

    def path(self, rng: np.random.Generator, times: list[int]) -> list[Array]:
        """Return rotations (3, 3) from the still's to new coordinates, at `times` relative to the current frame."""
        limits = (self.max_turn, self.max_speed, self.max_speed / 4)
        turn, speed, acceleration = (np.deg2rad(rng.uniform(-limit, limit, 3)) for limit in limits)
        # A rotation vector: axis times angle.
        return [cv2.Rodrigues(turn + speed * t + acceleration * t * t / 2)[0] for t in times]


def intrinsics(size: Size, fov: float) -> Array:
    """Return a pinhole matrix with the principal point in the middle; `fov` is horizontal, in degrees."""
    height, width = size
    focal = width / 2 / np.tan(np.deg2rad(fov) / 2)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def depth_ratio(camera: Array, turn: Array, size: Size) -> Array:
    """Return new depth / old depth, (H, W), on the new grid: the ray (x, y, 1) had the depth (turn^T ray)_z before."""
    rows, columns = np.indices(size)
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(camera).T
    ratio: Array = 1 / (rays @ turn)[..., 2]
    return ratio.astype(np.float32)
