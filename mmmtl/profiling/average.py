"""The average over the frames of a video model."""

from __future__ import annotations

from collections.abc import Mapping

from mmmtl.models.segmentors.frame_kinds import KEY, NON_KEY

AVERAGE = 'average'
"""The name of the average, beside those of the kinds of frames."""


def average_frame(values: Mapping[str, float], interval: int | None) -> float | None:
    """Return the mean cost of the frames of an interval; None without key frames or a fixed interval.

    Examples:
        >>> average_frame({'key': 50.0, 'non_key': 10.0}, interval=5)
        18.0
    """
    if interval is None or KEY not in values:
        return None
    return (values[KEY] + (interval - 1) * values.get(NON_KEY, 0)) / interval
