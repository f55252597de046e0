"""Non-maximum suppression: ridges with a known centre, and the definition, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import correlate1d

from mmmtl.ops.edges.nms import edge_nms

INSIDE = np.s_[5:-5, 5:-5]


def ridge(angle: float, offset: float = 0.0, size: int = 41) -> tuple[np.ndarray, np.ndarray]:
    """A straight edge, blurred, and the distance of each pixel from it; `angle` across it, x to y, in degrees."""
    y, x = np.mgrid[:size, :size] - size // 2
    distance = x * math.cos(math.radians(angle)) + y * math.sin(math.radians(angle)) - offset
    return 0.8 * np.exp(-(distance**2) / 8), distance


@pytest.mark.parametrize('angle', [0, 90])
@pytest.mark.parametrize('offset', [0.0, 0.3, -0.4])
def test_one_row_of_an_axis_aligned_ridge_stays(angle: int, offset: float) -> None:
    strength, distance = ridge(angle, offset)
    kept = edge_nms(strength)

    np.testing.assert_array_equal(kept[INSIDE] > 0, abs(distance[INSIDE]) < 0.5)
    np.testing.assert_array_equal(kept[INSIDE][kept[INSIDE] > 0], strength[INSIDE][kept[INSIDE] > 0])


@pytest.mark.parametrize('angle', [20, 45, 70, 110, 135, 160])
def test_the_centre_of_a_ridge_stays(angle: int) -> None:
    strength, distance = ridge(angle)
    kept = edge_nms(strength)[INSIDE] > 0

    assert kept[abs(distance[INSIDE]) < 0.3].all()
    assert not kept[abs(distance[INSIDE]) > 0.8].any()


def test_equals_stay_and_lesser_ones_go_by_the_margin() -> None:
    strength = np.zeros((21, 21))
    strength[:, 10:12] = (0.5, 0.504)
    assert (edge_nms(strength)[INSIDE] > 0).sum() == 2 * 11
    strength[:, 10:12] = (0.5, 0.506)
    assert (edge_nms(strength)[INSIDE] > 0).sum() == 11


def test_strength_fades_towards_the_border() -> None:
    strength = np.zeros((21, 31))
    strength[:, 15] = 0.5
    column = edge_nms(strength)[:, 15]

    np.testing.assert_allclose(column[:7], 0.5 * np.array([0, 0.2, 0.4, 0.6, 0.8, 1, 1]), rtol=1e-15)
    np.testing.assert_array_equal(column, column[::-1])


def by_the_definition(strength: np.ndarray) -> np.ndarray:
    """The formulas of `edge_nms` with SciPy's filter and one pixel after another."""
    height, width = strength.shape
    weights = np.convolve(np.ones(5), np.ones(5)) / 25
    smooth = correlate1d(correlate1d(strength, weights, axis=0, mode='reflect'), weights, axis=1, mode='reflect')
    (ey, ex) = np.gradient(smooth)
    (exx, eyy, exy) = (np.gradient(ex)[1], np.gradient(ey)[0], np.gradient(ey)[1])
    out = np.zeros_like(strength)
    for i in range(height):
        for j in range(width):
            angle = math.atan(eyy[i, j] * np.sign(-exy[i, j]) / (exx[i, j] + 1e-5)) % math.pi
            stronger = False
            for side in (-1, 1):
                x = min(max(j + side * math.cos(angle), 0), width - 1.0)
                y = min(max(i + side * math.sin(angle), 0), height - 1.0)
                value = sum(
                    max(0, 1 - abs(y - row)) * max(0, 1 - abs(x - column)) * strength[row, column]
                    for row in (math.floor(y), min(math.floor(y) + 1, height - 1))
                    for column in (math.floor(x), min(math.floor(x) + 1, width - 1))
                )
                stronger |= 1.01 * strength[i, j] < value
            fade = min(1, i / 5, (height - 1 - i) / 5) * min(1, j / 5, (width - 1 - j) / 5)
            out[i, j] = 0 if stronger else fade * strength[i, j]
    return out


@pytest.mark.parametrize('seed', range(3))
def test_pixels_are_those_of_the_definition(seed: int) -> None:
    generator = np.random.default_rng(seed)
    strength = correlate1d(correlate1d(generator.random((24, 33)), np.ones(5) / 5, axis=0), np.ones(5) / 5, axis=1)
    kept, expected = edge_nms(strength), by_the_definition(strength)

    # Inside, where no sample is moved to the border.
    np.testing.assert_allclose(kept[1:-1, 1:-1], expected[1:-1, 1:-1], rtol=1e-12, atol=1e-15)
    assert 40 < (kept > 0).sum() < 0.6 * kept.size
    assert not kept[[0, -1]].any() and not kept[:, [0, -1]].any()


def test_maps_that_have_no_ridges() -> None:
    assert not edge_nms(np.zeros((7, 8))).any()
    # Equal neighbours do not suppress one another.
    assert (edge_nms(np.full((30, 30), 0.3, dtype=np.float32))[INSIDE] == np.float32(0.3)).all()


@pytest.mark.parametrize('shape', [(1, 8), (4, 8, 3)])
def test_maps_of_a_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r'2x2.*\('):
        edge_nms(np.zeros(shape))
