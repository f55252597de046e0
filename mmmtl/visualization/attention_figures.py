"""Figures of attention and task features, each with all that it takes to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from mmmtl.io import whole_file
from mmmtl.structures import Array

from .attention import Attention, Recording

CURRENT = 'current frame'
TITLES = {
    'ILA': 'where the pixel {point} of the current frame looks in earlier frames',
    'CTAM': 'where the pixel {point} looks in the features of the other tasks',
    'CSAM': 'where the pixel {point} looks in the coarser features of its own task',
    'ATRC': 'where the pixel {point} looks in the features of each task that gives context',
}
CONTEXT_NAMES = {
    'global': 'global context',
    'local': 'local context',
    'target_label': 'T-label context',
    'source_label': 'S-label context',
}
PANEL_WIDTH, ABOVE_PANEL, ABOVE_ALL = 3.4, 0.45, 0.7
"""In inches, with the colour bar."""


class Scene:
    """The images that a model sees, and a point in the current one.

    Args:
        images: {name: (H, W, 3) uint8 RGB}: `CURRENT`, and those of `mmmtl.visualization.attention.FRAMES` that exist.
        titles: {name: what a figure calls the image}.
        padded: (height, width) of the model's input, which its maps cover.
        point: (x, y), a pixel of the current image.
    """

    def __init__(
        self, images: Mapping[str, Array], titles: Mapping[str, str], padded: tuple[int, int], point: tuple[int, int]
    ) -> None:
        height, width = images[CURRENT].shape[:2]
        if not (0 <= point[0] < width and 0 <= point[1] < height):
            raise ValueError(f'the point {point} (x, y) lies outside the image of {width} x {height} pixels')
        self.images = images
        self.titles = titles
        self.padded = padded
        self.point = point

    def place(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (row, column) of the point in a map of a size (H, W)."""
        x, y = self.point
        return y * size[0] // self.padded[0], x * size[1] // self.padded[1]

    def stride(self, size: tuple[int, int]) -> int:
        """Return how many pixels a position of a map has in height, rounded."""
        return round(self.padded[0] / size[0])


def attention_figures(recording: Recording, scene: Scene) -> dict[str, Figure]:
    """Return {kind in lower case: figure} of the attentions of a recording, and 'features'."""
    figures = {}
    for kind, title in TITLES.items():
        if found := [attention for attention in recording.attentions if attention.kind == kind]:
            figures[kind.lower()] = _draw_attention(found, scene, f'{kind}: {title.format(point=scene.point)}')
    if recording.features:
        figures['features'] = _draw_features(recording.features, scene)
    return figures


def write_figures(figures: Mapping[str, Figure], paths: Mapping[str, Path]) -> None:
    """Write each figure to its path, whole or not at all."""
    for name, figure in figures.items():
        with whole_file(paths[name]) as partial:
            figure.savefig(partial, dpi=120)


def _draw_attention(attentions: Sequence[Attention], scene: Scene, title: str) -> Figure:
    """Draw a row for each task, or pair of tasks, with a panel for each source, the finest first."""
    rows: dict[str, list[Attention]] = {}
    for attention in sorted(attentions, key=lambda a: (a.target_size, a.source_size), reverse=True):
        rows.setdefault(_row_of(attention), []).append(attention)
    windows = ' Cyan: the window.' if any(attention.window for attention in attentions) else ''
    note = f'Green: the pixel. White: its position in the finest map.{windows} The weights of a panel sum to 100 %.'
    figure, axes = _grid(scene, len(rows), 1 + max(map(len, rows.values())), title, note)
    for (caption, found), (first, *others) in zip(sorted(rows.items()), axes, strict=True):
        _show_image(first, scene, CURRENT, f'{caption} ({scene.titles[CURRENT]})')
        row, column = scene.place(found[0].target_size)
        _box(first, scene, found[0].target_size, slice(row, row + 1), slice(column, column + 1), 'white')
        _mark(first, scene)
        for attention, axis in zip(found, others, strict=False):
            _show_weights(figure, axis, scene, attention)
        for axis in others[len(found) :]:
            axis.set_visible(False)
    return figure


def _row_of(attention: Attention) -> str:
    return f'{attention.task} looks at {attention.source}' if attention.kind == 'CTAM' else attention.task


