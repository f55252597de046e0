"""Panels side by side, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from mmmtl.tasks import build_tasks
from mmmtl.visualization import grid, task_tiles

TASKS = build_tasks(
    {
        'semseg': dict(type='SemanticSegmentation', classes=['a', 'b'], palette=[[200, 0, 0], [0, 100, 0]]),
        'normals': dict(type='SurfaceNormals'),
    },
    'the test',
)
WHITE = 255


def plain(height: int, width: int, *colour: int) -> np.ndarray:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def test_each_task_draws_its_map() -> None:
    image = plain(1, 3, 100, 100, 100)
    maps = {
        'semseg': np.array([[[0, 1, 255]]]),
        'normals': np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=np.float32)[:, None],
    }

    (first, classes), (second, normals) = task_tiles(image, maps, TASKS, 'label')

    assert (first, second) == ('semseg label', 'normals label')
    # 65 % of the class colour and 35 % of the image; ignored pixels show the image.
    assert classes.tolist() == [[[165, 35, 35], [35, 100, 35], [100, 100, 100]]]
    # (n + 1) / 2; black where there is none.
    assert normals.tolist() == [[[128, 0, 128], [255, 128, 128], [0, 0, 0]]]


def test_a_task_without_a_map_is_black() -> None:
    tiles = task_tiles(plain(2, 3, 9, 9, 9), {'semseg': np.zeros((1, 2, 3), dtype=int)}, TASKS, '')

    assert [caption for caption, _ in tiles] == ['semseg', 'normals']
    assert tiles[1][1].shape == (2, 3, 3) and not tiles[1][1].any()


def test_the_picture_is_fitted_to_a_map_of_another_size() -> None:
    ((_, tile), _) = task_tiles(plain(4, 6, 100, 0, 0), {'semseg': np.full((1, 2, 3), 255)}, TASKS, '')

    assert tile.shape == (2, 3, 3)
    assert (tile == (100, 0, 0)).all()


def test_rows_stand_below_each_other_with_captions() -> None:
    red, green, blue = plain(30, 200, 255, 0, 0), plain(30, 200, 0, 255, 0), plain(30, 200, 0, 0, 255)

    panel = grid([[('first', red), ('second', green)], [('third', blue)]])

    assert panel.shape == (2 * (20 + 30), 400, 3) and panel.dtype == np.uint8
    assert (panel[20:50, :200] == red).all() and (panel[20:50, 200:] == green).all()
    assert (panel[70:, :200] == blue).all() and (panel[50:, 200:] == WHITE).all(), 'short rows end in white'
    for top, left in ((0, 0), (0, 200), (50, 0)):
        caption = panel[top : top + 20, left : left + 200]
        assert (caption == WHITE).mean() > 0.5 and (caption < 100).any(), 'dark letters on white'


def test_pictures_of_another_size_get_the_height_of_the_first() -> None:
    panel = grid([[('a', plain(30, 200, 1, 1, 1)), ('b', plain(60, 100, 2, 2, 2))]])

    assert panel.shape == (50, 200 + 50, 3)
    assert (panel[20:, 200:] == 2).all()


def test_small_pictures_are_enlarged_until_their_captions_fit() -> None:
    small = np.arange(2 * 64 * 3, dtype=np.uint8).reshape(2, 64, 3)

    panel = grid([[('normals prediction', small)]])

    assert panel.shape == (20 + 6, 192, 3)
    assert (panel[20:] == small.repeat(3, axis=0).repeat(3, axis=1)).all(), 'pixels stay sharp'
    assert (panel[:20, 130:180] == WHITE).all() or (panel[:20, 180:] == WHITE).all(), 'the caption ends inside'


@pytest.mark.parametrize(('height', 'size'), [(10, (10, 20)), (60, (60, 120))])
def test_the_height_can_be_chosen(height: int, size: tuple[int, int]) -> None:
    assert grid([[('a', plain(30, 60, 0, 0, 0))]], tile_height=height).shape == (20 + size[0], size[1], 3)
