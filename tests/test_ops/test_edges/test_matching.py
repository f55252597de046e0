"""Matching of boundaries: by hand, against exhaustive search and against the benchmark's least-cost assignment."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from mmmtl.ops.edges.matching import count_pairs, reachable_pixels


def pairs(prediction: np.ndarray, label: np.ndarray, distance: float) -> int:
    return count_pairs(reachable_pixels(prediction, label, distance))


def pixels(*places: tuple[int, int], size: tuple[int, int] = (20, 30)) -> np.ndarray:
    """A map with these pixels, (row, column)."""
    mask = np.zeros(size, dtype=bool)
    mask[tuple(zip(*places, strict=True))] = True
    return mask


def distances(prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.argwhere(prediction)[:, None] - np.argwhere(label)[None], axis=-1)


def benchmark_pairs(prediction: np.ndarray, label: np.ndarray, distance: float) -> int:
    """The Berkeley benchmark's assignment with all edges to outliers, where it draws six of them for each pixel."""
    apart = distances(prediction, label)
    height, width = apart.shape
    cost = np.full((height + width, width + height), 100 * distance)
    cost[:height, :width] = np.where(apart <= distance, apart, 1e9)
    rows, columns = linear_sum_assignment(cost)
    assert cost[rows, columns].max() < 1e9
    return int(((rows < height) & (columns < width)).sum())


def random_maps(seed: int, size: tuple[int, int], density: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.random(size) < density, generator.random(size) < density


@pytest.mark.parametrize(('apart', 'expected'), [(0, 12), (3, 12), (4, 0)])
def test_parallel_lines(apart: int, expected: int) -> None:
    label, prediction = np.zeros((2, 20, 30), dtype=bool)
    label[4:16, 10], prediction[4:16, 10 + apart] = True, True

    assert pairs(prediction, label, 3.0) == expected
    assert pairs(prediction.T, label.T, 3.0) == expected


@pytest.mark.parametrize(
    ('place', 'distance', 'expected'),
    [((13, 14), 5.0, 1), ((13, 14), 4.99, 0), ((14, 14), 5.6, 0), ((14, 14), 5.66, 1), ((10, 15), 5.0, 1)],
)
def test_distance_is_euclidean_and_inclusive(place: tuple[int, int], distance: float, expected: int) -> None:
    assert pairs(pixels(place), pixels((10, 10)), distance) == expected


def test_a_pixel_has_one_partner() -> None:
    label, prediction = pixels((10, 10)), pixels((9, 10), (11, 10))

    assert pairs(prediction, label, 2.0) == pairs(label, prediction, 2.0) == 1


def test_partners_change_to_make_room() -> None:
    # Each pixel has two candidates but the last, which a greedy choice of the nearest would leave alone.
    label, prediction = pixels((5, 5), (5, 8), (5, 11)), pixels((5, 7), (5, 10), (5, 13))

    assert pairs(prediction, label, 2.0) == 3
    assert pairs(prediction | pixels((5, 4)), label, 2.0) == 3


def test_neither_borders_nor_rows_are_crossed() -> None:
    # The end of a row and the begin of the next lie side by side in memory.
    assert pairs(pixels((4, 29)), pixels((5, 0)), 3.0) == 0
    assert pairs(pixels((0, 0)), pixels((19, 29)), 3.0) == 0
    assert pairs(pixels((0, 29), (19, 0)), pixels((1, 29), (19, 1)), 1.0) == 2


def test_empty_maps() -> None:
    empty, full = np.zeros((4, 5), dtype=bool), np.ones((4, 5), dtype=bool)

    assert pairs(empty, empty, 2.0) == pairs(empty, full, 2.0) == pairs(full, empty, 2.0) == 0
    assert pairs(full, full, 0.0) == 20


def test_maps_of_one_size() -> None:
    with pytest.raises(ValueError, match=r'\(4, 5\).*\(4, 6\)'):
        reachable_pixels(np.ones((4, 5), dtype=bool), np.ones((4, 6), dtype=bool), 1.0)


@pytest.mark.parametrize('seed', range(10))
def test_reachable_pixels_are_those_within_the_distance(seed: int) -> None:
    prediction, label = random_maps(seed, (9, 13), 0.3)
    for distance in (0.0, 1.0, 1.5, 2.9, 20.0):
        expected = distances(prediction, label) <= distance
        np.testing.assert_array_equal(reachable_pixels(prediction, label, distance).toarray(), expected)


@pytest.mark.parametrize('seed', range(20))
def test_exhaustive_search_finds_no_more(seed: int) -> None:
    generator = np.random.default_rng(seed)
    prediction, label = np.zeros((2, 5, 5), dtype=bool)
    for mask in (prediction, label):
        mask.reshape(-1)[generator.choice(25, size=6, replace=False)] = True
    near = distances(prediction, label) <= 1.5
    most = max(sum(near[row, column] for row, column in enumerate(order)) for order in permutations(range(6)))

    assert pairs(prediction, label, 1.5) == most


@pytest.mark.parametrize('density', [0.05, 0.2, 0.5])
def test_counts_are_those_of_the_benchmark(density: float) -> None:
    found = set()
    for seed in range(15):
        prediction, label = random_maps(seed, (13, 16), density)
        for distance in (1.0, 1.5, 2.3):
            found.add(pairs(prediction, label, distance))
            assert pairs(prediction, label, distance) == benchmark_pairs(prediction, label, distance)
    assert len(found) > 5


def test_the_benchmark_goes_without_a_pair_that_moves_a_long_line() -> None:
    label, prediction = np.zeros((2, 1, 300), dtype=bool)
    label[0, :250], prediction[0, 1:251] = True, True

    # 249 pairs at no distance, or 250 pairs one apart: 250 is more than 100.
    assert pairs(prediction, label, 1.0) == 250
    assert benchmark_pairs(prediction, label, 1.0) == 249
    label[0, 90:] = prediction[0, 91:] = False
    assert pairs(prediction, label, 1.0) == benchmark_pairs(prediction, label, 1.0) == 90
