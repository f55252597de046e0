"""Figures of curves side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from mmmtl.visualization.curves import Curve, draw_panels


@pytest.mark.parametrize('count', [9, 19, 40])
def test_a_long_legend_is_not_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    figures: list[Figure] = []
    save = Figure.savefig

    def watch(figure: Figure, *args: Any, **kwargs: Any) -> None:
        save(figure, *args, **kwargs)
        figures.append(figure)

    monkeypatch.setattr(Figure, 'savefig', watch)
    curves = [Curve(f'row {number}', [0, 1], [0, 1]) for number in range(count)]
    draw_panels({'mIoU': curves, 'RMSE': curves}, 'offset', str(tmp_path / 'curves.png'))
    ((legend,),) = (figure.legends for figure in figures)
    assert len(legend.get_texts()) == count
    assert legend.get_window_extent().ymin >= 0
