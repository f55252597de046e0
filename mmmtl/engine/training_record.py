"""What a run was trained with, as plain data in its checkpoints, and how a resumed run differs from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import Runner

PARTS = ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'auto_scale_lr', 'custom_hooks')
"""Keys of a config that decide what training does."""

WITHOUT_EFFECT = (
    *('num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory'),
    *('val_begin', 'val_interval', 'dynamic_intervals'),
    *('init_cfg', 'metainfo'),
)
"""Keys below `PARTS` that change nothing: loading of data, times of validation, and initial weights."""


def training_record(runner: Runner) -> dict[str, Any]:
    """Return {dotted key: plain value} of everything in a run's config that its weights depend on."""
    found = {part: runner.cfg.get(part) for part in PARTS}
    record = dict(_flatten({part: value for part, value in found.items() if value is not None}, ''))
    return {**record, 'randomness.seed': runner.seed, 'number of processes': get_world_size()}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return {key: (before, now)} of what differs between two records; None where one has no such key."""
    return {key: (before.get(key), now.get(key)) for key in {**before, **now} if before.get(key) != now.get(key)}


def _flatten(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name not in WITHOUT_EFFECT:
                yield from _flatten(item, f'{key}.{name}' if key else str(name))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list, tuple)) for item in value):
        for number, item in enumerate(value):
            yield from _flatten(item, f'{key}[{number}]')
    elif isinstance(value, (list, tuple)):
        yield key, [_plain(item) for item in value]
    else:
        yield key, _plain(value)


def _plain(value: Any) -> Any:
    """Return a number or a string; the name of anything else."""
    if isinstance(value, (str, bool, int, float, type(None))):
        return value
    return getattr(value, '__qualname__', type(value).__qualname__)
