"""The legend of a picture: named colours, a scale, a ball of normals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mmmtl.structures import Array

Colour = tuple[int, int, int]
Span = tuple[float, float]
"""The minimum and the maximum on a scale."""


@dataclass(frozen=True)
class Scale:
    """The scale of a picture of numbers.

    Args:
        span: the values at its ends.
        unit: unit of the values; may be empty.
        colours: (N, 3) uint8 RGB, evenly spaced from end to end.
        position: returns where values stand on it, 0 to 1.
    """

    span: Span
    unit: str
    colours: Array
    position: Callable[[Array], Array]


@dataclass(frozen=True)
class Legend:
    """The legend of a picture.

    Args:
        swatches: {name: RGB colour} of what occurs, the largest area first; None is hatched, as pixels without a label.
        possible: every name that `swatches` may have, so that a video can keep room for them.
        scale: scale of numbers.
        ball: (n, n, 3) uint8 RGB, a ball as the picture draws it, for directions.
        notes: lines of text beside the ball.
    """

    swatches: Mapping[str, Colour | None] = field(default_factory=dict)
    possible: Sequence[str] = ()
    scale: Scale | None = None
    ball: Array | None = None
    notes: Sequence[str] = ()