def _draw_features(features: Mapping[str, Mapping[str, Tensor]], scene: Scene) -> Figure:
    note = 'Root mean square over the channels; each panel has its own scale.'
    columns = 1 + max(map(len, features.values()))
    figure, axes = _grid(scene, len(features), columns, f'Task features, {scene.titles[CURRENT]}', note)
    for (task, maps), (first, *others) in zip(features.items(), axes, strict=True):
        _show_image(first, scene, CURRENT, task)
        for (name, map_), axis in zip(maps.items(), others, strict=True):
            magnitude = map_.double().square().mean(dim=0).sqrt().numpy()
            stride = scene.stride((magnitude.shape[0], magnitude.shape[1]))
            caption = f'{name}\nstride {stride}, {len(map_)} channels'
            _show_map(figure, axis, scene, magnitude, caption, label='magnitude', alpha=1.0)
    return figure


def _grid(scene: Scene, rows: int, columns: int, title: str, note: str) -> tuple[Figure, Any]:
    height, width = scene.images[CURRENT].shape[:2]
    row = ABOVE_PANEL + 0.75 * PANEL_WIDTH * height / width
    figure = Figure(figsize=(PANEL_WIDTH * columns, ABOVE_ALL + row * rows), layout='compressed')
    figure.suptitle(f'{title}\n{note}', fontsize='medium')
    return figure, figure.subplots(rows, columns, squeeze=False)


def _show_image(axis: Axes, scene: Scene, name: str, caption: str, *, grey: bool = False) -> None:
    image = scene.images[name]
    height, width = image.shape[:2]
    # Colours of the image would mix with those of the weights.
    axis.imshow(image.mean(axis=2) if grey else image, cmap='gray', vmin=0, vmax=255, extent=(0, width, height, 0))
    axis.set_title(caption, fontsize='small')
    axis.set_xticks([])
    axis.set_yticks([])


def _show_weights(figure: Figure, axis: Axes, scene: Scene, attention: Attention) -> None:
    """Show the weights over the image that they look at, in grey, with the boundary of the window."""
    if attention.kind == 'ILA':
        image, caption = attention.source, scene.titles[attention.source]
    elif attention.kind == 'CTAM':
        image, caption = CURRENT, f'at stride {scene.stride(attention.target_size)}'
    elif attention.kind == 'ATRC':
        image, caption = CURRENT, f'{attention.source}: {CONTEXT_NAMES[attention.context]}'
    else:
        strides = scene.stride(attention.target_size), scene.stride(attention.source_size)
        image, caption = CURRENT, 'stride {} looks at stride {}'.format(*strides)
    row, column = scene.place(attention.target_size)
    weights = 100 * attention.weights(row, column).numpy()
    # Zero padding takes its share of the weights.
    caption += '' if weights.sum() > 100 - 1e-4 else f', sum {weights.sum():.0f} %'
    _show_image(axis, scene, image, caption, grey=True)
    seen = np.full(weights.shape, np.nan)
    seen[attention.seen_from(row, column)] = weights[attention.seen_from(row, column)]
    _show_map(figure, axis, scene, seen, caption, label='weight (%)', alpha=0.7)
    if attention.window is not None:
        _box(axis, scene, attention.source_size, *attention.seen_from(row, column), 'cyan')
    _mark(axis, scene)


def _show_map(
    figure: Figure, axis: Axes, scene: Scene, values: Array, caption: str, *, label: str, alpha: float
) -> None:
    """Show a map over the pixels that it covers, with its colour bar."""
    height, width = scene.images[CURRENT].shape[:2]
    extent = (0, scene.padded[1], scene.padded[0], 0)
    shown = axis.imshow(values, extent=extent, cmap='inferno', alpha=alpha, vmin=0, interpolation='nearest')
    axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    axis.set_title(caption, fontsize='small')
    figure.colorbar(shown, ax=axis, label=label, fraction=0.046, pad=0.02)


def _box(axis: Axes, scene: Scene, size: tuple[int, int], rows: slice, columns: slice, colour: str) -> None:
    """Draw a box around positions of a map of a size (H, W)."""
    down, across = scene.padded[0] / size[0], scene.padded[1] / size[1]
    corner = columns.start * across, rows.start * down
    sides = (columns.stop - columns.start) * across, (rows.stop - rows.start) * down
    axis.add_patch(Rectangle(corner, *sides, fill=False, edgecolor=colour, linewidth=1.2))


def _mark(axis: Axes, scene: Scene) -> None:
    """Mark the point."""
    x, y = scene.point[0] + 0.5, scene.point[1] + 0.5
    axis.plot(x, y, '+', color='black', markersize=9, markeredgewidth=2.5)
    axis.plot(x, y, '+', color='lime', markersize=8, markeredgewidth=1.0)
