"""The shape of checkpoints: what each part that something reads must look like."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

BEST = re.compile(r'best_[^/\\]+\.pth')
"""Names of a run's best checkpoints."""

MAX_COUNT = 10**8
"""The most epochs and iterations; schedules are replayed to them step by step."""

Kind = tuple[str, Callable[[Any], bool]]
"""A description for error messages, and the test of a value."""


def _has_names(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) for name in value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def _is_place(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value)) and value[0] <= value[1]


def _is_log(value: Any) -> bool:
    """Return whether this is [history, counts, most entries]: numbers, and as many in both lists."""
    if not isinstance(value, list) or len(value) != 3 or not _is_count(value[2]):
        return False
    history, counts, _ = value
    return (
        isinstance(history, list)
        and isinstance(counts, list)
        and len(history) == len(counts)
        and {type(number) for number in (*history, *counts)} <= {int, float}
    )


def _are_schedulers(value: Any) -> bool:
    """Return whether these are the states of schedulers: a list, or a dict of lists for several optimisers."""
    lists = value.values() if _has_names(value) else [value]
    return all(isinstance(some, list) and all(map(_has_names, some)) for some in lists)


def _list_of(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, (list, tuple)) and all(map(test, value))


def _or_none(kind: Kind) -> Kind:
    return f'{kind[0]} or None', lambda value: value is None or kind[1](value)


NAMES: Kind = 'a dict with names as keys', _has_names
COUNT: Kind = f'a whole number from 0 to {MAX_COUNT}', _is_count

# mmengine deletes the files that the message hub names or numbers.
SHAPE: Mapping[str, Kind] = {
    'state_dict': ('a dict', lambda value: isinstance(value, dict)),
    'ema_state_dict': NAMES,
    'param_schedulers': ('a list of dicts, or a dict of such lists', _are_schedulers),
    'meta': NAMES,
    'meta.dataset_meta': _or_none(NAMES),
    'meta.dataset_meta.tasks': _or_none(NAMES),
    'meta.task_order': _or_none(('a list of names', _list_of(lambda name: isinstance(name, str)))),
    'meta.epoch': COUNT,
    'meta.iter': COUNT,
    'meta.seed': _or_none(('a whole number from 0 to 2**32 - 1', lambda n: type(n) is int and 0 <= n < 2**32)),
    'meta.batches_of_epoch': ('two whole numbers, the batches that are done and all', _is_place),
    'meta.trained_with': _or_none(NAMES),
    'message_hub': NAMES,
    'message_hub.log_scalars': NAMES,
    'message_hub.log_scalars.*': ('[history, counts, most entries]', _is_log),
    'message_hub.resumed_keys': NAMES,
    'message_hub.runtime_info': NAMES,
    'message_hub.runtime_info.best_ckpt*': _or_none(
        ('the path of a best_*.pth', lambda path: isinstance(path, str) and bool(BEST.fullmatch(Path(path).name)))
    ),
    'message_hub.runtime_info.keep_ckpt_ids': _or_none(('a list of whole numbers', _list_of(_is_count))),
    'message_hub.runtime_info.replaced_ckpts': (
        'a list of names best_*.pth',
        _list_of(lambda name: isinstance(name, str) and bool(BEST.fullmatch(name))),
    ),
}
"""{path of a part, where * stands for any letters: what it must be}; parts that are missing are not missed here."""


def check_shape(checkpoint: Mapping[str, Any], name: str) -> None:
    """Raise a ValueError if a part of the checkpoint in the file `name` is not what `SHAPE` says."""
    for path, (expected, fits) in SHAPE.items():
        *parents, pattern = path.split('.')
        place: Any = checkpoint
        for parent in parents:
            place = place.get(parent) or {}
        for key, value in place.items():
            if isinstance(key, str) and fnmatchcase(key, pattern) and not fits(value):
                where = '.'.join((*parents, key))
                raise ValueError(
                    f"{name}: the checkpoint's {where} must be {expected}, not {reprlib.repr(value)}; use another one"
                )
