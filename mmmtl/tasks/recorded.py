"""Tasks as a checkpoint records them: plain data from a file, compared with the tasks of a model."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmmtl.registry import TASKS, parameters_of

from .base import Task
from .build import build_tasks

PLAIN = (str, bool, int, float, type(None))
"""Types of the values that describe a task in a checkpoint."""


def check_tasks(wanted: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
    """Refuse a checkpoint unless it was trained for all wanted tasks, each with the same definition."""
    if absent := [name for name in wanted if name not in trained]:
        shared = ','.join(name for name in wanted if name in trained)
        choose = f', or choose with --tasks {shared}' if shared else ''
        raise ValueError(
            f'the checkpoint was trained for the tasks {sorted(trained)}, not for {absent}; use a config of those '
            f"tasks{choose}. To start from its backbone alone, set the backbone's init_cfg=dict(type='Pretrained', "
            "checkpoint=..., prefix='backbone.'). To train from all that fits, set load_from_other_tasks=True."
        )
    for name, task in build_tasks(wanted, 'the model').items():
        mine, other = task.definition(), definition_of(name, trained[name])
        if differing := [key for key in mine if mine[key] != other.get(key)]:
            found = ', '.join(f'{key}={_short(other.get(key))}, not {_short(mine[key])}' for key in differing)
            raise ValueError(
                f"the checkpoint's task {name!r} has {found}; use the config that it was trained with, or, to train "
                'from what fits, set load_from_other_tasks=True'
            )


def definition_of(name: str, cfg: Any) -> dict[str, Any]:
    """Return the definition of a checkpoint's task; only its type if that type is unknown here.

    The config comes from a file, so it never gets to the registry, which would import what `type` or `_scope_` name.
    Plain values go to the parameters of a class that is registered here, and to nothing else.

    Raises:
        ValueError: the config is not a dict of plain values that this kind of task takes.
    """
    key = f"the checkpoint's meta.dataset_meta.tasks.{name}"
    _check_plain(cfg, key)
    if not isinstance(cfg, Mapping) or not isinstance(cfg.get('type'), str):
        raise ValueError(f'{key} must be a dict with the name of a kind of task as `type`, not {_short(cfg)}')
    kind = cfg['type'].rpartition('.')[2]
    task = TASKS.module_dict.get(kind)
    if not (inspect.isclass(task) and issubclass(task, Task)):
        return {'type': kind}
    arguments = {argument: value for argument, value in cfg.items() if argument not in ('type', 'auxiliary')}
    known = parameters_of(task) - {'name'}
    if unknown := sorted(argument for argument in arguments if argument.startswith('_') or argument not in known):
        raise ValueError(f'{key} has {unknown}, which {kind} does not take')
    try:
        return task(**arguments, name=name).definition()
    except Exception as error:  # what its constructor says about a wrong value
        raise ValueError(f'{key} cannot be a {kind}: {error}') from None


def _check_plain(value: Any, key: str) -> None:
    """Refuse everything but numbers, strings, None, and lists and dicts of them, 4 deep and 10,000 at a depth."""
    level = [value]
    for _ in range(5):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, Mapping) and all(isinstance(name, str) for name in item):
                inner += item.values()
            elif isinstance(item, (list, tuple)):
                inner += item
            elif type(item) not in PLAIN:
                raise ValueError(f'{key} holds a {type(item).__name__}, not only plain values')
            if len(inner) > 10_000:
                raise ValueError(f'{key} holds too many values')
        level = inner
    if level:
        raise ValueError(f'{key} is nested too deeply')


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 60 else f'{text[:57]}...'
