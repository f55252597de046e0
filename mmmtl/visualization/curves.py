"""Curves of metrics, one panel for each metric, from files that `tools/test.py` wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmmtl.evaluation import read_metrics
from mmmtl.registry import TASKS


@dataclass(frozen=True)
class Curve:
    """A line of a panel.

    Args:
        label: in the legend.
        x: where its points are.
        y: their values.
        level: a horizontal dashed line in its colour, None for none.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    level: float | None = None


def read_named(arguments: Sequence[str]) -> list[tuple[str, dict[str, float]]]:
    """(name, metrics) of the arguments `[NAME=]metrics.json` of a command line; without a name it is the path.

    Raises:
        ValueError: a file is missing, or holds no metrics.
    """
    found = []
    for argument in arguments:
        name, _, path = argument.rpartition('=')
        if not Path(path).is_file():
            raise ValueError(f'{path}: no such file; give metrics.json files that tools/test.py --out wrote')
        found.append((name or path, read_metrics(path)))
    return found


def choose_metrics(wanted: Sequence[str] | None, found: Iterable[str]) -> list[str]:
    """The wanted metrics, or all that were found, each once.

    Raises:
        ValueError: a wanted one was not found; names the nearest.
    """
    known = list(dict.fromkeys(found))
    for name in wanted or ():
        if name not in known:
            near = get_close_matches(name, known, n=3, cutoff=0.4) or known
            raise ValueError(f'no file has the metric {name!r}; did you mean {near}?')
    return list(wanted or known)


def better(metric: str) -> str:
    """An arrow: up where higher is better, down where lower is, nothing for a metric of an unknown kind of task."""
    known = {m: up for kind in TASKS.module_dict.values() for m, up in kind.higher_is_better.items()}
    known |= {m: up for kind in TASKS.module_dict.values() for m, up in kind.temporal_metrics.items()}
    up = known.get(metric.rpartition('/')[2])
    return '' if up is None else ' ↑' if up else ' ↓'


def check_figure_path(path: str) -> None:
    """Refuse a file that no figure can be written to.

    Raises:
        ValueError: an unknown ending.
    """
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if Path(path).suffix.removeprefix('.') not in known:
        raise ValueError(f'{path}: a figure must end in one of {known}')


def draw_panels(panels: Mapping[str, Sequence[Curve]], x_label: str, path: str, *, whole_numbers: bool = False) -> None:
    """Write a figure with a panel for each metric.

    Args:
        panels: {metric: curves}.
        x_label: what the curves run over.
        path: the ending says the format: .png, .svg, .pdf, ...
        whole_numbers: x counts something.
    """
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, (metric, curves) in zip(axes, panels.items(), strict=False):
        for curve in curves:
            (line,) = axis.plot(curve.x, curve.y, marker='o', markersize=4, label=curve.label)
            if curve.level is not None:
                axis.axhline(curve.level, linestyle='--', linewidth=0.8, color=line.get_color())
        axis.set_title(metric + better(metric))
        axis.set_xlabel(x_label)
        axis.grid(alpha=0.3)
        if whole_numbers:
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    axes[0].legend()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
