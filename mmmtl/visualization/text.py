"""Text in pictures, at a size that fits the picture."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache, lru_cache
from pathlib import Path

import matplotlib as mpl
from PIL import ImageDraw, ImageFont

SMALLEST = 13
"""Height of the smallest text that is easy to read, in pixels."""
INK, PAPER = (30, 30, 30), (255, 255, 255)
RED, BLUE, PALE = (190, 30, 30), (0, 70, 130), (228, 232, 236)


def font_size(height: int) -> int:
    """Return the size of the text in a tile of a height, in pixels; it grows with tiles that are shown scaled down.

    Examples:
        >>> font_size(256), font_size(1080)
        (13, 32)
    """
    return max(SMALLEST, round(height * 0.03))


@cache
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which matplotlib brings along and which has the letters of most languages of Europe."""
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / 'fonts' / 'ttf' / 'DejaVuSans.ttf'), size)


@lru_cache(4096)
def text_width(text: str, size: int) -> int:
    """Return the width of a line of text, in pixels."""
    return -int(-load_font(size).getlength(text) // 1)


def fit_text(text: str, width: int, size: int) -> str:
    """Return a text, shortened at its end to fit a width.

    Examples:
        >>> fit_text('traveling case', 1000, 13), fit_text('traveling case', 60, 13)
        ('traveling case', 'traveli…')
    """
    if text_width(text, size) <= width:
        return text
    kept = bisect_right(range(len(text)), width, key=lambda length: text_width(text[:length] + '…', size)) - 1
    return text[:kept].rstrip() + '…' if kept > 0 else ''


def write(
    canvas: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, colour: tuple[int, int, int] = INK
) -> None:
    """Write a line of text; `place` is (x, y) of its left end and its middle."""
    canvas.text(place, text, fill=colour, font=load_font(size), anchor='lm')
