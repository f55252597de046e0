"""Synthetic scenes as plain data, with positions as functions of the frame number.

World frame: x right, y down, z forward, metres; the ground is the plane y = 0, so everything above it has y < 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmmtl.tasks.classes import CLASSES

GROUND, WALL, CEILING, SKY, BOX, BALL, PILLAR = range(len(CLASSES['synthetic']))

Pattern = Literal['stripes', 'checker', 'dots', 'bricks', 'tiles', 'windows', 'crate', 'blotches']
Shape = Literal['box', 'sphere', 'cylinder']
Face = Literal['left', 'right', 'near', 'far']
Vector = tuple[float, float, float]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Texture:
    """A pattern that blends two RGB colours in [0, 1].

    `period` is the pattern's size in metres, `angle` turns it (rad), `shift` moves it (periods).
    """

    pattern: Pattern
    colors: tuple[Vector, Vector]
    period: float = 1.0
    angle: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Motion:
    """A swing back and forth along a horizontal direction, with a bounce and a turn.

    `direction` (x, z) is a unit vector, `amplitude` and `bounce` are in metres, `rate` in rad per frame, `phase` in
    rad, `turn` about the vertical in rad per frame.
    """

    direction: tuple[float, float] = (1.0, 0.0)
    amplitude: float = 0.0
    rate: float = 0.0
    phase: float = 0.0
    bounce: float = 0.0
    turn: float = 0.0

    def travel(self, t: float) -> float:
        """Return the signed distance along `direction` from the position of rest, metres."""
        return self.amplitude * math.sin(self.rate * t + self.phase)

    def lift(self, t: float) -> float:
        """Return the height above the position of rest, metres, never negative."""
        return self.bounce * abs(math.sin(1.7 * self.rate * t + self.phase))


@dataclass(frozen=True)
class Solid:
    """A box, sphere or upright cylinder.

    `size` holds half the extents (x, y, z) of the bounding box before the turn by `yaw` (rad, about the vertical):
    a sphere's radius is `size[0]`, a cylinder's radius is `size[0]` and half its height `size[1]`.
    """

    shape: Shape
    label: int
    centre: Vector
    size: Vector
    texture: Texture
    yaw: float = 0.0
    motion: Motion | None = None

    def centre_at(self, t: float) -> NDArray[np.float64]:
        """Return the centre in the world at frame t, (3,) metres."""
        centre = np.asarray(self.centre, np.float64)
        if self.motion is None:
            return centre
        travel = self.motion.travel(t)
        step = (self.motion.direction[0] * travel, -self.motion.lift(t), self.motion.direction[1] * travel)
        return centre + np.asarray(step, np.float64)

    def yaw_at(self, t: float) -> float:
        """Return the turn about the vertical at frame t, rad."""
        return self.yaw + (self.motion.turn * t if self.motion else 0.0)


@dataclass(frozen=True)
class Facade:
    """A part of one outer wall: from `start` to `stop` along the wall (x or z) and up to `height`, metres."""

    face: Face
    start: float
    stop: float
    height: float
    texture: Texture


@dataclass(frozen=True)
class Shell:
    """The rectangle of ground that the camera stays in, with its outer walls and its ceiling.

    `lo` and `hi` are (x, z) corners. Without a ceiling (`ceiling_height=None`) the sky is above the walls.
    """

    lo: tuple[float, float]
    hi: tuple[float, float]
    ground: Texture
    facades: tuple[Facade, ...] = ()
    ceiling: Texture | None = None
    ceiling_height: float | None = None


@dataclass(frozen=True)
class CameraPath:
    """A smooth path inside the rectangle `centre` (x, z) +- `reach`, with an uneven speed.

    The path's phase grows by `rate` rad per frame on average and by 0.3 to 1.7 times that at any moment. `gaze` and
    `sway` are the mean and the amplitude of (yaw, pitch, roll) in rad; yaw turns right, pitch looks up.
    """

    centre: tuple[float, float]
    height: float
    reach: tuple[float, float] = (0.0, 0.0)
    gaze: Vector = (0.0, 0.0, 0.0)
    sway: Vector = (0.0, 0.0, 0.0)
    phases: tuple[float, ...] = (0.0,) * 6
    rate: float = 0.03

    def pose(self, t: float) -> NDArray[np.float64]:
        """Return the camera-to-world transform at frame t, (4, 4) float64, translation in metres."""
        warp = 0.6 * self.rate
        phase = self.rate * t + 0.7 / 0.6 * math.sin(warp * t + self.phases[5])
        wave = [math.sin(speed * phase + p) for speed, p in zip((1.0, 0.77, 0.83, 1.3, 1.1), self.phases, strict=False)]
        yaw, pitch, roll = (m + a * w for m, a, w in zip(self.gaze, self.sway, wave[2:], strict=True))
        pose = np.eye(4)
        pose[:3, :3] = _about_y(yaw) @ _about_x(pitch) @ _about_z(roll)
        pose[:3, 3] = (
            self.centre[0] + self.reach[0] * wave[0],
            -self.height - 0.04 * wave[3] * any(self.reach),
            self.centre[1] + self.reach[1] * wave[1],
        )
        return pose


@dataclass(frozen=True)
class Light:
    """A sun, a weaker fill light opposite, ambient light and a haze.

    `direction` is the unit vector towards the sun, `haze` a density per metre.
    """

    direction: Vector = (0.0, -1.0, 0.0)
    ambient: float = 0.4
    sun: float = 0.6
    fill: float = 0.15
    haze: float = 0.0
    haze_color: Vector = (0.7, 0.7, 0.7)


@dataclass(frozen=True)
class Scene:
    """Everything that `render` needs; `focal` is in image widths, `grain` is the noise in grey levels."""

    seed: int
    camera: CameraPath
    solids: tuple[Solid, ...]
    sky: Texture
    shell: Shell | None = None
    light: Light = Light()
    focal: float = 0.6
    grain: float = 0.0


def _about_x(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _about_y(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _about_z(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
