"""Random scenes: a room or a street with boxes, balls and pillars around the camera's path."""

from __future__ import annotations

import colorsys
import math

import numpy as np

from mmmtl.structures import Array

from .scene import (
    BALL,
    BOX,
    PILLAR,
    CameraPath,
    Facade,
    Face,
    Light,
    Motion,
    Pattern,
    Scene,
    Shell,
    Solid,
    Texture,
    Vector,
)

# Patterns depend on the class, colours do not: the colour of a single pixel tells almost nothing.
GROUND_PATTERNS: tuple[Pattern, ...] = ('tiles', 'checker')
WALL_PATTERNS: tuple[Pattern, ...] = ('bricks', 'windows')
CEILING_PATTERNS: tuple[Pattern, ...] = ('blotches', 'tiles')
BOX_PATTERNS: tuple[Pattern, ...] = ('crate', 'stripes')
BALL_PATTERNS: tuple[Pattern, ...] = ('dots', 'checker')
PILLAR_PATTERNS: tuple[Pattern, ...] = ('stripes',)
ANY_PATTERN: tuple[Pattern, ...] = ('stripes', 'checker', 'dots', 'tiles', 'bricks', 'blotches')

FACES: tuple[Face, ...] = ('left', 'right', 'near', 'far')
CLEARANCE = 0.8
MARGIN = 0.15


def make_scene(seed: int) -> Scene:
    """Make a room (even seeds) or a street (odd seeds), whose camera path never meets a wall or a solid.

    Args:
        seed: any integer >= 0; the same seed gives the same scene in every process.
    """
    if seed < 0:
        raise ValueError(f'seed must be at least 0, got {seed}')
    rng = np.random.default_rng([seed, 0])
    street = seed % 2 == 1
    shell = _street(rng) if street else _room(rng)
    camera = _camera_path(rng, shell, street)
    return Scene(
        seed=seed,
        camera=camera,
        solids=_solids(rng, shell, camera, street),
        sky=_texture(rng, ('blotches',)),
        shell=shell,
        light=_light(rng),
        focal=float(rng.uniform(0.46, 0.56)),
        grain=float(rng.uniform(1, 4)),
    )


def _room(rng: np.random.Generator) -> Shell:
    x, z, height = rng.uniform(3.4, 5.0), rng.uniform(4.2, 6.2), rng.uniform(2.3, 2.9)
    facades = tuple(Facade(face, -10.0, 10.0, height + 1, _texture(rng, WALL_PATTERNS, (0.8, 1.4))) for face in FACES)
    return Shell(
        (-x, -z),
        (x, z),
        _texture(rng, GROUND_PATTERNS, (0.7, 1.4)),
        facades,
        _texture(rng, CEILING_PATTERNS, (0.8, 1.5)),
        height,
    )


def _street(rng: np.random.Generator) -> Shell:
    x, z = rng.uniform(3.5, 6.0), rng.uniform(7.0, 9.5)
    facades = []
    for face in FACES:
        reach = z if face in ('left', 'right') else x
        start = -reach
        while start < reach:
            stop = start + rng.uniform(3.0, 6.0)
            stop = math.inf if stop > reach - 1.5 else stop
            facades.append(
                Facade(
                    face,
                    -math.inf if start == -reach else start,
                    stop,
                    rng.uniform(2.0, 4.2),
                    _texture(rng, WALL_PATTERNS, (0.9, 1.6)),
                )
            )
            start = stop
    return Shell((-x, -z), (x, z), _texture(rng, GROUND_PATTERNS, (0.9, 1.8)), tuple(facades))


def _camera_path(rng: np.random.Generator, shell: Shell, street: bool) -> CameraPath:
    x, z = shell.hi
    widest, longest = (0.4, 0.45) if street else (0.8, 0.4)
    reach = rng.uniform(0.2, widest), rng.uniform(0.2, longest) * z
    yaw = rng.choice([0.0, math.pi]) + rng.uniform(-0.4, 0.4) if street else rng.uniform(-math.pi, math.pi)
    pitch = rng.uniform(0.0, 0.1) if street else rng.uniform(-0.06, 0.06)
    return CameraPath(
        centre=(rng.uniform(-0.2, 0.2) * x, rng.uniform(-0.2, 0.2) * z),
        height=rng.uniform(1.2, 1.6),
        reach=reach,
        gaze=(yaw, pitch, 0.0),
        sway=(rng.uniform(0.3, 0.8), rng.uniform(0.02, 0.06), rng.uniform(0.0, 0.03)),
        phases=tuple(rng.uniform(0, 2 * math.pi, 6).tolist()),
        rate=float(np.exp(rng.uniform(*np.log([0.012, 0.045])))),
    )


def _solids(rng: np.random.Generator, shell: Shell, camera: CameraPath, street: bool) -> tuple[Solid, ...]:
    """Place solids clear of each other, of the walls and of the camera, wherever they move."""
    placed: list[tuple[Array, float]] = []
    solids: list[Solid] = []
    counts = {BOX: 6, BALL: 8, PILLAR: 7} if street else {BOX: 6, BALL: 7, PILLAR: 5}
    for label in [label for label, count in counts.items() for _ in range(count)]:
        size = _size(rng, label, shell, street)
        radius = math.hypot(size[0], size[2]) if label == BOX else size[0]
        motion = _motion(rng, label) if rng.random() < 0.4 else None
        for _ in range(60):
            spot = rng.uniform(np.add(shell.lo, radius + MARGIN), np.subtract(shell.hi, radius + MARGIN))
            track = _track(spot, motion)
            if _is_free(track, radius, shell, camera, placed):
                placed.append((track, radius))
                solids.append(_solid(rng, label, spot, size, motion, shell, street))
                break
    return tuple(solids)


