"""Figures of confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from mmmtl.structures import Array

NUMBERED = 15
"""Cells of a matrix with at most so many rows have their number."""

LONGEST = 24
"""Characters of a class name that are shown."""


def shares(matrix: Mapping[str, Mapping[str, int]]) -> Array:
    """Return a matrix {label: {prediction: pixels}} in percent of each row (R, C); rows without a pixel are NaN."""
    counts = np.array([list(row.values()) for row in matrix.values()], dtype=np.float64)
    total = counts.sum(axis=1, keepdims=True)
    found: Array = np.divide(100 * counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    return found


def draw_confusion(axis: Axes, matrix: Mapping[str, Mapping[str, int]]) -> None:
    """Draw a matrix {label: {prediction: pixels}}, in percent of each label, with a colour bar."""
    rows, columns = list(matrix), list(next(iter(matrix.values())))
    percent = shares(matrix)
    mesh = axis.pcolormesh(percent, cmap='Blues', vmin=0, vmax=100, rasterized=True)
    axis.invert_yaxis()
    assert axis.figure is not None
    # Names do not overlap: of the 72 points of an inch, 40 are for text.
    size = min(10.0, 40 * axis.figure.bbox.height / axis.figure.dpi / len(columns))
    axis.set_xticks(np.arange(len(columns)) + 0.5, map(_shown, columns), rotation=90, fontsize=size)
    axis.set_yticks(np.arange(len(rows)) + 0.5, map(_shown, rows), fontsize=size)
    axis.set_xlabel('predicted')
    axis.set_ylabel('labelled')
    axis.set_aspect('equal')
    if len(rows) <= NUMBERED:
        for (row, column), value in np.ndenumerate(percent):
            if np.isfinite(value):
                colour = 'white' if value > 55 else 'black'
                axis.text(column + 0.5, row + 0.5, f'{value:.0f}', ha='center', va='center', color=colour, fontsize=8)
    axis.figure.colorbar(mesh, ax=axis, label='% of the labelled pixels', shrink=0.7)


def _shown(name: str) -> str:
    return name if len(name) <= LONGEST else f'{name[: LONGEST - 1]}…'
