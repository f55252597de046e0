"""Statistics of runs with several seeds: spread, paired differences, and whether they support an order."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import t as student

Verdict = Literal['held', 'not held', 'undecided']

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """The mean difference of pairs, with the interval that contains the true one with 95 % confidence.

    `p` is the probability that chance alone brings the mean at least this far from zero. For fewer than two pairs,
    `low` and `high` are infinite and `p` is 1.
    """

    mean: float
    low: float
    high: float
    p: float
    pairs: int


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Return mean and sample standard deviation; None instead of that of a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Return ours minus theirs over the seeds that both have, by Student's t; None without such a seed.

    Examples:
        >>> paired_difference({0: 1.0, 1: 3.0}, {0: 0.0, 1: 1.0, 2: 9.0}).mean
        1.5
    """
    gaps = [ours[seed] - theirs[seed] for seed in sorted(set(ours) & set(theirs))]
    if not gaps:
        return None
    mean, deviation = spread(gaps)
    if deviation is None:
        return Difference(mean, -math.inf, math.inf, 1.0, len(gaps))
    error = deviation / math.sqrt(len(gaps))
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(gaps) - 1)) * error
    p = 2 * float(student.sf(abs(mean) / error, len(gaps) - 1)) if error else float(mean == 0)
    return Difference(mean, mean - half, mean + half, p, len(gaps))


def judge(differences: Sequence[Difference | None], *, positive: bool) -> Verdict:
    """Return whether differences have a sign, at every one of the points at which they were measured.

    'held' means that every interval lies on the expected side of zero, 'not held' that every one lies on the other.

    Args:
        differences: differences of one pair of methods, such as those after two thirds of the training and at its end.
        positive: whether the expected differences are.
    """
    if not differences or any(difference is None for difference in differences):
        return 'undecided'
    above = all(difference.low > 0 for difference in differences if difference is not None)
    below = all(difference.high < 0 for difference in differences if difference is not None)
    if not above and not below:
        return 'undecided'
    return 'held' if above == positive else 'not held'
