"""Panels, pixel by pixel: tiles, captions, legends, and how rows wrap."""

from __future__ import annotations

import numpy as np
import pytest

from mmmtl.structures import Array
from mmmtl.tasks import SemanticSegmentation, build_tasks
from mmmtl.tasks.colour import MAGMA, NONE_COLOUR, OUTSIDE_COLOUR, hatch
from mmmtl.tasks.legend import Legend
from mmmtl.visualization import Painter, Tile, grid
from mmmtl.visualization.legends import choose_swatches, draw_legend, legend_height, ticks_of
from mmmtl.visualization.panels import GAP, WIDEST
from mmmtl.visualization.text import BLUE, RED, fit_text, text_width

TASKS = build_tasks(
    {
        'semseg': dict(type='SemanticSegmentation', classes=['a', 'b'], palette=[[200, 0, 0], [0, 100, 0]]),
        'normals': dict(type='SurfaceNormals'),
    },
    'the test',
)
DEPTH = build_tasks({'depth': dict(type='DepthEstimation', max_depth=10.0)}, 'the test')
WHITE = 255
LINE = 18
"""Height of a caption of text of 13 pixels."""


def plain(height: int, width: int, *colour: int) -> np.ndarray:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def test_each_task_draws_its_map() -> None:
    image = plain(1, 3, 100, 100, 100)
    maps = {
        'semseg': np.array([[[0, 1, 255]]]),
        'normals': np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=np.float32)[:, None],
    }

    ((classes, normals),) = Painter(TASKS).tiles(image, {'label': maps})

    assert (classes.caption, normals.caption) == ('semseg label', 'normals label')
    # 70 % of the class colour and 30 % of the image in grey; unlabelled pixels show the image, hatched.
    assert classes.drawing.tolist() == [[[170, 30, 30], [30, 100, 30], hatch(image)[0, 2].tolist()]]
    assert normals.drawing.tolist() == [[[128, 0, 128], [255, 128, 128], hatch(image)[0, 2].tolist()]]
    # Swatches lie over a middle grey.
    assert classes.legend.swatches == {'a': (178, 38, 38), 'b': (38, 108, 38), 'no label': None}
    assert normals.legend.swatches == {'no label': None}


@pytest.mark.parametrize('grey', [0, 90, 255])
def test_overlays_keep_the_hue(grey: int) -> None:
    """A class has one hue over every image, also over a coloured one."""
    colour = np.array([200, 40, 90])
    task = build_tasks(
        {'s': dict(type='SemanticSegmentation', classes=['a', 'b'], palette=[colour.tolist(), [0, 0, 0]])}, 'x'
    )['s']
    for image in (plain(1, 1, grey, grey, grey), plain(1, 1, 0, grey, 0)):
        red, green, blue = task.draw(image, np.zeros((1, 1, 1), int))[0, 0].astype(int)
        # The order and the proportion of the differences make the hue.
        assert (blue - green) / (red - green) == pytest.approx((90 - 40) / (200 - 40), abs=0.01)


def test_a_task_without_a_map_is_hatched() -> None:
    image = plain(2, 3, 9, 9, 9)
    ((_, normals),) = Painter(TASKS).tiles(image, {'': {'semseg': np.zeros((1, 2, 3), dtype=int)}})

    assert (normals.drawing == hatch(image)).all()
    assert normals.legend.swatches == {'no label': None}


@pytest.mark.parametrize('drawing', [np.zeros((3, 2, 3), np.uint8), np.zeros((2, 3, 3)), np.zeros((2, 3), np.uint8)])
def test_a_drawing_of_another_shape_or_type_is_refused(drawing: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SemanticSegmentation, 'draw', lambda *_: drawing)
    with pytest.raises(
        ValueError, match=r'SemanticSegmentation\.draw returned .* for semseg; it must return uint8 \(2,'
    ):
        Painter(TASKS).tiles(plain(2, 3, 0, 0, 0), {'': {'semseg': np.zeros((1, 2, 3), dtype=int)}})


