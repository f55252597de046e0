"""The visualiser, which asks every task to draw."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmengine.visualization import Visualizer

from mmmtl.registry import VISUALIZERS
from mmmtl.structures import MultiTaskDataSample
from mmmtl.tasks.colour import MAGMA, hatch
from mmmtl.visualization import MultiTaskVisualizer
from mmmtl.visualization.panels import GAP
from mmmtl.visualization.text import BLUE

TASKS = {
    'semseg': dict(type='SemanticSegmentation', classes=['a', 'b'], palette=[[200, 0, 0], [0, 100, 0]]),
    'depth': dict(type='DepthEstimation', max_depth=4.0),
}
HEIGHT, WIDTH, LINE = 240, 240, 18
IMAGE = np.full((HEIGHT, WIDTH, 3), 100, dtype=np.uint8)


@pytest.fixture
def visualizer(tmp_path: Path) -> Visualizer:
    visualizer = MultiTaskVisualizer('test', vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path))
    visualizer.dataset_meta = {'tasks': TASKS}
    return visualizer


def tile(panel: np.ndarray, column: int) -> np.ndarray:
    """A picture of the first row."""
    left = column * (WIDTH + GAP)
    return panel[LINE : LINE + HEIGHT, left : left + WIDTH]


def make_sample(gt: bool = True, pred: bool = True) -> MultiTaskDataSample:
    sample = MultiTaskDataSample()
    if gt:
        sample.gt = PixelData(semseg=torch.zeros(1, HEIGHT, WIDTH, dtype=torch.int64))
    if pred:
        sample.pred = PixelData(
            semseg=torch.ones(1, HEIGHT, WIDTH, dtype=torch.int64), depth=torch.full((1, HEIGHT, WIDTH), 4.0)
        )
    return sample


def test_labels_stand_above_predictions(visualizer: MultiTaskVisualizer) -> None:
    panel = visualizer.draw_sample(IMAGE, make_sample())

    assert panel.shape[1] == 3 * WIDTH + 2 * GAP
    assert (tile(panel, 0) == 100).all() and (tile(panel, 1) == (170, 30, 30)).all(), 'the first class'
    assert (tile(panel, 2) == hatch(IMAGE)).all(), 'depth has no label'
    lower = panel[len(visualizer.draw_sample(IMAGE, make_sample(), draw_pred=False)) :]
    assert (tile(lower, 0) == 100).all() and (tile(lower, 1) == (30, 100, 30)).all(), 'the second class'
    assert (tile(lower, 2) == MAGMA[-1]).all(), 'the nearest of all depths'


def test_the_title_names_video_frame_and_key_frame(visualizer: MultiTaskVisualizer) -> None:
    plain = visualizer.draw_sample(IMAGE, make_sample())
    kinds = (dict(is_key_frame=True), True), (dict(is_key_frame=False), False), (dict(offset=0), True)
    for key, marked in (*kinds, (dict(offset=2), False)):
        sample = make_sample()
        sample.set_metainfo(dict(video='drive', time=7, **key))
        panel = visualizer.draw_sample(IMAGE, sample)
        assert (panel[LINE:] == plain).all()
        assert (panel[0] == BLUE).all() == marked


@pytest.mark.parametrize(('gt', 'pred'), [(True, False), (False, True), (False, False)])
def test_a_row_without_maps_is_left_out(visualizer: MultiTaskVisualizer, gt: bool, pred: bool) -> None:
    panel = visualizer.draw_sample(IMAGE, make_sample(gt, pred))

    assert panel.shape[1] == (3 * WIDTH + 2 * GAP if gt or pred else WIDTH)
    assert LINE + HEIGHT <= len(panel) < 2 * (LINE + HEIGHT)
    assert (visualizer.draw_sample(IMAGE, make_sample(), draw_gt=gt, draw_pred=pred) == panel).all()


def test_an_image_whose_labels_are_all_missing_has_no_row_for_them(visualizer: MultiTaskVisualizer) -> None:
    sample = make_sample()
    sample.gt = PixelData()

    assert np.array_equal(visualizer.draw_sample(IMAGE, sample), visualizer.draw_sample(IMAGE, make_sample(gt=False)))


def test_it_hands_samples_to_its_backends(visualizer: MultiTaskVisualizer, tmp_path: Path) -> None:
    visualizer.add_datasample('val_000007', IMAGE, make_sample(), draw_gt=False, step=3)

    (path,) = tmp_path.rglob('*.png')
    written = cv2.imread(str(path))[..., ::-1]
    assert path.name == 'val_000007_3.png'
    assert (written == visualizer.draw_sample(IMAGE, make_sample(), draw_gt=False)).all()


def test_it_is_built_from_a_config_and_needs_tasks(tmp_path: Path) -> None:
    visualizer = VISUALIZERS.build(dict(type='MultiTaskVisualizer', name='unresolved', save_dir=str(tmp_path)))

    with pytest.raises(ValueError, match=r'the visualiser.*resolve\(cfg\)'):
        visualizer.draw_sample(IMAGE, make_sample())
