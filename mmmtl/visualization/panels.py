"""Panels: grids of tiles with captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from mmmtl.structures import Array
from mmmtl.tasks import Task

Tile = tuple[str, Array]
"""A caption and its drawing (H, W, 3) uint8 RGB."""

CAPTION_HEIGHT, CAPTION_WIDTH = 20, 160
RED = (200, 30, 30)


def task_tiles(image: Array, maps: Mapping[str, Array], tasks: Mapping[str, Task], what: str) -> list[Tile]:
    """Draw the map of each task, or a black tile for a task without a map.

    Args:
        image: (H, W, 3) uint8 RGB; resized to the maps if their size differs.
        maps: {task: (M, H, W)}.
        tasks: {task: Task}.
        what: appended to the captions.
    """
    tiles = []
    for name, task in tasks.items():
        if name in maps:
            size = maps[name].shape[-2:]
            drawing = task.draw(cv2.resize(image, size[::-1]) if image.shape[:2] != size else image, maps[name])
        else:
            drawing = np.zeros_like(image)
        tiles.append((f'{name} {what}'.strip(), drawing))
    return tiles


def grid(rows: Sequence[Sequence[Tile]], *, tile_height: int | None = None) -> Array:
    """Join rows of tiles into one panel (H, W, 3) uint8 RGB; shorter rows end in white.

    Tiles get the height `tile_height`. By default it is the height of the first tile, multiplied by an integer if the
    caption needs more width.

    Examples:
        >>> tile = ('input', np.zeros((60, 160, 3), dtype=np.uint8))
        >>> grid([[tile, tile], [tile]]).shape  # a caption is 20 pixels high
        (160, 320, 3)
    """
    height, width = rows[0][0][1].shape[:2]
    height = tile_height or height * -(-CAPTION_WIDTH // width)
    strips = [np.concatenate([_captioned(*tile, height) for tile in row], axis=1) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    padding = [((0, 0), (0, width - strip.shape[1]), (0, 0)) for strip in strips]
    return np.concatenate([np.pad(s, p, constant_values=255) for s, p in zip(strips, padding, strict=True)])


def add_banner(panel: Array, text: str) -> Array:
    """Return a panel (H, W, 3) below a red bar with a text."""
    bar = np.full((CAPTION_HEIGHT, panel.shape[1], 3), RED, dtype=np.uint8)
    cv2.putText(bar, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([bar, panel])


def _captioned(caption: str, drawing: Array, height: int) -> Array:
    width = round(drawing.shape[1] * height / drawing.shape[0])
    drawing = cv2.resize(drawing, (width, height), interpolation=cv2.INTER_NEAREST)
    bar = np.full((CAPTION_HEIGHT, width, 3), 255, dtype=np.uint8)
    cv2.putText(bar, caption, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
    return np.concatenate([bar, drawing])