def test_the_picture_is_fitted_to_a_map_of_another_size() -> None:
    ((tile, _),) = Painter(TASKS).tiles(plain(4, 6, 100, 0, 0), {'': {'semseg': np.full((1, 2, 3), 255)}})

    assert (tile.drawing == hatch(plain(2, 3, 100, 0, 0))).all()


def test_depth_tells_apart_what_has_no_number() -> None:
    depth = np.array([[[1.0, 4.0, 9.0, 0.0, 12.0]]], dtype=np.float32)
    ((tile,),) = Painter(DEPTH).tiles(plain(1, 5, 0, 0, 0), {'label': {'depth': depth}})

    assert tile.caption == 'depth label [m]'
    # The scale runs from 1 to 9 m by the root: 4 m is in its middle. Near is bright.
    assert tile.drawing[0].tolist() == [
        MAGMA[255].tolist(),
        MAGMA[128].tolist(),
        MAGMA[0].tolist(),
        list(NONE_COLOUR),
        list(OUTSIDE_COLOUR),
    ]
    assert tile.legend.swatches == {'no measurement': NONE_COLOUR, 'out of range': OUTSIDE_COLOUR}
    assert tile.legend.scale is not None and tile.legend.scale.span == (1.0, 9.0)
    assert not (MAGMA == NONE_COLOUR).all(axis=1).any() and not (MAGMA == OUTSIDE_COLOUR).all(axis=1).any()


def test_labels_and_predictions_share_a_scale_and_a_video_extends_it() -> None:
    def spans(painter: Painter, *rows: float) -> list[tuple[float, float]]:
        maps = {str(i): {'depth': np.full((1, 1, 1), metres, np.float32)} for i, metres in enumerate(rows)}
        return [tile.legend.scale.span for (tile,) in painter.tiles(plain(1, 1, 0, 0, 0), maps) if tile.legend.scale]

    still, video = Painter(DEPTH), Painter(DEPTH, video=True)
    assert spans(still, 2.0, 5.0) == [(2.0, 5.0)] * 2
    assert spans(still, 3.0) == [(3.0, 3.0)]
    assert spans(video, 2.0, 5.0) == [(2.0, 5.0)] * 2
    assert spans(video, 3.0) == [(2.0, 5.0)]
    assert spans(video, 8.0) == [(2.0, 8.0)]


def test_a_fixed_range() -> None:
    tasks = build_tasks({'depth': dict(type='DepthEstimation', max_depth=10.0, shown_range=(2, 5))}, 'the test')
    depth = np.array([[[1.0, 2.0, 5.0, 6.0]]], dtype=np.float32)
    ((tile,),) = Painter(tasks).tiles(plain(1, 4, 0, 0, 0), {'': {'depth': depth}})

    outside = (tile.drawing[0] == OUTSIDE_COLOUR).all(axis=-1)
    assert outside.tolist() == [True, False, False, True]
    for wrong in ((5, 2), (1,), (-1, 2)):
        with pytest.raises(ValueError, match='shown_range'):
            build_tasks({'depth': dict(type='DepthEstimation', max_depth=10.0, shown_range=wrong)}, 'the test')


def test_a_legend_of_an_image_has_the_classes_of_its_map_alone() -> None:
    painter, image = Painter(TASKS), plain(1, 1, 90, 90, 90)
    first, second = ({'semseg': np.full((1, 1, 1), label)} for label in (0, 1))
    for rows, expected in (({'label': first, 'prediction': second}, ['a', 'b']), ({'label': second}, ['b'])):
        legends = [row[0].legend for row in painter.tiles(image, rows)]
        assert [[*legend.swatches] for legend in legends] == [[name] for name in expected]