def _size(rng: np.random.Generator, label: int, shell: Shell, street: bool) -> Vector:
    if label == BOX:
        return tuple(rng.uniform((0.4, 0.35, 0.4), (0.8, 0.9, 0.8)).tolist())
    if label == BALL:
        radius = float(rng.uniform(0.4, 0.75))
        return radius, radius, radius
    radius = float(rng.uniform(0.22, 0.4))
    height = float(rng.uniform(2.0, 3.5)) if street else float(shell.ceiling_height or 3.0)
    return radius, height / 2, radius


def _motion(rng: np.random.Generator, label: int) -> Motion | None:
    if label == PILLAR:
        return None
    angle, amplitude = rng.uniform(0, 2 * math.pi), rng.uniform(0.4, 1.2)
    return Motion(
        (math.cos(angle), math.sin(angle)),
        amplitude,
        float(rng.uniform(0.03, 0.12)) / amplitude,
        float(rng.uniform(0, 2 * math.pi)),
        bounce=float(rng.uniform(0.2, 0.8)) if label == BALL else 0.0,
        turn=float(rng.uniform(-0.04, 0.04)),
    )


def _solid(
    rng: np.random.Generator, label: int, spot: Array, size: Vector, motion: Motion | None, shell: Shell, street: bool
) -> Solid:
    x, z = spot.tolist()
    if label == BALL:
        # Half of the balls float like balloons, so that height in the image does not give the class away.
        room_above = (3.2 if street else (shell.ceiling_height or 3.0)) - 2 * size[0] - (motion.bounce if motion else 0)
        lift = max(float(rng.uniform(0, room_above)), 0.0) if room_above > 0 and rng.random() < 0.5 else 0.0
        return Solid(
            'sphere', label, (x, -size[0] - lift, z), size, _texture(rng, BALL_PATTERNS, (0.4, 0.7)), motion=motion
        )
    if label == PILLAR:
        return Solid('cylinder', label, (x, -size[1], z), size, _texture(rng, PILLAR_PATTERNS, (0.5, 0.9), math.pi / 2))
    return Solid(
        'box',
        label,
        (x, -size[1], z),
        size,
        _texture(rng, BOX_PATTERNS, (0.4, 0.7)),
        yaw=float(rng.uniform(0, math.pi)),
        motion=motion,
    )


def _track(spot: Array, motion: Motion | None) -> Array:
    """Return points (K, 2) along the ground that a solid passes."""
    if motion is None:
        return spot[None]
    track: Array = spot + np.linspace(-motion.amplitude, motion.amplitude, 9)[:, None] * np.asarray(motion.direction)
    return track


def _is_free(track: Array, radius: float, shell: Shell, camera: CameraPath, placed: list[tuple[Array, float]]) -> bool:
    if (track < np.add(shell.lo, radius + MARGIN)).any() or (track > np.subtract(shell.hi, radius + MARGIN)).any():
        return False
    outside = np.maximum(np.abs(track - camera.centre) - camera.reach, 0)
    if (np.hypot(*outside.T) < radius + CLEARANCE).any():
        return False
    return all(
        np.hypot(*(track[:, None] - other).transpose(2, 0, 1)).min() > radius + other_radius + MARGIN
        for other, other_radius in placed
    )


def _light(rng: np.random.Generator) -> Light:
    azimuth, height = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.9)
    flat = math.sqrt(1 - height**2)
    ambient = rng.uniform(0.45, 0.65)
    return Light(
        (flat * math.cos(azimuth), -height, flat * math.sin(azimuth)),
        ambient,
        1.3 - ambient,
        0.25,
        haze=float(rng.uniform(0, 0.03)),
        haze_color=_color(rng),
    )


def _color(rng: np.random.Generator) -> Vector:
    """Draw a colour, from one distribution for every surface."""
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.1, 0.65), rng.uniform(0.35, 0.95))


def _texture(
    rng: np.random.Generator,
    patterns: tuple[Pattern, ...],
    period: tuple[float, float] = (1.0, 1.0),
    angle: float = 0.0,
) -> Texture:
    first = colorsys.rgb_to_hsv(*_color(rng))
    value = first[2] + rng.uniform(0.2, 0.4) * (1 if first[2] < 0.6 else -1)
    second = colorsys.hsv_to_rgb((first[0] + rng.normal(0, 0.12)) % 1, rng.uniform(0.1, 0.65), value)
    choices = patterns if rng.random() < 0.75 else ANY_PATTERN
    pattern = choices[rng.integers(len(choices))]
    colors = colorsys.hsv_to_rgb(*first), second
    return Texture(
        pattern,
        colors if rng.random() < 0.5 else colors[::-1],
        float(rng.uniform(*period)),
        angle,
        tuple(rng.uniform(0, 64, 2).tolist()),
    )
