"""Panels: tiles with captions and legends, in rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw

from mmmtl.io import resize_image
from mmmtl.structures import Array
from mmmtl.tasks.legend import Legend

from .legends import draw_legend, legend_height, line_height
from .text import BLUE, INK, PALE, PAPER, RED, fit_text, font_size, write

NARROWEST = 240
"""Width of the narrowest tile, in pixels: a caption needs it."""
ASPECT = 16 / 9
"""Rows wrap so that the panel comes near to this shape."""
WIDEST = 3840
"""The pictures of a row shrink until together they are at most this wide; none is enlarged beyond this height."""
SHOWN_WIDTH = 150
"""A panel is at most this many times as wide as its text is high, for it may be scaled down to a screen."""
GAP = 2
"""White pixels between neighbouring tiles."""


class Tile(NamedTuple):
    """A picture with its caption and legend.

    Args:
        caption: one line.
        drawing: (H, W, 3) uint8 RGB.
        legend: what explains the colours.
        steady: keep room for every name that the legend may have, as the frames of a video need it.
    """

    caption: str
    drawing: Array
    legend: Legend = Legend()
    steady: bool = False


def grid(rows: Sequence[Sequence[Tile]], *, title: str = '', mark: bool = False, warning: str = '') -> Array:
    """Join rows of tiles into one panel (H, W, 3) uint8 RGB; shorter rows end in white.

    All pictures get one height and keep their aspect. It is the height of the first, multiplied by an integer if
    captions need more width and `WIDEST` allows it, or reduced to keep the panel within it. Wide rows wrap; the parts
    of rows that belong together, such as labels and predictions, stay below each other. The size depends on the sizes
    of the tiles and on what their legends need, but not on captions and title.

    Args:
        rows: rows of tiles.
        title: a line above.
        mark: give the title a dark ground, the sign of a key frame.
        warning: a line above in red.
    """
    first = rows[0][0].drawing
    enlarged = max(1, min(-(-NARROWEST // first.shape[1]), WIDEST // first.shape[0]))
    height = first.shape[0] * enlarged
    size = font_size(height)
    lines = _wrap([[_Sized(tile, height, size) for tile in row] for row in rows])
    widest = max(sum(tile.width for tile in line) for line in lines)
    if widest > WIDEST:
        height, widest = height * WIDEST // widest, WIDEST
    size = max(font_size(height), widest // SHOWN_WIDTH)
    lines = [[_Sized(tile.tile, height, size) for tile in line] for line in lines]
    strips = [_strip(line) for line in lines]
    width = max(strip.shape[1] for strip in strips)
    bars = [(warning, RED, PAPER)] if warning else []
    bars += [(title, BLUE, PAPER) if mark else (title, PALE, INK)] if title else []
    heads = [_bar(text, width, size, ground, ink) for text, ground, ink in bars]
    return np.concatenate([*heads, *(_pad(strip, width) for strip in strips)])


class _Sized:
    """A tile at the height of its panel."""

    def __init__(self, tile: Tile, height: int, text: int) -> None:
        self.tile = tile
        self.height = height
        self.width = max(1, round(tile.drawing.shape[1] * height / tile.drawing.shape[0]))
        self.text = text
        most = max(height // 2, 6 * line_height(self.text))
        self.legend_height = legend_height(tile.legend, self.width, self.text, most=most, steady=tile.steady)

    def draw(self, below: int) -> Array:
        """Draw caption, picture and, in a height `below` it, the legend."""
        head = _bar(self.tile.caption, self.width, self.text, PAPER, INK)
        drawing, size = self.tile.drawing, (self.height, self.width)
        if self.height < drawing.shape[0]:
            drawing = resize_image(drawing, size)
        elif size != drawing.shape[:2]:
            drawing = cv2.resize(drawing, size[::-1], interpolation=cv2.INTER_NEAREST)
        return np.concatenate([head, drawing, draw_legend(self.tile.legend, self.width, below, self.text)])


Line = Sequence[_Sized]


def _wrap(rows: Sequence[Line]) -> list[Line]:
    """Return the rows, or equal parts of them, that bring the panel nearest to `ASPECT`."""
    longest = max(map(len, rows))

    def split(columns: int) -> list[Line]:
        starts = range(0, longest, columns)
        return [part for start in starts for row in rows if (part := row[start : start + columns])]

    def distance(lines: Sequence[Line]) -> float:
        width = max(sum(tile.width for tile in line) for line in lines)
        height = sum(
            line[0].height + line_height(line[0].text) + max(tile.legend_height for tile in line) for line in lines
        )
        return abs(math.log(width / height / ASPECT))

    return min((split(-(-longest // parts)) for parts in range(1, longest + 1)), key=distance)


def _strip(line: Line) -> Array:
    below = max(tile.legend_height for tile in line)
    drawn = [tile.draw(below) for tile in line]
    gap = np.full((len(drawn[0]), GAP, 3), PAPER, np.uint8)
    return np.concatenate([part for tile in drawn for part in (tile, gap)][:-1], axis=1)


def _bar(text: str, width: int, size: int, ground: tuple[int, int, int], ink: tuple[int, int, int]) -> Array:
    image = Image.new('RGB', (width, line_height(size)), ground)
    margin = size // 3
    write(ImageDraw.Draw(image), (margin, image.height // 2), fit_text(text, width - 2 * margin, size), size, ink)
    return np.asarray(image)


def _pad(strip: Array, width: int) -> Array:
    return np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=255)