def test_legends_of_a_video_keep_their_place_and_size() -> None:
    tasks = build_tasks({'semseg': dict(type='SemanticSegmentation', classes=[f'class {i}' for i in range(9)])}, 'x')
    painter = Painter(tasks, video=True)
    image = plain(64, 240, 90, 90, 90)
    frames = [np.full((1, 64, 240), label) for label in (4, 2, 4, 7)]
    panels = [painter.panel(image, {'': {'semseg': labels}}, title='f') for labels in frames]

    assert len({panel.shape for panel in panels}) == 1
    legends = [panel[-(panel.shape[0] - 2 * LINE - 64) :, 240 + GAP :] for panel in panels]
    entry = 13 // 3 + 13 + 13 // 3 + text_width('class 4', 13)
    for legend in legends:
        assert (legend[:LINE, :entry] == legends[0][:LINE, :entry]).all(), 'the first class stays where it was'
    assert not (legends[1] == legends[0]).all(), 'the second one came'
    assert (legends[2] == legends[1]).all()


def test_rows_stand_below_each_other_with_captions() -> None:
    red, green, blue = plain(60, 240, 255, 0, 0), plain(60, 240, 0, 255, 0), plain(60, 240, 0, 0, 255)

    panel = grid([[Tile('first', red), Tile('second', green)], [Tile('third', blue)]])

    assert panel.shape == (2 * (LINE + 60), 480 + GAP, 3) and panel.dtype == np.uint8
    lower = LINE + 60
    assert (panel[LINE:lower, :240] == red).all() and (panel[LINE:lower, 240 + GAP :] == green).all()
    assert (panel[lower + LINE :, :240] == blue).all() and (panel[lower:, 240:] == WHITE).all(), 'rows end in white'
    for top, left in ((0, 0), (0, 240 + GAP), (lower, 0)):
        caption = panel[top : top + LINE, left : left + 240]
        assert (caption == WHITE).mean() > 0.5 and (caption < 100).any(), 'dark letters on white'


def test_wide_rows_wrap_and_keep_labels_above_predictions() -> None:
    def row(grey: int) -> list[Tile]:
        return [Tile(str(i), plain(100, 300, grey + i, 0, 0)) for i in range(4)]

    panel = grid([row(10), row(20)])

    height = LINE + 100
    assert panel.shape == (4 * height, 600 + GAP, 3)
    found = [[int(panel[y * height + 60, x * (300 + GAP) + 150, 0]) for x in range(2)] for y in range(4)]
    assert found == [[10, 11], [20, 21], [12, 13], [22, 23]]


@pytest.mark.parametrize(('height', 'width', 'columns'), [(100, 300, 2), (300, 300, 2), (400, 250, 4)])
def test_the_number_of_columns_fits_the_shape(height: int, width: int, columns: int) -> None:
    panel = grid([[Tile('', plain(height, width, 1, 1, 1))] * 4])
    assert panel.shape[1] == columns * width + (columns - 1) * GAP


def test_pictures_of_another_size_get_the_height_of_the_first_and_keep_their_aspect() -> None:
    panel = grid([[Tile('a', plain(240, 240, 1, 1, 1)), Tile('b', plain(480, 200, 2, 2, 2))]])

    assert panel.shape == (LINE + 240, 240 + GAP + 100, 3)
    assert (panel[LINE:, 240 + GAP :] == 2).all()


def test_small_pictures_are_enlarged_until_their_captions_fit() -> None:
    small = np.arange(2 * 80 * 3, dtype=np.uint8).reshape(2, 80, 3)

    panel = grid([[Tile('normals prediction', small)]])

    assert panel.shape == (LINE + 6, 240, 3)
    assert (panel[LINE:] == small.repeat(3, axis=0).repeat(3, axis=1)).all(), 'pixels stay sharp'
    assert (panel[:LINE, 200:] == WHITE).all(), 'the caption ends inside'


@pytest.mark.parametrize(('height', 'width'), [(3000, 10), (1500, 3), (5000, 3)])
def test_a_very_narrow_picture_does_not_explode(height: int, width: int) -> None:
    panel = grid([[Tile('caption', plain(height, width, 0, 0, 0))]], title='title')
    assert panel.shape[0] < 1.1 * max(height, WIDEST) and panel.shape[1] < 100


