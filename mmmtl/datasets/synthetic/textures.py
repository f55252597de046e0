"""Procedural textures: a pattern's weight at surface coordinates, softened where a pixel spans too much of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .scene import Floats, Texture

TABLE_SIZE = 64
TWO_PI = 2.0 * np.pi


def noise_table(seed: int) -> Floats:
    """Return the lattice of a scene's value noise, (64 * 64,) float32 in [0, 1]."""
    return np.random.default_rng([seed, 1]).random(TABLE_SIZE * TABLE_SIZE, dtype=np.float32)


def value_noise(u: Floats, v: Floats, table: Floats) -> Floats:
    """Return smooth noise with features of about one unit, repeating every 64 units; (N,) float32 in [0, 1]."""
    fu, fv = np.floor(u), np.floor(v)
    iu, iv = fu.astype(np.int32), fv.astype(np.int32)
    au, av = u - fu, v - fv
    au *= au * (3 - 2 * au)
    av *= av * (3 - 2 * av)
    mask = TABLE_SIZE - 1
    row, below = (iv & mask) * TABLE_SIZE, ((iv + 1) & mask) * TABLE_SIZE
    column, right = iu & mask, (iu + 1) & mask
    upper, lower = table[row + column], table[below + column]
    upper += au * (table[row + right] - upper)
    lower += au * (table[below + right] - lower)
    noise: Floats = upper + av * (lower - upper)
    return noise


def shade_pattern(texture: Texture, u: Floats, v: Floats, footprint: Floats, table: Floats) -> Floats:
    """Return the colours of a texture at surface coordinates u and v, (3, N) float32 RGB, about [0, 1].

    The contrast fades between 4 and 2 pixels per period, so that far patterns turn grey instead of flickering.
    Coordinates and `footprint`, the size of a pixel on the surface, are (N,) in metres; `table` is from `noise_table`.
    """
    scale = 1.0 / texture.period
    c, s = float(np.cos(texture.angle)) * scale, float(np.sin(texture.angle)) * scale
    a = c * u + s * v + texture.shift[0]
    b = c * v - s * u + texture.shift[1]
    pattern, mean = PATTERNS[texture.pattern]
    weight = pattern(a, b, table) - mean
    weight *= np.clip(2.0 - (4.0 * scale) * footprint, 0.0, 1.0)
    weight += mean
    stain = 0.25 * value_noise(0.31 * a + 7.0, 0.31 * b + 3.0, table) + 0.875
    first, second = np.asarray(texture.colors, np.float32)
    colours: Floats = (first[:, None] + (second - first)[:, None] * weight) * stain
    return colours


def stripes(u: Floats, v: Floats, table: Floats) -> Floats:
    """Draw bands of equal width across u."""
    return _unit(0.5 + 3.0 * np.sin(TWO_PI * u))


def checker(u: Floats, v: Floats, table: Floats) -> Floats:
    """Draw a chess board with two squares per period."""
    return _unit(0.5 + 5.0 * np.sin(TWO_PI * u) * np.sin(TWO_PI * v))


def dots(u: Floats, v: Floats, table: Floats) -> Floats:
    """Draw one disc per period."""
    a, b = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
    return _unit(0.5 + 25.0 * (0.1 - a * a - b * b))


def bricks(u: Floats, v: Floats, table: Floats) -> Floats:
    """Draw rows of half a period in height, every other one shifted, with joints and uneven bricks."""
    row = np.floor(2.0 * v)
    a = u + 0.5 * (row - 2.0 * np.floor(0.5 * row))
    column = np.floor(a)
    index = (row.astype(np.int32) * 23 + column.astype(np.int32) * 7) & (table.size - 1)
    joint = np.minimum(_edge(a - column), 0.5 * _edge(2.0 * v - row))
    brightness: Floats = 0.55 + 0.45 * table[index]
    return _unit(18.0 * joint - 0.7) * brightness


def tiles(u: Floats, v: Floats, table: Floats) -> Floats:
    """Draw square tiles with joints."""
    joint = np.minimum(_edge(u - np.floor(u)), _edge(v - np.floor(v)))
    return _unit(18.0 * joint - 0.5)


def windows(u: Floats, v: Floats, table: Floats) -> Floats:
    """Draw one upright rectangle per period."""
    a, b = np.abs(u - np.floor(u) - 0.5), np.abs(v - np.floor(v) - 0.5)
    return _unit(20.0 * np.minimum(0.2 - a, 0.3 - b) + 0.5)


def crate(u: Floats, v: Floats, table: Floats) -> Floats:
    """Draw a border around one period (a whole face of a box) and a diagonal."""
    a, b = u - np.floor(u), v - np.floor(v)
    inside = np.minimum(np.minimum(_edge(a), _edge(b)) - 0.12, np.abs(a - b) - 0.08)
    return _unit(20.0 * inside + 0.5)


def blotches(u: Floats, v: Floats, table: Floats) -> Floats:
    """Draw soft irregular patches."""
    noise = 0.7 * value_noise(2.0 * u, 2.0 * v, table) + 0.3 * value_noise(4.3 * u, 4.3 * v, table)
    return _unit(4.0 * noise - 1.5)


def _edge(fraction: Floats) -> Floats:
    distance: Floats = np.abs(fraction - 0.5)
    return 0.5 - distance


def _unit(values: Floats) -> Floats:
    limited: Floats = np.clip(values, 0.0, 1.0)
    return limited


PATTERNS: dict[str, tuple[Callable[[Floats, Floats, Floats], Floats], float]] = {
    'stripes': (stripes, 0.5),
    'checker': (checker, 0.5),
    'dots': (dots, 0.31),
    'bricks': (bricks, 0.6),
    'tiles': (tiles, 0.85),
    'windows': (windows, 0.24),
    'crate': (crate, 0.5),
    'blotches': (blotches, 0.5),
}
