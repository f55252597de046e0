"""Figures with curves of metrics, one panel for each metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmmtl.io import whole_file

COLORS = 10
"""Colours before they repeat, with another marker."""

MARKERS = 'osv^'

MARKED = 40
"""The points of a curve that has more get no markers."""

LEGEND_INSIDE = 3
"""So many lines may have their legend inside the first panel; that of more stands beside the panels."""


@dataclass(frozen=True)
class Curve:
    """A labelled line through points (x, y); `level` adds a dashed horizontal line in the same colour."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    level: float | None = None


def check_figure_path(path: str) -> None:
    """Refuse a file name whose ending is not a figure format."""
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if Path(path).suffix.removeprefix('.') not in known:
        raise ValueError(f'{path}: a figure must end in one of {known}')


def draw_panels(panels: Mapping[str, Sequence[Curve]], x_label: str, path: str, *, whole_numbers: bool = False) -> None:
    """Write a figure with panels {title: curves} side by side; `whole_numbers` places ticks at integers only.

    Raises:
        ValueError: `panels` is empty.
    """
    if not panels:
        raise ValueError(f'{path}: there is nothing to draw')
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    entries = max(map(len, panels.values()))
    figure = Figure(figsize=(4.2 * columns, max(3.2 * rows, 0.2 * entries)), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, (title, curves) in zip(axes, panels.items(), strict=False):
        draw_panel(axis, title, curves, x_label, whole_numbers=whole_numbers)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    if len(handles) > LEGEND_INSIDE:
        figure.legend(handles, labels, loc='outside right upper', fontsize='small')
    else:
        axes[0].legend()
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=150)


def draw_panel(axis: Axes, title: str, curves: Sequence[Curve], x_label: str, *, whole_numbers: bool = False) -> None:
    """Draw the curves of one panel. The colour of a curve follows from its place, also beside empty ones."""
    for number, curve in enumerate(curves):
        marker = MARKERS[number // COLORS % len(MARKERS)] if len(curve.x) <= MARKED else None
        (line,) = axis.plot(curve.x, curve.y, marker=marker, markersize=4, label=curve.label)
        if curve.level is not None:
            axis.axhline(curve.level, linestyle='--', linewidth=0.8, color=line.get_color())
    axis.set_title(title)
    axis.set_xlabel(x_label)
    axis.grid(alpha=0.3)
    if whole_numbers:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
