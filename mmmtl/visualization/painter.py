"""The drawing of the maps of all tasks, with legends that fit pictures that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mmmtl.io import resize_image
from mmmtl.structures import Array
from mmmtl.tasks import Task
from mmmtl.tasks.colour import NO_LABEL, hatch
from mmmtl.tasks.legend import Colour, Legend, Span

from .panels import Tile, grid

Maps = Mapping[str, Array]
"""{task: (M, H, W)}."""


class Painter:
    """A painter of panels: an image beside the map of each task, every one with its legend.

    Labels and predictions of a panel share their scales.

    Args:
        tasks: {name: task}.
        video: the panels are the frames of a video. A scale grows to the range of the video so far, and a class
            keeps its place in the legend from the frame where it first occurs. Panels of the same maps have one size.
    """

    def __init__(self, tasks: Mapping[str, Task], *, video: bool = False) -> None:
        self.tasks = tasks
        self.video = video
        self._spans: dict[str, Span] = {}
        self._seen: dict[tuple[str, str], dict[str, Colour | None]] = {}

    def panel(
        self, image: Array, rows: Mapping[str, Maps], *, title: str = '', mark: bool = False, warning: str = ''
    ) -> Array:
        """Return a panel (H', W', 3) uint8 RGB of an image and of maps of it.

        Args:
            image: (H, W, 3) uint8 RGB; brought to the size of the maps.
            rows: {what: maps}, a row for each, such as 'label' and 'prediction'; what is added to the captions.
            title: a line above.
            mark: give the title a dark ground, the sign of a key frame.
            warning: a line above in red.
        """
        # A model sees images at a size and aspect of its own.
        for array in (array for maps in rows.values() for array in maps.values()):
            image = resize_image(image, (array.shape[1], array.shape[2]))
        tiles = [[Tile('input', image), *row] for row in self.tiles(image, rows)] or [[Tile('input', image)]]
        return grid(tiles, title=title, mark=mark, warning=warning)

    def tiles(self, image: Array, rows: Mapping[str, Maps]) -> list[list[Tile]]:
        """Return the tile of every task for each row of maps; where a map is missing, the image is hatched."""
        if not self.video:
            self._spans.clear()
            self._seen.clear()
        for maps in rows.values():
            for name in self.tasks.keys() & maps.keys():
                self._extend(name, self.tasks[name].span(maps[name]))
        return [[self._tile(image, name, what, maps.get(name)) for name in self.tasks] for what, maps in rows.items()]

    def _extend(self, name: str, span: Span | None) -> None:
        known = self._spans.get(name, span)
        if span is not None and known is not None:
            self._spans[name] = min(known[0], span[0]), max(known[1], span[1])

    def _tile(self, image: Array, name: str, what: str, array: Array | None) -> Tile:
        task, caption = self.tasks[name], f'{name} {what}'.strip()
        if array is None:
            return Tile(caption, hatch(image), Legend({NO_LABEL: None}), self.video)
        span = self._spans.get(name)
        drawing = task.draw(resize_image(image, (array.shape[1], array.shape[2])), array, span)
        wanted = (*array.shape[1:], 3)
        if not isinstance(drawing, np.ndarray) or drawing.shape != wanted or drawing.dtype != np.uint8:
            known = isinstance(drawing, np.ndarray)
            found = f'{drawing.dtype} {drawing.shape}' if known else type(drawing).__name__
            raise ValueError(f'{type(task).__name__}.draw returned {found} for {name}; it must return uint8 {wanted}')
        legend = task.legend(array, span)
        if legend.scale is not None and legend.scale.unit:
            caption += f' [{legend.scale.unit}]'
        seen = self._seen.setdefault((name, what), {})
        seen |= {name: colour for name, colour in legend.swatches.items() if name not in seen}
        return Tile(caption, drawing, replace(legend, swatches=dict(seen)), self.video)


def frame_title(name: str, number: int | None, *, is_key: bool | None = None, since_key: int | None = None) -> str:
    """Return the title of a frame: its video, its number, and how it stands to the key frame where there are any.

    Examples:
        >>> frame_title('drive', 12, is_key=False, since_key=2)
        'drive, frame 12, key frame + 2'
        >>> frame_title('room.jpg', None)
        'room.jpg'
    """
    parts = [name] if name else []
    parts += [] if number is None else [f'frame {number}']
    if is_key or since_key == 0:
        parts.append('key frame')
    elif since_key is not None:
        parts.append(f'key frame + {since_key}')
    elif is_key is False:
        parts.append('not a key frame')
    return ', '.join(parts)