def test_text_grows_with_the_pictures_and_panels_do_not_grow_beyond_a_limit() -> None:
    assert grid([[Tile('', plain(1080, 1920, 0, 0, 0))]]).shape == (round(1.4 * 32) + 1080, 1920, 3)
    # Text of 16 pixels would be too small where the whole panel is scaled to a screen: 3840 / 150.
    assert grid(2 * [4 * [Tile('', plain(540, 960, 0, 0, 0))]]).shape == (2 * (35 + 540), WIDEST + 3 * GAP, 3)
    wide = grid([[Tile('', plain(1000, 5000, 0, 0, 0))]])
    assert wide.shape[1] == WIDEST


def test_titles_and_warnings_stand_above() -> None:
    tile = Tile('', plain(60, 240, 0, 0, 0))
    panel = grid([[tile]], title='frame 1, key frame', mark=True, warning='untrained')
    assert (panel[0] == RED).all() and (panel[LINE] == BLUE).all()
    assert len(panel) == 3 * LINE + 60
    assert not (grid([[tile]], title='frame 2')[0] == BLUE).all(axis=-1).any()


# Keys


def test_text_is_shortened_to_its_room() -> None:
    for width in (5, 30, 60, 200):
        assert text_width(fit_text('a rather long name of a class', width, 13), 13) <= width


def test_measured_texts_are_not_kept_for_ever() -> None:
    """Every frame of a video has a title of its own."""
    text_width.cache_clear()
    for number in range(6000):
        fit_text(f'frame {number}', 200, 13)
    assert text_width.cache_info().currsize < 6000


def test_named_colours_flow_and_what_does_not_fit_is_counted() -> None:
    names = [f'class {i}' for i in range(30)]
    shown, places = choose_swatches(names, 240, 3, 13)

    assert shown[:-1] == names[: len(shown) - 1] and shown[-1] == f'and {30 - len(shown) + 1} more'
    assert {line for _, line in places} == {0, 1, 2}
    assert choose_swatches(names[:4], 240, 3, 13)[0] == names[:4]
    assert choose_swatches(['a', 'b' * 30], 240, 1, 13)[0] == ['a', 'and 1 more']
    # Later names do not move the ones before.
    assert choose_swatches(names[:4], 240, 3, 13)[1] == choose_swatches(names[:6], 240, 3, 13)[1][:4]


@pytest.mark.parametrize('width', [120, 240, 640, 1920])
@pytest.mark.parametrize('span', [(0.02, 0.97), (1.0, 1.01), (0.5, 9.5), (3.2, 212.0)])
def test_ticks_do_not_touch(span: tuple[float, float], width: int) -> None:
    legend = DEPTH['depth'].legend(np.full((1, 1, 1), span[0]), span)
    assert legend.scale is not None
    ticks = ticks_of(legend.scale, width, 13)
    ends = [0.0]
    for position, text in ticks:
        needed = text_width(text, 13)
        left = position * width - {0.0: 0, 1.0: needed}.get(position, needed / 2)
        assert left >= ends[-1] and left + needed <= width + 1
        ends.append(left + needed + 6)
    assert (ticks[0][0], ticks[-1][0]) == (0.0, 1.0) and ticks[-1][1].endswith(' m')
    for position, text in ticks[1:-1]:
        assert float(legend.scale.position(np.array(float(text)))) == pytest.approx(position)


def test_a_colour_bar_has_the_colours_of_the_picture_where_the_ticks_are() -> None:
    legend = DEPTH['depth'].legend(np.full((1, 1, 1), 1.0), (1.0, 9.0))
    width = 608
    drawn = draw_legend(legend, width, legend_height(legend, width, 13, most=100), 13)
    margin = 13 // 3
    bar = drawn[10, margin : width - margin].astype(int)
    assert legend.scale is not None
    for metres in (1.0, 2.0, 4.0, 9.0):
        place = round(float(legend.scale.position(np.array(metres))) * (len(bar) - 1))
        colour = DEPTH['depth'].draw(plain(1, 1, 0, 0, 0), np.full((1, 1, 1), metres), (1.0, 9.0))[0, 0].astype(int)
        assert np.abs(bar[place] - colour).max() <= 4


