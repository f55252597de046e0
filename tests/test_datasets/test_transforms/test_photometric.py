"""Colour jitter by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mmmtl.datasets.transforms import ColorJitter
from mmmtl.datasets.transforms.photometric import colour_matrix

BLUE, GREEN, RED = np.eye(3)


def jitter(make_results, scripted, imgs: list[np.ndarray], factors: tuple[float, float, float], hue: float) -> list:
    results = make_results(imgs, {}, rng=scripted(np.array(factors), hue))
    return ColorJitter()(results)['imgs']


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def test_hue_turns_red_to_green_to_blue() -> None:
    turn = colour_matrix(1.0, 120.0)
    assert np.allclose(turn @ RED, GREEN) and np.allclose(turn @ GREEN, BLUE) and np.allclose(turn @ BLUE, RED)
    assert np.allclose(colour_matrix(1.0, 10.0) @ colour_matrix(1.0, -10.0), np.eye(3))
    assert np.allclose(colour_matrix(0.3, 77.0) @ np.ones(3), 1)  # greys stay


def test_saturation_goes_to_grey() -> None:
    assert np.allclose(colour_matrix(0.0, 0.0) @ (10, 20, 60), 30)
    assert np.allclose(colour_matrix(0.5, 0.0) @ (10, 20, 60), (20, 25, 45))


def test_nothing_asked_nothing_changed(make_results, image: np.ndarray) -> None:
    results = make_results([image], {})
    assert np.array_equal(ColorJitter(brightness=0, contrast=0, saturation=0, hue=0)(results)['imgs'][0], image)


def test_formula(make_results, scripted) -> None:
    # Two pixels; their mean is (10 + 20 + 60 + 90 + 90 + 90) / 6 = 60.
    image = np.array([[[10, 20, 60], [90, 90, 90]]], dtype=np.uint8)
    (out,) = jitter(make_results, scripted, [image], (1.2, 0.5, 0.5), 0.0)
    # Saturation: (20, 25, 45); contrast: 60 + (x - 60) / 2 = (40, 42.5, 52.5), 75; brightness 1.2: (48, 51, 63), 90.
    assert out.tolist() == [[[48, 51, 63], [90, 90, 90]]] and out.dtype == np.uint8


def test_values_are_rounded(make_results, scripted) -> None:
    (out,) = jitter(make_results, scripted, [np.array([[[100, 200, 250]]], np.uint8)], (1.007, 1.0, 1.0), 0.0)
    assert out.tolist() == [[[101, 201, 252]]]


def test_values_are_clipped(make_results, scripted) -> None:
    image = np.array([[[0, 128, 255]]], dtype=np.uint8)
    (out,) = jitter(make_results, scripted, [image], (1.0, 3.0, 1.0), 0.0)
    assert out[0, 0, 0] == 0 and out[0, 0, 2] == 255


def test_all_frames_change_alike(make_results, scripted, image: np.ndarray) -> None:
    other = 255 - image
    a, b, c = jitter(make_results, scripted, [image, other, image], (0.9, 1.1, 0.8), 8.0)
    assert np.array_equal(a, c) and not np.array_equal(a, image) and not np.array_equal(a, b)
    # Contrast 0 leaves the mean, that of the current frame for all.
    grey, dark = np.full((2, 2, 3), 100, np.uint8), np.zeros((2, 2, 3), np.uint8)
    first, last = jitter(make_results, scripted, [dark, grey], (1.0, 0.0, 1.0), 0.0)
    assert (first == 100).all() and (last == 100).all()


def test_factors_stay_in_their_limits(make_results) -> None:
    grey = np.full((2, 2, 3), 100, np.uint8)
    values = [
        int(ColorJitter(brightness=0.2)(make_results([grey], {}, rng=np.random.default_rng(i)))['imgs'][0][0, 0, 0])
        for i in range(200)
    ]
    assert 80 <= min(values) < 84 and 116 < max(values) <= 120


@pytest.mark.parametrize('limits', [dict(brightness=3.0), dict(contrast=-0.1), dict(saturation=1.5), dict(hue=-10.0)])
def test_limits_beyond_reason_are_refused(limits: dict[str, float]) -> None:
    (name,) = limits
    with pytest.raises(ValueError, match=f'{name}={limits[name]}'):
        ColorJitter(**limits)
