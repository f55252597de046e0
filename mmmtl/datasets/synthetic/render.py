"""The ray caster: one frame of a scene as an image with exact labels, depth and normals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry import PosedSolid
from .scene import CEILING, GROUND, SKY, WALL, Floats, Light, Scene, Shell, Texture
from .textures import noise_table, shade_pattern, value_noise

NO_SURFACE = -1
_WALLS = {'left': (0, -1), 'right': (0, 1), 'near': (2, -1), 'far': (2, 1)}


@dataclass(frozen=True)
class RenderedFrame:
    """One rendered frame; pixel (row i, column j) is the ray through the image point (x=j, y=i).

    image: (H, W, 3) uint8 BGR.
    semseg: (H, W) uint8, labels of `synthetic`.
    depth: (H, W) float32, metres along the optical axis, 0 = none (sky).
    normals: (H, W, 3) float32, unit vectors towards the camera, in its frame (x right, y down, z forward); zero = none
    (sky).
    owner: (H, W) int16, index of the visible solid in the scene; -1 for ground, ceiling, walls and sky.
    moving: (H, W) bool, whether the surface moves in the world.
    intrinsics: (3, 3) float64.
    pose: (4, 4) float64, camera to world (y down, the ground at y = 0), metres.
    """

    image: NDArray[np.uint8]
    semseg: NDArray[np.uint8]
    depth: Floats
    normals: Floats
    owner: NDArray[np.int16]
    moving: NDArray[np.bool_]
    intrinsics: NDArray[np.float64]
    pose: NDArray[np.float64]


@dataclass
class _Buffers:
    """The buffers of the passes, flat over the N = H W pixels; vectors in the world frame, component first."""

    rays: Floats
    depth: Floats
    owner: NDArray[np.int16]
    label: NDArray[np.uint8]
    normals: Floats
    color: Floats


def render(scene: Scene, t: int, height: int, width: int) -> RenderedFrame:
    """Ray-cast frame `t`, at least 0, of a scene from `make_scene` or made by hand.

    Height and width are in pixels; the focal length is `scene.focal * width`.
    """
    if height < 1 or width < 1:
        raise ValueError(f'cannot render a {height}x{width} image')
    if t < 0:
        raise ValueError(f'frame numbers start at 0, got {t}')
    pose = scene.camera.pose(t)
    rotation = pose[:3, :3].astype(np.float32)
    intrinsics, rays = camera_rays(height, width, scene.focal)
    count = height * width
    out = _Buffers(
        rays=rotation @ rays,
        depth=np.full(count, np.inf, np.float32),
        owner=np.full(count, NO_SURFACE, np.int16),
        label=np.full(count, SKY, np.uint8),
        normals=np.zeros((3, count), np.float32),
        color=np.zeros((3, count), np.float32),
    )
    posed = [PosedSolid(solid, t, pose[:3, 3]) for solid in scene.solids]
    _trace_solids(out, posed, pose, intrinsics, height, width)
    pixel = 1.0 / (scene.focal * width)
    table = noise_table(scene.seed)
    if scene.shell is not None:
        _draw_shell(out, scene.shell, posed, pose[:3, 3], pixel, table)
    for index, solid in enumerate(posed):
        where = np.flatnonzero(out.owner == index)
        if where.size:
            _draw_solid(out, where, solid, pixel, table)
    sky = np.flatnonzero(np.isinf(out.depth))
    _light(out, scene.light)
    _draw_sky(out, sky, scene.sky, table)
    out.depth[sky] = 0
    is_moving = np.array([solid.motion is not None for solid in scene.solids] + [False])
    return RenderedFrame(
        image=_expose(out.color, scene, t).reshape(height, width, 3),
        semseg=out.label.reshape(height, width),
        depth=out.depth.reshape(height, width),
        normals=np.ascontiguousarray((rotation.T @ out.normals).T).reshape(height, width, 3),
        owner=out.owner.reshape(height, width),
        moving=is_moving[out.owner].reshape(height, width),
        intrinsics=intrinsics,
        pose=pose,
    )


def camera_rays(height: int, width: int, focal: float) -> tuple[NDArray[np.float64], Floats]:
    """Return intrinsics (3, 3) and rays (3, H W) with z = 1, so that a ray's parameter is the depth."""
    f, cx, cy = focal * width, (width - 1) / 2, (height - 1) / 2
    x, y = np.meshgrid((np.arange(width) - cx) / f, (np.arange(height) - cy) / f)
    rays = np.stack([x.ravel(), y.ravel(), np.ones(x.size)]).astype(np.float32)
    return np.array([[f, 0, cx], [0, f, cy], [0, 0, 1]]), rays


def _trace_solids(
    out: _Buffers,
    posed: list[PosedSolid],
    pose: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    height: int,
    width: int,
) -> None:
    rays = out.rays.reshape(3, height, width)
    depth, owner = out.depth.reshape(height, width), out.owner.reshape(height, width)
    for index, solid in enumerate(posed):
        bounds = solid.screen_bounds(pose, intrinsics, height, width)
        if bounds is None:
            continue
        window = slice(bounds[0], bounds[1]), slice(bounds[2], bounds[3])
        hit = solid.intersect(*(component[window] for component in rays))
        nearer = hit < depth[window]
        depth[window][nearer] = hit[nearer]
        owner[window][nearer] = index


