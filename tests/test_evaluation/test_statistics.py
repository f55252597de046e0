"""Statistics of runs with several seeds, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mmmtl.evaluation.statistics import Difference, judge, paired_difference


def test_the_interval_is_students() -> None:
    # Gaps 1, 2, 3: mean 2, deviation 1, t(0.975; 2) = 4.302653.
    gap = paired_difference({0: 2.0, 1: 4.0, 2: 6.0, 7: 0.0}, {0: 1.0, 1: 2.0, 2: 3.0})
    half = 4.302653 / math.sqrt(3)
    assert (gap.mean, gap.pairs) == (2.0, 3)
    assert (gap.low, gap.high) == pytest.approx((2 - half, 2 + half), rel=1e-6)
    # With two degrees of freedom, P(|T| > x) = 1 - x / sqrt(2 + x ** 2); here x is 2 sqrt(3).
    assert gap.p == pytest.approx(1 - math.sqrt(12 / 14))


@pytest.mark.parametrize(('shift', 'p'), [(1.0, 0.0), (0.0, 1.0)])
def test_equal_gaps(shift: float, p: float) -> None:
    gap = paired_difference({0: 1.0 + shift, 1: 2.0 + shift}, {0: 1.0, 1: 2.0})
    assert (gap.mean, gap.low, gap.high, gap.p) == (shift, shift, shift, p)


def test_one_pair_has_no_interval_and_none_no_difference() -> None:
    gap = paired_difference({0: 2.0}, {0: 1.0})
    assert (gap.mean, gap.low, gap.high, gap.p, gap.pairs) == (1.0, -math.inf, math.inf, 1.0, 1)
    assert paired_difference({0: 2.0}, {1: 1.0}) is None
    assert judge([gap, gap], positive=True) == 'undecided'


@pytest.mark.parametrize(
    ('before', 'end', 'positive', 'verdict'),
    [
        ((1, 2), (1, 3), True, 'held'),
        ((1, 2), (1, 3), False, 'not held'),
        ((-2, -1), (-3, -1), False, 'held'),
        ((-2, -1), (-3, -1), True, 'not held'),
        ((-1, 2), (1, 3), True, 'undecided'),
        ((1, 2), (-1, 3), True, 'undecided'),
        ((1, 2), (-3, -1), True, 'undecided'),
        ((0, 2), (1, 3), True, 'undecided'),
        (None, (1, 3), True, 'undecided'),
    ],
)
def test_a_verdict_needs_both_points(before: Any, end: Any, positive: bool, verdict: str) -> None:
    gaps = [ends and Difference(sum(ends) / 2, *ends, 0.01, 3) for ends in (before, end)]
    assert judge(gaps, positive=positive) == verdict


def test_without_a_point_nothing_is_decided() -> None:
    assert judge([], positive=True) == 'undecided'
