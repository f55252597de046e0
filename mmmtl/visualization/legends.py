"""Legends below pictures: colour bars, named colours, balls of normals."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from mmmtl.structures import Array
from mmmtl.tasks.legend import Colour, Legend, Scale

from .text import INK, PAPER, fit_text, text_width, write

Place = tuple[int, int]
"""Left edge in pixels, and number of the line."""


def line_height(size: int) -> int:
    """Return the height of a line with text of a size, in pixels."""
    return round(1.4 * size)


def legend_height(legend: Legend, width: int, size: int, *, most: int, steady: bool = False) -> int:
    """Return the height that a legend needs below a picture, in pixels.

    Args:
        legend: may be empty.
        width: width of the picture.
        size: size of the text.
        most: the named colours get no more than this; what does not fit is counted.
        steady: keep room for every name that may occur, in any order.
    """
    if steady:
        lines = most_lines({*legend.swatches, *legend.possible}, width, size)
    else:
        lines = 1 + max((line for _, line in place_swatches(list(legend.swatches), width, size)), default=-1)
    height = min(lines, max(1, most // line_height(size))) * line_height(size)
    height += 2 * line_height(size) if legend.scale else 0
    height += 3 * line_height(size) if legend.ball is not None else 0
    return height + size // 2 if height else 0


def draw_legend(legend: Legend, width: int, height: int, size: int) -> Array:
    """Draw a legend in (height, width, 3) uint8 RGB."""
    image = Image.new('RGB', (width, height), PAPER)
    canvas = ImageDraw.Draw(image)
    top = size // 4
    if legend.scale is not None:
        _draw_scale(image, canvas, legend.scale, top, size)
        top += 2 * line_height(size)
    if legend.ball is not None:
        side = 3 * line_height(size) - size // 2
        ball = cv2.resize(legend.ball, (side, side), interpolation=cv2.INTER_AREA)
        image.paste(Image.fromarray(ball), (size // 3, top))
        for line, note in enumerate(legend.notes):
            middle = top + side * (2 * line + 1) // (2 * len(legend.notes))
            left = size + side
            write(canvas, (left, middle), fit_text(note, width - left, size), size)
        top += 3 * line_height(size)
    lines = (height - top) // line_height(size)
    if legend.swatches and lines > 0:
        _draw_swatches(canvas, legend, (top, lines), width, size)
    return np.asarray(image)


def place_swatches(names: Sequence[str], width: int, size: int) -> list[Place]:
    """Return where named colours stand, from left to right and line by line; those before do not move later ones."""
    places = []
    left, line = 0, 0
    for name in names:
        needed = min(_swatch_width(name, size), width)
        if left and left + needed > width:
            left, line = 0, line + 1
        places.append((left, line))
        left += needed
    return places


def most_lines(names: Collection[str], width: int, size: int) -> int:
    """Return a number of lines that suffices for named colours in any order."""
    if not names:
        return 0
    widths = [min(_swatch_width(name, size), width) for name in names]
    by_number = -(-len(widths) // (width // max(widths)))
    # The first name of a line did not fit into the line before, which is therefore filled up to the widest name.
    by_length = 1 + (sum(widths) - min(widths)) // (width - max(widths) + 1)
    return min(by_number, by_length)


def choose_swatches(names: Sequence[str], width: int, lines: int, size: int) -> tuple[list[str], list[Place]]:
    """Return the first names that fit into some lines, with 'and <n> more' if there are others, and their places."""
    for number in range(len(names), -1, -1):
        more = [] if number == len(names) else [f'and {len(names) - number} more']
        shown = [*names[:number], *more]
        places = place_swatches(shown, width, size)
        if not places or places[-1][1] < lines:
            return shown, places
    return [], []


def ticks_of(scale: Scale, width: int, size: int) -> list[tuple[float, str]]:
    """Return (position, text) of the ticks of a scale: its ends, and round numbers between them that have room."""
    low, high = scale.span
    unit = f' {scale.unit}' if scale.unit else ''
    if not high > low:
        return [(0.0, f'{low:.3g}{unit}')]
    digits = max(0, math.ceil(2 - math.log10(high - low)))

    def text_of(number: float) -> str:
        text = f'{number:.{digits}f}'
        return text.rstrip('0').rstrip('.') if '.' in text else text

    found = [(0.0, text_of(low)), (1.0, f'{text_of(high)}{unit}')]
    edges = [text_width(found[0][1], size) + size, width - text_width(found[1][1], size) - size]
    for number in _round_numbers(low, high):
        position = float(scale.position(np.array(number)))
        half = text_width(text_of(number), size) / 2
        if edges[0] <= position * width - half and position * width + half <= edges[1]:
            found.insert(-1, (position, text_of(number)))
            edges[0] = round(position * width + half + size)
    return found


def _round_numbers(low: float, high: float) -> list[float]:
    """Return about four to eight multiples of 1, 2 or 5 times a power of ten between two numbers."""
    step = 10.0 ** math.floor(math.log10((high - low) / 3))
    step *= max(factor for factor in (1, 2, 5) if factor * step <= (high - low) / 3)
    first, last = math.floor(low / step) + 1, math.ceil(high / step)
    return [float(f'{number * step:.12g}') for number in range(first, last)]


def _draw_scale(image: Image.Image, canvas: ImageDraw.ImageDraw, scale: Scale, top: int, size: int) -> None:
    margin = size // 3
    width = max(1, image.width - 2 * margin)
    bar = line_height(size) - size // 3
    columns = np.linspace(0, len(scale.colours) - 1, width).round().astype(np.intp)
    image.paste(Image.fromarray(np.repeat(scale.colours[columns][None], bar, axis=0)), (margin, top))
    canvas.rectangle((margin - 1, top - 1, margin + width, top + bar), outline=INK)
    middle = top + bar + size * 9 // 10
    for position, text in ticks_of(scale, width, size):
        x = margin + round(position * (width - 1))
        left = round(x - position * text_width(text, size)) if position in (0, 1) else x - text_width(text, size) // 2
        canvas.line((x, top + bar, x, top + bar + size // 4), fill=INK, width=max(1, size // 12))
        write(canvas, (left, middle), text, size)


def _draw_swatches(canvas: ImageDraw.ImageDraw, legend: Legend, room: tuple[int, int], width: int, size: int) -> None:
    """Draw named colours; `room` is the upper edge and the number of lines."""
    top, lines = room
    for name, (left, line) in zip(*choose_swatches(list(legend.swatches), width, lines, size), strict=True):
        middle = top + line * line_height(size) + line_height(size) // 2
        left += size // 3
        if name in legend.swatches:
            _draw_box(canvas, (left, middle - size // 2), legend.swatches[name], size)
            left += size + size // 3
        write(canvas, (left, middle), fit_text(name, width - left, size), size)


def _draw_box(canvas: ImageDraw.ImageDraw, place: tuple[int, int], colour: Colour | None, size: int) -> None:
    left, top = place
    box = (left, top, left + size, top + size)
    canvas.rectangle(box, fill=colour or (215, 215, 215))
    if colour is None:
        for start in range(-size, size, max(4, size // 3)):
            ends = [(left + max(start, 0) + i, top + size - max(-start, 0) - i) for i in (0, size - abs(start))]
            canvas.line(ends, fill=INK, width=max(1, size // 8))
    canvas.rectangle(box, outline=INK)


def _swatch_width(name: str, size: int) -> int:
    return size // 3 + size + size // 3 + text_width(name, size) + size // 2
