"""Analytic intersections of rays with solids, in float32; a ray's parameter is its depth along the optical axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .scene import Floats, Solid, Vector

Components = Sequence[Floats]
NEAR = 0.05


class PosedSolid:
    """A solid at one moment, seen from one camera; rays are moved to its own frame (centred, turned by its yaw)."""

    def __init__(self, solid: Solid, t: float, camera_centre: NDArray[np.float64]) -> None:
        self.solid = solid
        self.centre = solid.centre_at(t)
        yaw = solid.yaw_at(t)
        self.cos, self.sin = math.cos(yaw), math.sin(yaw)
        x, y, z = (camera_centre - self.centre).tolist()
        self.origin = (self.cos * x - self.sin * z, y, self.sin * x + self.cos * z)

    def screen_bounds(
        self, pose: NDArray[np.float64], intrinsics: NDArray[np.float64], height: int, width: int
    ) -> tuple[int, int, int, int] | None:
        """Return rows and columns (top, bottom, left, right; half open) that may see the solid; None if none can."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
        corners = signs * self.solid.size
        corners = self.centre + np.stack(self.to_world(*corners.T), axis=1)
        corners = (corners - pose[:3, 3]) @ pose[:3, :3]
        if (corners[:, 2] < NEAR).all():
            return None
        if (corners[:, 2] < NEAR).any():
            return 0, height, 0, width
        u = corners[:, 0] / corners[:, 2] * intrinsics[0, 0] + intrinsics[0, 2]
        v = corners[:, 1] / corners[:, 2] * intrinsics[1, 1] + intrinsics[1, 2]
        left, right = max(math.floor(u.min()), 0), min(math.ceil(u.max()) + 1, width)
        top, bottom = max(math.floor(v.min()), 0), min(math.ceil(v.max()) + 1, height)
        return (top, bottom, left, right) if left < right and top < bottom else None

    def to_local(self, x: Floats, y: Floats, z: Floats) -> Components:
        """Turn directions from the world's to the solid's frame, component by component."""
        return self.cos * x - self.sin * z, y, self.sin * x + self.cos * z

    def to_world(self, x: Floats, y: Floats, z: Floats) -> Components:
        """Turn directions from the solid's to the world's frame, component by component."""
        return self.cos * x + self.sin * z, y, self.cos * z - self.sin * x

    def intersect(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the depth of the first hit along rays in the world, any shape; inf for a miss."""
        local = self.to_local(x, y, z)
        return _INTERSECT[self.solid.shape](self.origin, local, self.solid.size)

    def surface(self, x: Floats, y: Floats, z: Floats, depth: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the surface where N rays hit the solid at `depth`.

        Returns:
            normals: (3, N) outward unit vectors in the world.
            u, v: (N,) surface coordinates, metres.
        """
        local = self.to_local(x, y, z)
        points = [o + depth * d for o, d in zip(self.origin, local, strict=True)]
        normal, u, v = _SURFACE[self.solid.shape](points, self.solid.size)
        return np.stack(self.to_world(*normal)), u, v


def _intersect_box(origin: Vector, direction: Components, size: Vector) -> Floats:
    near: Floats | float = -np.inf
    far: Floats | float = np.inf
    for o, d, half in zip(origin, direction, size, strict=True):
        inverse = 1.0 / np.where(np.abs(d) < 1e-9, np.float32(1e-9), d)
        middle, reach = -o * inverse, half * np.abs(inverse)
        near, far = np.maximum(near, middle - reach), np.minimum(far, middle + reach)
    return np.where((near <= far) & (near > NEAR), near, np.float32(np.inf))


def _intersect_sphere(origin: Vector, direction: Components, size: Vector) -> Floats:
    squared = sum(d * d for d in direction)
    closest = -sum(o * d for o, d in zip(origin, direction, strict=True)) / squared
    # Unlike b^2 - 4ac, the distance at the closest approach keeps float32 exact for far and small spheres.
    missed = sum((o + closest * d) ** 2 for o, d in zip(origin, direction, strict=True))
    inside = size[0] ** 2 - missed
    depth = closest - np.sqrt(np.maximum(inside, 0) / squared)
    return np.where((inside >= 0) & (depth > NEAR), depth, np.float32(np.inf))


def _intersect_cylinder(origin: Vector, direction: Components, size: Vector) -> Floats:
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    squared = np.maximum(dx * dx + dz * dz, np.float32(1e-12))
    closest = -(ox * dx + oz * dz) / squared
    inside = size[0] ** 2 - (ox + closest * dx) ** 2 - (oz + closest * dz) ** 2
    side = closest - np.sqrt(np.maximum(inside, 0) / squared)
    depth = np.where((inside >= 0) & (side > NEAR) & (np.abs(oy + side * dy) <= size[1]), side, np.float32(np.inf))
    if abs(oy) > size[1]:
        lid = (math.copysign(size[1], oy) - oy) / np.where(np.abs(dy) < 1e-9, np.float32(1e-9), dy)
        on_lid = (lid > NEAR) & ((ox + lid * dx) ** 2 + (oz + lid * dz) ** 2 <= size[0] ** 2)
        depth = np.where(on_lid, np.minimum(lid, depth), depth)
    return depth


def _surface_box(points: Components, size: Vector) -> tuple[Components, Floats, Floats]:
    x, y, z = points
    # The face that was hit is the nearest to the point.
    gap = np.stack([np.abs(np.abs(p) - half) for p, half in zip(points, size, strict=True)])
    axis = gap.argmin(axis=0)
    normal = [np.where(axis == k, np.sign(p), np.float32(0)) for k, p in enumerate(points)]
    return normal, np.where(axis == 0, z, x), np.where(axis == 1, z, y)


def _surface_sphere(points: Components, size: Vector) -> tuple[Components, Floats, Floats]:
    normal = [p * (1.0 / size[0]) for p in points]
    length = 1.0 / np.sqrt(sum(n * n for n in normal))
    normal = [n * length for n in normal]
    u = np.arctan2(normal[0], normal[2]) * size[0]
    return normal, u, np.arcsin(np.clip(normal[1], -1, 1)) * size[0]


def _surface_cylinder(points: Components, size: Vector) -> tuple[Components, Floats, Floats]:
    x, y, z = points
    radius = np.maximum(np.sqrt(x * x + z * z), np.float32(1e-6))
    lid = np.abs(np.abs(y) - size[1]) < np.abs(radius - size[0])
    zero = np.float32(0)
    normal = [np.where(lid, zero, x / radius), np.where(lid, np.sign(y), zero), np.where(lid, zero, z / radius)]
    return normal, np.where(lid, x, np.arctan2(x, z) * size[0]), np.where(lid, z, y)


_INTERSECT = {'box': _intersect_box, 'sphere': _intersect_sphere, 'cylinder': _intersect_cylinder}
_SURFACE = {'box': _surface_box, 'sphere': _surface_sphere, 'cylinder': _surface_cylinder}
