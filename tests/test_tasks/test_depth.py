"""Depth: loss, decoding, the usual errors by hand and against mmseg's, camera changes, and errors."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import torch
from mmseg.evaluation.metrics import DepthMetric
from torch import Tensor

from mmmtl.structures import CameraChange
from mmmtl.tasks import DepthEstimation
from mmmtl.tasks.colour import NONE_COLOUR, OUTSIDE_COLOUR

LN2 = math.log(2)


def make_task(**kwargs: Any) -> DepthEstimation:
    return DepthEstimation(**{'name': 'depth', 'max_depth': 10.0, **kwargs})


def depth_map(*values: float) -> Tensor:
    return torch.tensor([[values]], dtype=torch.float32)


def random_maps(seed: int, size: tuple[int, int] = (9, 11)) -> tuple[Tensor, Tensor]:
    """(prediction, target) in metres; some of the target has no measurement and some lies beyond 10 m."""
    generator = torch.Generator().manual_seed(seed)
    target = 0.5 + 11 * torch.rand(1, *size, generator=generator)
    prediction = (target * torch.exp(0.4 * torch.randn(target.shape, generator=generator))).clamp(1e-3, 10)
    target[torch.rand(target.shape, generator=generator) < 0.2] = 0
    return prediction, target


# ---------------------------------------------------------------- loss and decoding


def test_loss_by_hand() -> None:
    task = make_task(scale=2.0)
    logits = depth_map(1.0, 3.0, 5.0, -1.0, 100.0)[None].requires_grad_()
    target = depth_map(2.5, 5.0, 0.0, 10.0, 10.5)[None]  # the third is not measured, the last too far

    loss = task.loss(logits, target)

    assert list(loss) == ['loss_l1']
    assert loss['loss_l1'].item() == pytest.approx((0.5 + 1.0 + 12.0) / 3)
    (gradient,) = torch.autograd.grad(loss['loss_l1'], logits)
    torch.testing.assert_close(gradient.flatten(), 2.0 / 3 * torch.tensor([-1.0, 1.0, 0.0, -1.0, 0.0]))


def test_range_is_open_below_and_closed_above() -> None:
    task = make_task(min_depth=0.5)
    target = depth_map(0.0, 0.5, np.nextafter(np.float32(0.5), np.float32(1)), 10.0, np.nextafter(np.float32(10), 11))

    assert task.valid(target).flatten().tolist() == [False, False, True, True, False]


def test_decode_scales_and_clamps() -> None:
    decoded = make_task(scale=4.0, min_depth=0.5).decode(depth_map(-3.0, 0.1, 1.25, 2.5, 99.0)[None])

    assert decoded.dtype == torch.float32
    assert decoded.flatten().tolist() == [0.5, 0.5, 5.0, 10.0, 10.0]


# ---------------------------------------------------------------- levels


def test_levels_are_those_of_atrc_by_hand() -> None:
    """floor(40 log(d / 0.7) / log(10 / 0.7)), the ends included, nothing beyond the range."""
    task = make_task()
    depths = [0.0, 0.1, 0.69, 0.71, 1.0, 2.65, 5.0, 9.34, 9.36, 10.0, 10.5]
    levels = task.discretize(depth_map(*depths)[None])

    assert levels.flatten().tolist() == [255, 0, 0, 0, 5, 20, 29, 38, 39, 39, 255]
    by_formula = [min(max(math.floor(40 * math.log(d / 0.7) / math.log(10 / 0.7)), 0), 39) for d in depths[1:-1]]
    assert levels.flatten().tolist()[1:-1] == by_formula


def test_levels_of_another_range() -> None:
    task = make_task(label_range=(2.0, 2.0 * 2**40))
    # One octave each; a level includes where it begins.
    levels = task.discretize(depth_map(1.0, 2.0, 3.99, 4.0, 8.0, 10.0)[None])

    assert task.label_space_size == 40
    assert levels.flatten().tolist() == [0, 0, 0, 1, 2, 2]


# ---------------------------------------------------------------- metrics


def test_metrics_by_hand() -> None:
    task = make_task()
    # Ratios 2, 1.25 (not below the first threshold), 1.5, 1; the last three pixels do not count.
    prediction = depth_map(1.0, 5.0, 3.0, 8.0, 5.0, 10.0, 7.0)
    target = depth_map(2.0, 4.0, 2.0, 8.0, 0.0, 10.5, 1e-3)

    metrics = task.summarize(task.measure(prediction, target))

    logs = [LN2, math.log(1.25), math.log(1.5), 0]
    expected = {
        'abs_err': (1 + 1 + 1 + 0) / 4,
        'rel_err': (1 / 2 + 1 / 4 + 1 / 2 + 0) / 4,
        'rmse': math.sqrt(3 / 4),
        'rmse_log': math.sqrt(sum(x * x for x in logs) / 4),
        'delta1': 25.0,
        'delta2': 75.0,
        'delta3': 75.0,
    }
    assert list(metrics) == list(expected)
    assert metrics == pytest.approx(expected, rel=1e-12)


def test_deltas_are_strict_percentages() -> None:
    task = make_task()
    # 1.25, 1.5625 and 1.953125 are exact in binary: none is below its own threshold.
    metrics = task.summarize(task.measure(depth_map(1.25, 1.5625, 1.953125, 1.0), depth_map(1.0, 1.0, 1.0, 1.0)))

    assert [metrics[f'delta{i}'] for i in (1, 2, 3)] == [25.0, 50.0, 75.0]


def test_a_prediction_of_nothing_has_the_logarithm_of_a_nanometre() -> None:
    task = make_task(prediction_range=(None, None))
    metrics = task.summarize(task.measure(depth_map(0.0, -2.0), depth_map(1.0, 1.0)))

    assert metrics['rmse_log'] == pytest.approx(9 * math.log(10))
    assert metrics['abs_err'] == 2.0 and metrics['delta3'] == 0


def test_metrics_are_those_of_mmseg() -> None:
    task = make_task()
    totals, prediction, target = torch.zeros(8, dtype=torch.float64), [], []
    for seed in range(5):
        p, g = random_maps(seed, (7 + seed, 20))
        totals += task.measure(p, g)
        keep = (g > 1e-3) & (g <= 10)
        prediction.append(p[keep].double())
        target.append(g[keep].double())
    theirs = DepthMetric._calc_all_metrics(torch.cat(target), torch.cat(prediction))

    ours = task.summarize(totals)
    assert ours['rel_err'] == pytest.approx(theirs['abs_rel'], rel=1e-12)
    assert ours['rmse'] == pytest.approx(theirs['rmse'], rel=1e-12)
    assert ours['rmse_log'] == pytest.approx(theirs['rmse_log'], rel=1e-12)
    for i in (1, 2, 3):
        assert ours[f'delta{i}'] == pytest.approx(100 * theirs[f'd{i}'], rel=1e-6)  # mmseg divides in float32
    error = (torch.cat(prediction) - torch.cat(target)).abs().mean().item()
    assert ours['abs_err'] == pytest.approx(error, rel=1e-12)


def test_pixels_count_alike_in_every_image() -> None:
    task = make_task()
    totals = task.measure(depth_map(3.0), depth_map(2.0)) + task.measure(depth_map(*[5.0] * 3), depth_map(*[5.0] * 3))

    assert task.summarize(totals)['abs_err'] == 0.25


# ---------------------------------------------------------------- maps


def test_adjust_multiplies_by_the_ratio() -> None:
    array = np.array([[0.0, 2.0], [4.0, 6.0]], dtype=np.float32)
    adjusted = make_task().adjust(array, CameraChange(depth_ratio=1 / 1.25))

    assert adjusted.dtype == np.float32
    np.testing.assert_allclose(adjusted, [[0.0, 1.6], [3.2, 4.8]], rtol=1e-6)
    np.testing.assert_array_equal(array, [[0.0, 2.0], [4.0, 6.0]])


def test_adjust_takes_a_ratio_per_pixel() -> None:
    array = np.array([[0.0, 2.0], [4.0, 6.0]], dtype=np.float32)
    adjusted = make_task().adjust(array, CameraChange(depth_ratio=np.array([[3.0, 0.5], [1.0, 2.0]])))

    assert adjusted.dtype == np.float32
    np.testing.assert_array_equal(adjusted, [[0.0, 1.0], [4.0, 12.0]])


def test_a_mirror_and_a_roll_leave_depth_alone() -> None:
    array = np.array([[0.0, 2.5]], dtype=np.float32)
    np.testing.assert_array_equal(make_task().adjust(array, CameraChange(linear=np.diag([-1.0, 1, 1]))), array)


@pytest.mark.parametrize('value', [-0.5, np.nan, np.inf])
def test_check_refuses_impossible_depths(value: float) -> None:
    with pytest.raises(ValueError, match=r"d/000001\.png: .*'depth'.*>= 0"):
        make_task().check(np.array([[1.0, value]], dtype=np.float32), 'd/000001.png')


def test_check_refuses_millimetres() -> None:
    with pytest.raises(ValueError, match=r'd\.png: .*max_depth=10\.0\D.*850\.0.*metres'):
        make_task().check(np.array([[0.0, 850.0], [4200.0, 3100.0]], dtype=np.float32), 'd.png')


@pytest.mark.parametrize('values', [[0.0, 0.0], [0.0, 12.0], [655.0, 3.0], [99.0, 60.0]])
def test_check_accepts_far_and_unmeasured_pixels(values: list[float]) -> None:
    # A crop may have no depth within the range; training must not stop for it.
    make_task().check(np.array([values], dtype=np.float32), 'd.png')


def test_constant_is_the_mean_of_all_pixels() -> None:
    maps = [np.array([[1.0, 0.0, 11.0]], dtype=np.float32), np.array([[4.0], [4.0], [7.0]], dtype=np.float32)]
    constant = make_task().constant(iter(maps))

    assert constant.dtype == np.float32
    assert constant.tolist() == [[[4.0]]]


@pytest.mark.parametrize('maps', [[], [np.zeros((2, 2), dtype=np.float32)]], ids=['no map', 'no depth'])
def test_constant_needs_a_measurement(maps: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="task 'depth'"):
        make_task().constant(maps)


def test_draw_shows_near_bright_and_tells_apart_none_and_beyond() -> None:
    image = np.zeros((1, 5, 3), dtype=np.uint8)
    panel = make_task().draw(image, np.array([[[0.0, 0.1, 2.5, 10.0, 40.0]]], dtype=np.float32), (0.0, 10.0))

    # sqrt(2.5 / 10) is half of the scale: level 128 of 255.
    scale = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_MAGMA)[0, :, ::-1]
    assert panel.dtype == np.uint8
    np.testing.assert_array_equal(panel[0], [NONE_COLOUR, scale[230], scale[128], scale[0], OUTSIDE_COLOUR])


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(max_depth=0.0), r"task 'depth': .*min_depth < max_depth.*0\.001\D+0\.0"),
        (dict(min_depth=0.0), r'\b0\.0\D+10\.0'),
        (dict(min_depth=10.0), r'\b10\.0\D+10\.0'),
        (dict(scale=0.0), r'scale.*\b0\.0'),
        (dict(prediction_range=(1.0,)), r'prediction_range.*min, max'),
        (dict(prediction_range=(2.0, 1.0)), r"task 'depth': prediction_range.*\(2\.0, 1\.0\)"),
        (dict(label_range=(5.0, 5.0)), r"task 'depth': label_range.*\(5\.0, 5\.0\)"),
        (dict(label_range=(0.0, 5.0)), r"task 'depth': label_range.*above 0.*\b0\.0"),
        (dict(prediction_range=(None, 'far')), r"prediction_range.*'far'"),
    ],
)
def test_impossible_arguments(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**kwargs)


def test_a_kind_of_depth_may_know_more_units() -> None:
    class Imperial(DepthEstimation):
        steps: ClassVar[dict[str, float]] = {**DepthEstimation.steps, 'inch': 1 / 0.0254}
        units = tuple(steps)

    stored = np.full((2, 3), 100, np.uint16)
    assert np.allclose(Imperial(name='depth', max_depth=10.0).interpret(stored, 'a.png', 'inch'), 2.54)
