"""Colours of maps: a scale for numbers, hatching where there is no label, and distinct colours for classes."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from mmmtl.structures import Array

from .legend import Colour, Legend, Scale, Span

NO_LABEL = 'no label'
NONE = 'no measurement'
OUTSIDE = 'out of range'
NONE_COLOUR: Colour = (128, 128, 128)
OUTSIDE_COLOUR: Colour = (86, 180, 233)
"""Colours that `MAGMA` lacks."""

MAGMA: Array = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_MAGMA)[:, 0, ::-1]
"""(256, 3) uint8 RGB from dark to bright; its brightness increases evenly, so it needs no colour vision."""

OPACITY = 0.7

OKABE_ITO: tuple[Colour, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
"""Colours that people with any colour vision tell apart (Okabe and Ito, Color Universal Design, 2008)."""

# How protanopes and deuteranopes see linear RGB (Machado et al., TVCG 15(6), 2009, severity 1).
VISIONS = (
    np.eye(3),
    np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
)


def magma_scale(span: Span, unit: str, *, near_is_high: bool) -> Scale:
    """Return a scale on which near is bright and steps are finest nearby: the root of the value counts.

    Args:
        span: values at the ends, at least 0.
        unit: unit of the values.
        near_is_high: whether large values are near.
    """
    # In the precision of maps: the root of an end is then exactly at that end, also on a scale without a length.
    low, high = np.sqrt(np.array(span, np.float32))

    def position(values: Array) -> Array:
        place: Array = (np.sqrt(np.maximum(values, 0)) - low) / ((high - low) or 1)
        return place

    return Scale(span, unit, MAGMA if near_is_high else MAGMA[::-1], position)


def colourize(values: Array, scale: Scale) -> Array:
    """Draw values (H, W) in the colours of a scale, (H, W, 3) uint8 RGB; those beyond its ends get the last colour."""
    last = len(scale.colours) - 1
    drawing: Array = np.take(scale.colours, (last * scale.position(values).clip(0, 1)).astype(np.intp), axis=0)
    return drawing


def draw_numbers(values: Array, scale: Scale, none: Array, outside: Array) -> Array:
    """Draw values (H, W) on a scale, with those that were not measured, and those that are not on it, told apart."""
    drawing = colourize(values, scale)
    drawing[none] = NONE_COLOUR
    drawing[outside] = OUTSIDE_COLOUR
    return drawing


def legend_of_numbers(scale: Scale, none: Array, outside: Array) -> Legend:
    """Return the legend of what `draw_numbers` draws."""
    special = {NONE: (none, NONE_COLOUR), OUTSIDE: (outside, OUTSIDE_COLOUR)}
    swatches = {name: colour for name, (mask, colour) in special.items() if mask.any()}
    return Legend(swatches, possible=tuple(special), scale=scale)


def over_grey(labels: Array, colours: Array, grey: Array) -> Array:
    """Lay the colours (N, 3) of labels (H, W) over levels of grey (H, W): the hue is that of the colour.

    The brightness of the image shows through, but its colours do not mix with those of the labels.
    """
    tints = (OPACITY * colours).round().astype(np.uint8)
    shades: Array = ((1 - OPACITY) * np.arange(256)).round().astype(np.uint8)
    laid: Array = np.take(tints, labels, axis=0) + shades[grey][..., None]
    return laid


def hatch(image: Array) -> Array:
    """Return an image (H, W, 3) under diagonal stripes, the sign of pixels without a label."""
    height, width = image.shape[:2]
    light = (np.arange(height)[:, None] + np.arange(width)) // max(4, height // 64) % 2 == 0
    striped: Array = (image >> 1) + (120 * light.astype(np.uint8))[..., None]
    return striped


def hatch_where(drawing: Array, image: Array, unlabelled: Array) -> Array:
    """Return a drawing with the hatched image in its place where there is no label (H, W)."""
    if unlabelled.any():
        drawing[unlabelled] = hatch(image)[unlabelled]
    return drawing


@cache
def distinct_colours(count: int) -> tuple[Colour, ...]:
    """Return colours that differ as much as possible for full and for dichromatic colour vision.

    The first are those of Okabe and Ito. Each further one is that of a grid of colours that is farthest from all before
    it, in CIELAB, for the vision to which it is nearest.
    """
    levels = range(0, 256, 42)
    grid = [*OKABE_ITO, *((r, g, b) for r in levels for g in levels for b in levels if 60 < r + g + b < 705)]
    seen = np.stack([_lab(np.array(grid) / 255, vision) for vision in VISIONS])
    distance = np.full(len(grid), np.inf)
    chosen: list[int] = []
    while len(chosen) < count:
        chosen.append(len(chosen) if len(chosen) < len(OKABE_ITO) else int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(seen - seen[:, chosen[-1:]], axis=-1).min(axis=0))
    return tuple(grid[i] for i in chosen)


def _lab(colours: Array, vision: Array) -> Array:
    """Return sRGB colours (N, 3) of 0 to 1, as a kind of colour vision sees them, in CIELAB."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = (linear @ vision.T).clip(0, 1)
    stored = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab: Array = cv2.cvtColor(stored.astype(np.float32)[None], cv2.COLOR_RGB2LAB)[0]
    return lab
