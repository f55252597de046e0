"""Figures with curves of metrics, one panel for each metric."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mmmtl.io import whole_file
from mmmtl.tasks.metric_keys import by_offset

COLOURS = ('#0072b2', '#d55e00', '#000000', '#cc79a7', '#009e73')
"""Colours of Okabe and Ito that stand out from white and that people with any colour vision tell apart."""

MARKERS = {'o': '●', 's': '■', 'v': '▼', '^': '▲', 'D': '◆', 'P': '✚', '*': '★'}
"""Markers of curves, with the same as characters."""

MARKED = 12
"""A curve has at most so many markers."""

PLAIN_TEXT = {'text.parse_math': False}
"""Settings of matplotlib with which `$` in names from files does not begin a formula."""

TITLE_WIDTH = 44
"""Characters in a line of a title."""

LEGEND_INSIDE = 3
"""So many lines may have their legend inside the first panel; that of more stands beside the panels."""


@dataclass(frozen=True)
class Curve:
    """A labelled line through points (x, y); `level` adds a dashed horizontal line in the same colour."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    level: float | None = None


def offset_curve(label: str, metrics: Mapping[str, float], key: str) -> Curve:
    """Return a metric against the frames since the key frame, with the mean over the offsets as `level`."""
    points = {offset: scores[key] for offset, scores in by_offset(metrics).items() if key in scores}
    return Curve(label, [*points], [*points.values()], metrics.get(key) if points else None)


def check_figure_path(path: str) -> None:
    """Refuse a file name whose ending is not a figure format."""
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if Path(path).suffix.removeprefix('.') not in known:
        raise ValueError(f'{path}: a figure must end in one of {known}')


def draw_panels(panels: Mapping[str, Sequence[Curve]], x_label: str, path: str, *, whole_numbers: bool = False) -> None:
    """Write a figure with panels {title: curves} side by side; `whole_numbers` places ticks at integers only.

    Curves with the same label look the same in all panels, and the legend has each label once.

    Raises:
        ValueError: `panels` is empty.
    """
    if not panels:
        raise ValueError(f'{path}: there is nothing to draw')
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    labels = list(dict.fromkeys(curve.label for curves in panels.values() for curve in curves))
    with matplotlib.rc_context(PLAIN_TEXT):
        figure = Figure(figsize=(4.2 * columns, max(3.2 * rows, 0.2 * len(labels))), layout='constrained')
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for axis, (title, curves) in zip(axes, panels.items(), strict=False):
            draw_panel(axis, title, curves, x_label, labels=labels, whole_numbers=whole_numbers)
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        looks = map(style, range(len(labels)))
        lines = [Line2D([], [], color=colour, marker=marker, markersize=4) for colour, marker in looks]
        # matplotlib leaves out labels that begin with an underscore.
        entries = [f'\u200b{label}' if label.startswith('_') else label for label in labels]
        if len(labels) > LEGEND_INSIDE:
            legend = figure.legend(lines, entries, loc='outside right upper', fontsize='small')
            # Without this, the panels would share their own width with the legend.
            figure.set_figwidth(figure.get_figwidth() + legend.get_window_extent().width / figure.dpi)
        else:
            axes[0].legend(lines, entries)
        with whole_file(path) as partial:
            figure.savefig(partial, dpi=150)


def draw_panel(
    axis: Axes,
    title: str,
    curves: Sequence[Curve],
    x_label: str,
    *,
    labels: Sequence[str] | None = None,
    whole_numbers: bool = False,
) -> None:
    """Draw the curves of one panel, each in the style of its place in `labels`, by default in `curves`."""
    labels = labels or [curve.label for curve in curves]
    for curve in curves:
        colour, marker = style(labels.index(curve.label))
        every = -(-len(curve.x) // MARKED) or 1
        axis.plot(curve.x, curve.y, color=colour, marker=marker, markersize=4, markevery=every, label=curve.label)
        if curve.level is not None:
            axis.axhline(curve.level, linestyle='--', linewidth=0.8, color=colour)
    axis.set_title(textwrap.fill(title, TITLE_WIDTH))
    axis.set_xlabel(x_label)
    axis.grid(alpha=0.3)
    if whole_numbers:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def style(number: int) -> tuple[str, str]:
    """Return colour and marker of the curve with a number; both together repeat after 35 curves."""
    return COLOURS[number % len(COLOURS)], [*MARKERS][number % len(MARKERS)]
