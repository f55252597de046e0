"""What a test on whole videos has cost, from the frames that there were."""

from __future__ import annotations

from collections.abc import Mapping

from mmmtl.models import MultiTaskSegmentor

from .cost import count_cost
from .frame_kinds import IMAGE, KEY, NON_KEY


def average_macs(model: MultiTaskSegmentor, frames: Mapping[tuple[int, int, bool], int]) -> float:
    """MACs per frame, averaged over frames, each counted as one of its kind in the steady state.

    Args:
        model: see `count_cost`; `build_on_meta` makes it cheap.
        frames: how many there were of each (height, width, key frame or not), as `StreamTestLoop.frames`.
    """
    costs = {shape: count_cost(model, shape).total().macs for shape in {(height, width) for height, width, _ in frames}}
    total = 0
    for (height, width, is_key), number in frames.items():
        macs = costs[height, width]
        kind = IMAGE if IMAGE in macs else KEY if is_key else NON_KEY
        total += number * macs[kind]
    return total / sum(frames.values())
