"""Figures of a report, as SVG in data URIs: a picture of its own, in which nothing can run or be loaded."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmmtl.visualization.confusion import draw_confusion
from mmmtl.visualization.curves import PLAIN_TEXT, Curve, draw_panel, offset_curve

from .run import Matrix, Run, titled


def figure_uri(draw: Callable[[Axes], None], size: tuple[float, float]) -> str:
    """Return a figure as a data URI: `draw` gets its axes; the size is in inches."""
    # Text stays text in the SVG, and a fixed salt makes equal figures equal files.
    settings = {**PLAIN_TEXT, 'svg.fonttype': 'none', 'svg.hashsalt': 'mmmtl'}
    with matplotlib.rc_context(settings), io.BytesIO() as buffer:
        figure = Figure(figsize=size, layout='constrained')
        draw(figure.subplots())
        figure.savefig(buffer, format='svg', metadata={'Date': None})
        return f'data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}'


def curve_figure(title: str, curves: Sequence[Curve], x_label: str, *, whole_numbers: bool = True) -> str:
    """Return a panel with one curve for each run, empty where a run has none."""
    return figure_uri(lambda axis: draw_panel(axis, title, curves, x_label, whole_numbers=whole_numbers), (4.4, 3.0))


def series_figures(runs: Sequence[Run], wanted: Callable[[str], bool]) -> dict[str, str]:
    """Return {key of the log: figure}, drawn against the steps of training, for the wanted keys of any run."""
    keys = dict.fromkeys(key for run in runs for key in run.series if wanted(key))
    return {
        key: curve_figure(
            titled(key, runs),
            [Curve(run.name, [*run.series.get(key, {})], [*run.series.get(key, {}).values()]) for run in runs],
            'iterations or epochs',
        )
        for key in keys
    }


def offset_figures(runs: Sequence[Run], keys: Sequence[str]) -> dict[str, str]:
    """Return {metric: figure} against the frames since the key frame; dashed lines are the means."""
    return {
        key: curve_figure(
            titled(key, runs), [offset_curve(run.name, run.metrics, key) for run in runs], 'frames since the key frame'
        )
        for key in keys
    }


def cost_figures(runs: Sequence[Run], keys: Sequence[str]) -> dict[str, str]:
    """Return {metric: figure}, drawn against GMAC, with a point for each run."""
    figures = {}
    for key in keys:
        curves = [
            Curve(run.name, [], [])
            if run.gmac is None or key not in run.metrics
            else Curve(run.name, [run.gmac], [run.metrics[key]])
            for run in runs
        ]
        figures[key] = curve_figure(titled(key, runs), curves, 'GMAC per image or frame', whole_numbers=False)
    return figures


def confusion_figure(matrix: Matrix) -> str:
    """Return a confusion matrix, larger for more classes."""
    side = min(12.0, 3.0 + 0.3 * len(next(iter(matrix.values()))))
    return figure_uri(lambda axis: draw_confusion(axis, matrix), (side + 1, side))