def _draw_solid(out: _Buffers, where: NDArray[np.intp], solid: PosedSolid, pixel: float, table: Floats) -> None:
    rays, depth = out.rays[:, where], out.depth[where]
    normals, u, v = solid.surface(rays[0], rays[1], rays[2], depth)
    out.normals[:, where] = normals
    out.label[where] = solid.solid.label
    out.color[:, where] = shade_pattern(solid.solid.texture, u, v, _footprint(rays, normals, depth, pixel), table)


def _draw_shell(
    out: _Buffers, shell: Shell, posed: list[PosedSolid], eye: NDArray[np.float64], pixel: float, table: Floats
) -> None:
    """Draw ground, ceiling and walls behind the solids; the rest is sky."""
    top = -np.inf if shell.ceiling_height is None else -shell.ceiling_height
    lo, hi = (shell.lo[0], top, shell.lo[1]), (shell.hi[0], 0.0, shell.hi[1])
    free = np.flatnonzero(out.owner == NO_SURFACE)
    rays = out.rays[:, free]
    # The camera is inside, so it sees the nearest of the three planes ahead.
    with np.errstate(divide='ignore'):
        exits = np.stack(
            [
                np.where(d >= 0, np.float32(h - e), np.float32(e - low)) / np.abs(d)
                for d, low, h, e in zip(rays, lo, hi, eye.tolist(), strict=True)
            ]
        )
    axis = exits.argmin(axis=0)
    ahead = np.take_along_axis(exits, axis[None], axis=0)[0]
    side = np.where(np.take_along_axis(rays, axis[None], axis=0)[0] >= 0, 1, -1)
    points = [np.float32(e) + ahead * d for e, d in zip(eye, rays, strict=True)]

    def draw(
        mask: NDArray[np.bool_], label: int, normal_axis: int, sign: int, texture: Texture, coordinates: tuple[int, int]
    ) -> NDArray[np.intp]:
        chosen = np.flatnonzero(mask)
        where = free[chosen]
        normals = np.zeros((3, chosen.size), np.float32)
        normals[normal_axis] = -sign
        depth = ahead[chosen]
        out.depth[where], out.label[where], out.normals[:, where] = depth, label, normals
        u, v = (points[k][chosen] for k in coordinates)
        footprint = _footprint(rays[:, chosen], normals, depth, pixel)
        out.color[:, where] = shade_pattern(texture, u, v, footprint, table)
        return chosen

    ground = draw((axis == 1) & (side > 0), GROUND, 1, 1, shell.ground, (0, 2))
    if ground.size:
        out.color[:, free[ground]] *= _contact_shadow(points[0][ground], points[2][ground], posed)
    if shell.ceiling is not None:
        draw((axis == 1) & (side < 0), CEILING, 1, -1, shell.ceiling, (0, 2))
    for facade in shell.facades:
        wall_axis, wall_side = _WALLS[facade.face]
        along = points[2 - wall_axis]
        mask = (axis == wall_axis) & (side == wall_side) & (points[1] >= -facade.height)
        mask &= (along >= facade.start) & (along < facade.stop)
        draw(mask, WALL, wall_axis, wall_side, facade.texture, (2 - wall_axis, 1))


def _contact_shadow(x: Floats, z: Floats, posed: list[PosedSolid]) -> Floats:
    """Return factors in [0.5, 1] that darken the ground under and around solids."""
    light = np.ones_like(x)
    for solid in posed:
        cx, cy, cz = solid.centre.tolist()
        reach = 1.25 * max(solid.solid.size[0], solid.solid.size[2])
        clearance = max(-cy - solid.solid.size[1], 0.0)
        distance = ((x - cx) ** 2 + (z - cz) ** 2) / reach**2
        light *= 1.0 - np.clip(1.25 - distance, 0.0, 0.5) / (1.0 + 2.0 * clearance)
    return light


def _footprint(rays: Floats, normals: Floats, depth: Floats, pixel: float) -> Floats:
    """Return the size of a pixel on the surface across the slant, metres; `pixel` is its angle in rad."""
    cosine: Floats = np.maximum(np.abs((rays * normals).sum(axis=0)), 0.08)
    return depth * pixel / cosine


def _light(out: _Buffers, light: Light) -> None:
    lambert = np.asarray(light.direction, np.float32) @ out.normals
    out.color *= light.ambient + light.sun * np.maximum(lambert, 0) + light.fill * np.maximum(-lambert, 0)
    if light.haze:
        clear = np.exp(-light.haze * out.depth)
        out.color *= clear
        out.color += np.asarray(light.haze_color, np.float32)[:, None] * (1 - clear)


def _draw_sky(out: _Buffers, where: NDArray[np.intp], sky: Texture, table: Floats) -> None:
    """Blend the sky's two colours by elevation and by clouds."""
    x, y, z = out.rays[:, where]
    up = np.maximum(-y / np.sqrt(x * x + y * y + z * z), 0.02)
    flat = 1.0 / np.sqrt(x * x + z * z)
    clouds = value_noise(4.0 * x * flat + sky.shift[0], 9.0 * up + sky.shift[1], table)
    first, second = np.asarray(sky.colors, np.float32)
    weight = np.clip(1.2 * up + 0.9 * clouds - 0.35, 0.0, 1.0)
    out.color[:, where] = first[:, None] + (second - first)[:, None] * weight


def _expose(color: Floats, scene: Scene, t: int) -> NDArray[np.uint8]:
    image = np.ascontiguousarray(color[::-1].T)
    image *= 255.0
    if scene.grain:
        noise = np.random.default_rng([scene.seed, 2, t]).standard_normal(image.shape, np.float32)
        image += scene.grain * noise
    return np.clip(image, 0, 255).astype(np.uint8)
