"""Figures: curves side by side, and confusion matrices."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mmmtl.visualization.confusion import draw_confusion
from mmmtl.visualization.curves import COLOURS, Curve, draw_panel, draw_panels, style


def drawn(monkeypatch: pytest.MonkeyPatch, panels: dict[str, list[Curve]], path: Path) -> Figure:
    """Return the figure that `draw_panels` writes."""
    figures: list[Figure] = []
    save = Figure.savefig

    def watch(figure: Figure, *args: Any, **kwargs: Any) -> None:
        save(figure, *args, **kwargs)
        figures.append(figure)

    monkeypatch.setattr(Figure, 'savefig', watch)
    draw_panels(panels, 'offset', str(path))
    (figure,) = figures
    return figure


def test_a_label_looks_the_same_in_every_panel_and_in_the_legend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {'mIoU': ('a', '_b', 'c $x^2_$', 'd'), 'RMSE': ('d', 'c $x^2_$'), 'mean': ('e',)}
    panels = {title: [Curve(label, [0, 1], [0, 1]) for label in labels] for title, labels in names.items()}
    figure = drawn(monkeypatch, panels, tmp_path / 'curves.png')
    (legend,) = figure.legends
    looks = {
        text.get_text().removeprefix('\u200b'): (line.get_color(), line.get_marker())
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
    }
    assert [*looks] == ['a', '_b', 'c $x^2_$', 'd', 'e'] and len({*looks.values()}) == 5
    for axis, labels in zip(figure.axes, names.values(), strict=True):
        assert [(line.get_color(), line.get_marker()) for line in axis.lines] == [looks[label] for label in labels]


@pytest.mark.parametrize('height', [3.0, 0.0])
def test_a_level_is_a_line_at_its_height_in_the_colour_of_its_curve(height: float) -> None:
    axis = Figure().subplots()
    draw_panel(axis, 'mIoU', [Curve('a', [0, 1], [0, 1]), Curve('b', [0, 1], [2, 4], level=height)], 'offset')
    _, curve, level = axis.lines
    assert (list(level.get_ydata()), level.get_color()) == ([height, height], curve.get_color())


def test_styles_repeat_late() -> None:
    styles = [style(number) for number in range(36)]
    assert len({*styles}) == 35 and styles[35] == styles[0]


def test_colours_stand_out_from_white() -> None:
    def channel(level: float) -> float:
        return level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4

    for colour in COLOURS:
        red, green, blue = map(channel, to_rgb(colour))
        # The contrast ratio of WCAG 2, which asks for 3 in graphics.
        assert 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) >= 3


def test_shares_of_a_label_stand_in_its_row() -> None:
    axis = Figure().subplots()
    draw_confusion(axis, {'wall': {'wall': 3, 'floor': 1}, 'floor': {'wall': 0, 'floor': 0}})
    assert {text.get_position(): text.get_text() for text in axis.texts} == {(0.5, 0.5): '75', (1.5, 0.5): '25'}
    assert [label.get_text() for label in axis.get_yticklabels()] == ['wall', 'floor']
    assert axis.get_ylim() == (2, 0)  # the first label is at the top


def test_names_of_classes_do_not_overlap(tmp_path: Path) -> None:
    names = [f'class {number} with a name that is far too long for a matrix' for number in range(124)]
    figure = Figure(figsize=(12, 12), layout='constrained')
    axis = figure.subplots()
    draw_confusion(axis, {row: dict.fromkeys(names, 1) for row in names})
    figure.savefig(tmp_path / 'matrix.png')
    boxes = [label.get_window_extent() for label in axis.get_yticklabels()]
    assert all(above.y0 >= below.y1 for above, below in itertools.pairwise(boxes))
    assert axis.get_window_extent().width > 300 and axis.get_yticklabels()[0].get_text().endswith('…')


@pytest.mark.parametrize('count', [9, 19, 40])
def test_a_long_legend_is_not_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    curves = [Curve(f'row {number}', [0, 1], [0, 1]) for number in range(count)]
    (legend,) = drawn(monkeypatch, {'mIoU': curves, 'RMSE': curves}, tmp_path / 'curves.png').legends
    assert len(legend.get_texts()) == count
    assert legend.get_window_extent().ymin >= 0


def test_a_wide_legend_takes_no_width_from_the_panels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = [Curve(f'row {number} with a name as long as those of a table', [0, 1], [0, 1]) for number in range(4)]
    figure = drawn(monkeypatch, {'mIoU': curves}, tmp_path / 'curves.png')
    assert figure.axes[0].get_window_extent().width > 3 * figure.dpi