def test_the_ball_of_normals_has_the_colours_of_its_normals() -> None:
    ball = TASKS['normals'].legend(np.zeros((3, 1, 1))).ball
    assert ball is not None
    middle = len(ball) // 2
    for (x, y), row, column in (((0, 0), middle, middle), ((0.8, 0), middle, 0.9), ((0, -0.8), 0.1, middle)):
        place = tuple(int(p * (len(ball) - 1)) if isinstance(p, float) else p for p in (row, column))
        normal = np.array([x, y, -np.sqrt(1 - x * x - y * y)]).reshape(3, 1, 1)
        colour = TASKS['normals'].draw(plain(1, 1, 0, 0, 0), normal)[0, 0].astype(int)
        assert np.abs(ball[place].astype(int) - colour).max() <= 4
    assert (ball[0, 0] == WHITE).all()


@pytest.mark.parametrize('width', [40, 160, 240, 256, 512])
@pytest.mark.parametrize('classes', ['nyuv2_13', 'nyuv2_40'])
def test_the_room_of_a_steady_key_suffices_in_any_order(classes: str, width: int) -> None:
    tasks = build_tasks({'semseg': dict(type='SemanticSegmentation', classes=classes)}, 'the test')
    task, rng, heights = tasks['semseg'], np.random.default_rng(0), set()
    names = [*task.legend(np.zeros((1, 1, 1), int)).possible]
    for number in rng.integers(0, len(names) + 1, 40):
        seen = {str(name): None for name in rng.permutation(names)[:number]}
        legend = Legend(seen, possible=names)
        heights.add(legend_height(legend, width, 13, most=10_000, steady=True))
        shown, _ = choose_swatches(list(seen), width, max(heights) // LINE, 13)
        assert shown == list(seen)
    assert len(heights) == 1


def test_an_empty_key_takes_no_room() -> None:
    assert legend_height(Legend(), 240, 13, most=100) == 0


@pytest.mark.parametrize('depth', [0.5, 4.0, 5.3, 6.0, 9.5])
def test_a_constant_map_has_the_colour_of_its_tick(depth: float) -> None:
    task, constant = DEPTH['depth'], np.full((1, 2, 2), depth, np.float32)
    # The only tick of the bar is at its lower end, which is bright.
    assert (task.draw(plain(2, 2, 0, 0, 0), constant) == MAGMA[-1]).all()


@pytest.mark.parametrize('kind', [dict(type='DepthEstimation', max_depth=10.0), dict(type='DisparityEstimation')])
@pytest.mark.parametrize('broken', [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_drawn_as_no_number(kind: dict[str, object], broken: float) -> None:
    task = build_tasks({'near': kind}, 'the test')['near']
    array = np.array([[[broken, 1.0, 4.0]]], np.float32)
    drawing = task.draw(plain(1, 3, 0, 0, 0), array)
    assert task.span(array) == (1.0, 4.0)
    assert tuple(drawing[0, 0]) == NONE_COLOUR and sorted(drawing[0, 1:].sum(1)) == sorted(MAGMA[[0, -1]].sum(1))
    assert task.legend(array).swatches == {'no measurement': NONE_COLOUR}


def test_a_probability_that_is_not_a_number_is_hatched() -> None:
    task = build_tasks({'saliency': dict(type='SaliencyDetection')}, 'the test')['saliency']
    image, array = plain(1, 2, 100, 100, 100), np.array([[[np.nan, 1.0]]], np.float32)
    assert (task.draw(image, array)[0, 0] == hatch(image)[0, 0]).all()
    assert [*task.legend(array).swatches] == ['no label']
