"""Disparity: loss, decoding, errors by hand and against mmseg's, the raw values of Cityscapes, camera changes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmseg.evaluation.metrics import DepthMetric
from torch import Tensor

from mmmtl.structures import CameraChange
from mmmtl.tasks import DisparityEstimation
from mmmtl.tasks.colour import NONE_COLOUR, OUTSIDE_COLOUR


def make_task(**kwargs: Any) -> DisparityEstimation:
    return DisparityEstimation(**{'name': 'disparity', **kwargs})


def disparity_map(*values: float) -> Tensor:
    return torch.tensor([[values]], dtype=torch.float32)


def random_maps(seed: int, size: tuple[int, int] = (9, 11)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = 1 + 90 * torch.rand(1, *size, generator=generator)
    prediction = target * torch.exp(0.3 * torch.randn(target.shape, generator=generator))
    target[torch.rand(target.shape, generator=generator) < 0.2] = 0
    return prediction, target


# ---------------------------------------------------------------- units


def test_pixels_stay_pixels() -> None:
    array = np.array([[0.0, 1.5]], dtype=np.float32)
    assert make_task().convert(array) is array


def test_raw_is_the_value_of_the_cityscapes_file() -> None:
    stored = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    pixels = np.where(stored > 0, (stored.astype(np.float32) - 1) / 256, 0).astype(np.float32)

    raw = make_task(unit='raw').convert(pixels)

    assert raw.dtype == np.float32
    expected = stored.astype(np.float32) / np.float32(65535)
    expected.flat[1] = 0  # p = 1 is a disparity of 0, which means none
    np.testing.assert_array_equal(raw, expected)


@pytest.mark.parametrize('unit', ['pixel', 'raw'])
@pytest.mark.parametrize('stored_unit', ['px', 'cityscapes'])
@pytest.mark.parametrize('stored', [-3, -0.001, np.nan])
def test_what_is_no_disparity_is_not_taken_for_none(unit: str, stored: float, stored_unit: str) -> None:
    task = make_task(unit=unit)
    array = task.interpret(np.array([[0, 5, stored]]), 'd.npy', stored_unit)
    with pytest.raises(ValueError, match=r'd\.npy: .*finite and >= 0'):
        task.check(task.convert(array)[..., None], 'd.npy')


# ---------------------------------------------------------------- loss and decoding


def test_loss_by_hand() -> None:
    task = make_task(scale=10.0)
    logits = disparity_map(1.0, 3.0, 5.0, -1.0)[None].requires_grad_()
    loss = task.loss(logits, disparity_map(12.0, 25.0, 0.0, 4.0)[None])

    assert list(loss) == ['loss_l1']
    assert loss['loss_l1'].item() == pytest.approx((2 + 5 + 14) / 3)
    (gradient,) = torch.autograd.grad(loss['loss_l1'], logits)
    torch.testing.assert_close(gradient.flatten(), 10.0 / 3 * torch.tensor([-1.0, 1.0, 0.0, -1.0]))


def test_decode_scales_and_is_never_negative() -> None:
    decoded = make_task(scale=4.0).decode(disparity_map(-3.0, 0.0, 1.25, 99.0)[None])

    assert decoded.dtype == torch.float32
    assert decoded.flatten().tolist() == [0.0, 0.0, 5.0, 396.0]


# ---------------------------------------------------------------- metrics


def test_metrics_by_hand() -> None:
    task = make_task()
    metrics = task.summarize(task.measure(disparity_map(3.0, 8.0, 0.0, 7.0), disparity_map(2.0, 10.0, 4.0, 0.0)))

    assert list(metrics) == ['abs_err', 'rel_err']
    assert metrics == pytest.approx({'abs_err': (1 + 2 + 4) / 3, 'rel_err': (0.5 + 0.2 + 1) / 3}, rel=1e-12)


def test_relative_error_is_that_of_mmseg() -> None:
    task = make_task()
    totals, prediction, target = torch.zeros(3, dtype=torch.float64), [], []
    for seed in range(4):
        p, g = random_maps(seed, (7 + seed, 20))
        totals += task.measure(p, g)
        prediction.append(p[g > 0].double())
        target.append(g[g > 0].double())
    theirs = DepthMetric._calc_all_metrics(torch.cat(target), torch.cat(prediction))

    ours = task.summarize(totals)
    assert ours['rel_err'] == pytest.approx(theirs['abs_rel'], rel=1e-12)
    error = (torch.cat(prediction) - torch.cat(target)).abs().mean().item()
    assert ours['abs_err'] == pytest.approx(error, rel=1e-12)


# ---------------------------------------------------------------- maps


@pytest.mark.parametrize('unit', ['pixel', 'raw'])
def test_a_zoom_multiplies(unit: str) -> None:
    array = np.array([[0.0, 0.2], [0.1, 0.4]], dtype=np.float32)
    adjusted = make_task(unit=unit).adjust(array, CameraChange(depth_ratio=1 / 1.5))

    assert adjusted.dtype == np.float32
    np.testing.assert_allclose(adjusted, [[0.0, 0.3], [0.15, 0.6]], rtol=1e-6)


def test_adjust_takes_a_ratio_per_pixel() -> None:
    array = np.array([[0.0, 2.0], [4.0, 6.0]], dtype=np.float32)
    adjusted = make_task().adjust(array, CameraChange(depth_ratio=np.array([[3.0, 0.5], [1.0, 2.0]])))

    assert adjusted.dtype == np.float32
    np.testing.assert_array_equal(adjusted, [[0.0, 4.0], [4.0, 3.0]])


@pytest.mark.parametrize('value', [-0.5, np.nan, np.inf])
def test_check_refuses_impossible_disparities(value: float) -> None:
    with pytest.raises(ValueError, match=r"d\.png: .*'disparity'.*>= 0"):
        make_task().check(np.array([[1.0, value]], dtype=np.float32), 'd.png')
    make_task().check(np.array([[0.0, 300.0]], dtype=np.float32), 'd.png')


def test_levels_by_hand() -> None:
    # 40 intervals over 6 octaves, 2 to 128 pixels: 1 octave is 6 2/3 of them.
    target = torch.tensor([[[[0.0, 1.0, 2.0, 4.1, 16.1, 127.0, 200.0]]]])
    assert make_task().discretize(target).flatten().tolist() == [255, 0, 0, 6, 20, 39, 39]


def test_constant_is_the_mean_of_all_pixels() -> None:
    maps = [np.array([[1.0, 0.0]], dtype=np.float32), np.array([[4.0], [4.0], [7.0]], dtype=np.float32)]
    constant = make_task().constant(iter(maps))

    assert constant.dtype == np.float32
    assert constant.tolist() == [[[4.0]]]
    with pytest.raises(ValueError, match="task 'disparity'"):
        make_task().constant([np.zeros((2, 2), dtype=np.float32)])


def test_draw_shows_near_bright_and_tells_apart_none_and_beyond() -> None:
    image = np.zeros((1, 4, 3), dtype=np.uint8)
    task = make_task(shown_range=(0, 64))
    panel = task.draw(image, np.array([[[0.0, 16.0, 64.0, 200.0]]], dtype=np.float32))

    scale = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_MAGMA)[0, :, ::-1]
    np.testing.assert_array_equal(panel[0], [NONE_COLOUR, scale[127], scale[255], OUTSIDE_COLOUR])


def test_colour_scale_is_about_the_same_in_both_units() -> None:
    pixel, raw = make_task(), make_task(unit='raw')
    end = raw.convert(np.full((1, 1), pixel.max_disparity, dtype=np.float32))

    assert end[0, 0] == pytest.approx(raw.max_disparity, rel=1e-4)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(unit='metre'), "task 'disparity': unit.*'pixel'.*'raw'.*'metre'"),
        (dict(scale=-1.0), r'scale.*-1\.0'),
    ],
)
def test_impossible_arguments(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**kwargs)
