"""Class lists: names, colours and errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from mmseg.datasets import CityscapesDataset

from mmmtl.tasks.classes import CLASSES, class_list
from mmmtl.tasks.colour import VISIONS, _lab, distinct_colours
from mmmtl.tasks.legend import Colour


def test_every_list_is_sound() -> None:
    assert len(CLASSES) >= 5
    for name, classes in CLASSES.items():
        names, colours = class_list(name)
        assert names == tuple(classes)
        # Colours tell the classes apart in a panel.
        assert len(set(colours)) == len(names), name
        assert all(len(colour) == 3 and min(colour) >= 0 and max(colour) <= 255 for colour in colours), name
        suffix = name.rpartition('_')[2]
        assert not suffix.isdigit() or int(suffix) == len(names), name


def test_cityscapes_is_that_of_mmseg() -> None:
    names, colours = class_list('cityscapes_19')

    assert list(names) == list(CityscapesDataset.METAINFO['classes'])
    assert [list(colour) for colour in colours] == CityscapesDataset.METAINFO['palette']


def test_names_without_colours_get_distinct_ones() -> None:
    names, colours = class_list([f'class {i}' for i in range(40)])

    assert names[39] == 'class 39'
    assert len(set(colours)) == 40
    assert class_list(['a', 'b', 'c', 'd'])[1] == colours[:4], 'more classes do not change the colours of the first'


def least_distance(colours: Sequence[Colour]) -> float:
    """Return the least distance in CIELAB, also as protanopes and deuteranopes see it; about 2 can just be seen."""
    seen = np.stack([_lab(np.array(colours) / 255, vision) for vision in VISIONS])
    distance = np.linalg.norm(seen[:, :, None] - seen[:, None], axis=-1) + 1e3 * np.eye(len(colours))
    return float(distance.min())


@pytest.mark.parametrize(('count', 'least'), [(7, 15), (20, 13), (124, 3), (255, 1)])
def test_distinct_colours_are_so_for_every_colour_vision(count: int, least: float) -> None:
    assert least_distance(distinct_colours(count)) > least


def test_colours_of_rooms_are_distinct_for_every_colour_vision() -> None:
    assert least_distance(class_list('nyuv2_13')[1]) > 15


def test_a_palette_replaces_the_colours() -> None:
    palette = [[i, 2 * i, 255] for i in range(13)]
    names, colours = class_list('nyuv2_13', palette)

    assert names == tuple(CLASSES['nyuv2_13'])
    assert colours == tuple((i, 2 * i, 255) for i in range(13))


def test_unknown_list_suggests_near_ones() -> None:
    with pytest.raises(ValueError, match="'nyu_13'.*'nyuv2_13'"):
        class_list('nyu_13')
    with pytest.raises(ValueError, match='cityscapes_19.*nyuv2_13'):
        class_list('zzz')


@pytest.mark.parametrize('classes', [[], ['a', 'b', 'a']])
def test_classes_must_be_distinct_and_some(classes: list[str]) -> None:
    with pytest.raises(ValueError, match='classes'):
        class_list(classes)


@pytest.mark.parametrize(
    ('palette', 'message'),
    [
        ([[0, 0, 0]], r'1\D+palette\D+2\D'),
        ([[0, 0, 0], [0, 0]], r'0\.\.255.*\[\[0, 0\]\]'),
        ([[0, 0, 0], [0, 0, 256]], r'0\.\.255.*\[\[0, 0, 256\]\]'),
    ],
)
def test_impossible_palettes(palette: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_list(['a', 'b'], palette)
