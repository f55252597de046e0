"""Checks of the arguments of tasks, made once when a task is built."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

SMALLEST, LARGEST = 1e-18, 1e18
"""Limits of numbers other than 0: beyond them float32 rounds products to zero or infinity."""


def check_number(
    task: str,
    key: str,
    value: Any,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    whole: bool = False,
) -> None:
    """Refuse all but finite numbers of at least `least`, above `above` and below `below`; a bool is not a number."""
    number: Any = value
    if isinstance(value, int if whole else Real) and not isinstance(value, bool):
        sane = number == 0 or SMALLEST < abs(number) < LARGEST
        if sane and number >= least and above < number < below:
            return
    limits = [
        f'{word} {limit:g}'
        for word, limit in (('of at least', least), ('above', above), ('below', below))
        if math.isfinite(limit)
    ]
    noun = 'a whole number' if whole else 'a finite number'
    raise ValueError(f'task {task!r}: {key} must be {" ".join([noun, " and ".join(limits)]).strip()}, not {value!r}')


def check_choice(task: str, key: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a value that is not one of some strings."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f'task {task!r}: {key} must be one of {list(choices)}, not {value!r}')


def check_span(
    task: str, key: str, value: Any, *, least: float = -math.inf, above: float = -math.inf, open_ends: bool = False
) -> tuple[Any, Any]:
    """Return two numbers, the first below the second; refuse anything else, and what `check_number` refuses.

    With `open_ends`, None stands for no limit.
    """
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(f'task {task!r}: {key} must be (min, max), not {value!r}')
    limits = [number for number in value if number is not None or not open_ends]
    for number in limits:
        check_number(task, key, number, least=least, above=above)
    if len(limits) == 2 and limits[0] >= limits[1]:
        raise ValueError(f'task {task!r}: {key} needs min < max, not {value!r}')
    return value[0], value[1]


def check_names(task: str, key: str, value: Any) -> None:
    """Refuse a value that is not a list of strings, such as one string."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) and name for name in value):
        raise ValueError(f'task {task!r}: {key} must be a list of names, not {value!r}')
