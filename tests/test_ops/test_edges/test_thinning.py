"""Thinning: the same pixels as scikit-image's and as the paper's conditions, by hand, and what it keeps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmmtl.ops.edges.thinning import thin


def blobs(seed: int) -> np.ndarray:
    """A random map: noise, or smooth shapes."""
    generator = np.random.default_rng(seed)
    values = generator.random(generator.integers(1, 40, 2))
    if seed % 2:
        values = cv2.GaussianBlur(values, (7, 7), 0).reshape(values.shape)
    return values > np.quantile(values, generator.random())


def parts(mask: np.ndarray, connectivity: int) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)[0] - 1


def by_the_conditions(mask: np.ndarray) -> np.ndarray:
    """G1, G2 and G3 of MATLAB's manual for bwmorph, one pixel after another."""
    mask = np.pad(mask, 1).astype(int)
    while True:
        before = mask.copy()
        for second in (False, True):
            peeled = []
            for i, j in np.argwhere(mask):
                x1, x2, x3 = mask[i, j + 1], mask[i - 1, j + 1], mask[i - 1, j]
                x4, x5, x6 = mask[i - 1, j - 1], mask[i, j - 1], mask[i + 1, j - 1]
                x7, x8 = mask[i + 1, j], mask[i + 1, j + 1]
                around = [x1, x2, x3, x4, x5, x6, x7, x8, x1]
                crossings = sum(not around[k] and (around[k + 1] or around[k + 2]) for k in (0, 2, 4, 6))
                n1 = (x1 or x2) + (x3 or x4) + (x5 or x6) + (x7 or x8)
                n2 = (x2 or x3) + (x4 or x5) + (x6 or x7) + (x8 or x1)
                kept = ((x6 or x7 or not x4) and x5) if second else ((x2 or x3 or not x8) and x1)
                if crossings == 1 and 2 <= min(n1, n2) <= 3 and not kept:
                    peeled.append((i, j))
            for place in peeled:
                mask[place] = 0
        if np.array_equal(mask, before):
            return mask[1:-1, 1:-1].astype(bool)


@pytest.mark.parametrize('seed', range(12))
def test_pixels_are_those_of_the_conditions(seed: int) -> None:
    mask = blobs(seed)
    untouched = mask.copy()

    np.testing.assert_array_equal(thin(mask), by_the_conditions(mask))
    np.testing.assert_array_equal(mask, untouched)


def test_pixels_are_those_of_scikit_image() -> None:
    morphology = pytest.importorskip('skimage.morphology')
    changed = 0
    for seed in range(200):
        mask = blobs(seed)
        thinned = thin(mask)
        np.testing.assert_array_equal(thinned, morphology.thin(mask))
        changed += not np.array_equal(thinned, mask)
    assert changed > 100


def test_lines_and_their_ends_stay() -> None:
    mask = np.zeros((9, 12), dtype=bool)
    mask[1, 2:10] = mask[4:9, 0] = True
    mask[range(3, 8), range(4, 9)] = True

    np.testing.assert_array_equal(thin(mask), mask)


def test_parts_and_holes_stay() -> None:
    for seed in range(1, 40, 2):
        mask = blobs(seed)
        thinned = thin(mask)
        assert not (thinned & ~mask).any()
        assert parts(thinned, 8) == parts(mask, 8)
        assert parts(np.pad(~thinned, 1, constant_values=True), 4) == parts(np.pad(~mask, 1, constant_values=True), 4)
        np.testing.assert_array_equal(thin(thinned), thinned)


def test_empty_and_wrong_maps() -> None:
    assert not thin(np.zeros((3, 4))).any()
    assert thin(np.ones((1, 1))).all()
    with pytest.raises(ValueError, match=r'\(H, W\).*\(3, 4, 3\)'):
        thin(np.ones((3, 4, 3)))
