"""Construction of tasks from their configs."""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Mapping
from typing import Any

from mmengine.structures import PixelData
from torch import nn

from mmmtl._suggestions import did_you_mean, nearest
from mmmtl.registry import TASKS, find

from .base import Task
from .metric_keys import SCOPE, MetricKey

UNRESOLVED = (
    '{what} was built without tasks: pass the config through mmmtl.config.resolve(cfg), or build everything with '
    'mmmtl.engine.build_runner(cfg), which does'
)

DECLARED = ('name', 'source', 'loss_weight', 'out_channels', 'higher_is_better', 'primary_metric')
"""Attributes that every task must have; `Task.__init__` sets the first three."""

# Names with another meaning in the keys of losses and metrics.
TAKEN = re.compile(rf'align|distill|preliminary|label_space|search|stream|temporal|delta_m|{SCOPE.pattern}')


def build_tasks(tasks: Mapping[str, Any] | None, what: str) -> dict[str, Task]:
    """Build the tasks {name: config} of a config or of a data set's metainfo.

    Any task may have `auxiliary=True`: it only helps the others. It has preliminary predictions and their losses, and
    its features reach the other tasks, but it has no final prediction, metric or picture.

    Args:
        tasks: {name: config}; a Task in place of a config is kept.
        what: the caller, for error messages.

    Raises:
        ValueError: there are no tasks (the config was not resolved), all are auxiliary, a name is invalid, or a task
            has no type, an unknown one, or an argument that its type does not take.

    Examples:
        >>> tasks = build_tasks({'depth': {'type': 'DepthEstimation', 'max_depth': 10.0}}, 'the example')
        >>> tasks['depth'].primary_metric
        'abs_err'
    """
    if not tasks:
        raise ValueError(UNRESOLVED.format(what=what))
    if not isinstance(tasks, Mapping):
        raise ValueError(f'the tasks of {what} must be a dict {{name: config}}, not {tasks!r}')
    built = {name: cfg if isinstance(cfg, Task) else _build_task(name, cfg, tasks) for name, cfg in tasks.items()}
    if not main_tasks(built):
        raise ValueError(
            f'{what}: the tasks {list(built)} are all auxiliary, so nothing would be predicted; set one to '
            f'auxiliary=False, as --cfg-options tasks.{next(iter(built))}.auxiliary=False does'
        )
    return built


def main_tasks(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """Return the tasks with final predictions, metrics and pictures: those that are not auxiliary."""
    return {name: task for name, task in tasks.items() if not task.auxiliary}


def _build_task(name: str, cfg: Mapping[str, Any], tasks: Mapping[str, Any]) -> Task:
    if not isinstance(name, str) or not name.isidentifier() or name.startswith('_') or keyword.iskeyword(name):
        raise ValueError(f'{name!r} cannot name a task: it must be an identifier that begins with a letter')
    # A task's maps are an attribute of a PixelData and its modules an entry of a ModuleDict.
    if hasattr(PixelData, name) or hasattr(nn.ModuleDict(), name) or TAKEN.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a task: it is an attribute of mmengine's PixelData or torch's ModuleDict, or has a "
            f'meaning in the keys of losses and metrics; choose another name and set source={name!r}'
        )
    if isinstance(cfg, Mapping) and 'type' not in cfg:
        others = set(tasks) - {name}
        hint = f'; {did_you_mean(name, others)}' if others else ''
        raise ValueError(f'tasks.{name} has no `type`, which says what kind of task it is: {to_plain(cfg)}{hint}')
    if not isinstance(cfg, Mapping) or not isinstance(cfg.get('type'), (str, type)):
        raise ValueError(f'tasks.{name} must be a dict with the `type` of the task, not {cfg!r}')
    arguments = to_plain(cfg)
    kind = arguments.pop('type')
    # Not an argument of the kinds of tasks: it says what a task is for, not what it is.
    auxiliary = arguments.pop('auxiliary', False)
    if not isinstance(auxiliary, bool):
        raise ValueError(f'tasks.{name}.auxiliary must be True or False, not {auxiliary!r}')
    # `TASKS.build` would look in the default scope of the process, which any other runner may have set.
    build = find(TASKS, kind)
    if not (inspect.isclass(build) and issubclass(build, Task)):
        hint = did_you_mean(kind, TASKS.module_dict)
        raise ValueError(
            f'tasks.{name}.type: unknown type {kind!r}, which no `custom_imports` of the config registers (its list '
            f'replaces that of a `_base_`); {hint}'
        )
    known = inspect.signature(build).parameters
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in known.values()):
        for key in arguments:
            if key not in known:
                hint = did_you_mean(key, set(known) - {'name'})
                raise ValueError(f'tasks.{name}: {kind} takes no argument {key!r}; {hint}')
    try:
        task = build(**{**arguments, 'name': name})
    except (TypeError, ValueError) as error:
        raise ValueError(f'tasks.{name}: {error}') from error
    task.auxiliary = auxiliary
    if missing := [part for part in DECLARED if not hasattr(task, part)]:
        raise ValueError(f'tasks.{name}: {kind} has no {missing[0]!r}; set it in the class or in `__init__`')
    if task.primary_metric not in task.higher_is_better:
        raise ValueError(
            f'tasks.{name}: {kind} has the primary_metric {task.primary_metric!r}, but `higher_is_better` has '
            f'{sorted(task.higher_is_better)}'
        )
    return task


def metric_directions(tasks: Mapping[str, Task]) -> dict[str, bool]:
    """Return {metric: whether higher is better} of all metrics that the tasks declare; auxiliary tasks have none."""
    scored = main_tasks(tasks)
    known = {f'{name}/{metric}': up for name, task in scored.items() for metric, up in task.higher_is_better.items()}
    return known | {
        f'temporal/{name}/{m}': up for name, task in scored.items() for m, up in task.temporal_metrics.items()
    }


def metric_direction(key: str, tasks: Mapping[str, Task]) -> bool:
    """Return whether higher is better for the key of a metric; auxiliary tasks have none.

    Examples:
        >>> tasks = build_tasks({'depth': {'type': 'DepthEstimation', 'max_depth': 10.0}}, 'the example')
        >>> metric_direction('depth/delta1', tasks), metric_direction('offset_2/depth/rmse', tasks)
        (True, False)
    """
    known = metric_directions(tasks) | {'delta_m': True}
    name = MetricKey.parse(key).name
    if name not in known:
        owner = name.rpartition('/')[0].removeprefix('temporal/')
        why = f', and the task {owner!r} is auxiliary' if owner in tasks and owner not in main_tasks(tasks) else ''
        near = nearest(name, known, cutoff=0.6)
        hint = f'did you mean {near[0]!r}? Known' if near else 'known'
        raise ValueError(f'no task has the metric {key!r}{why}; {hint} metrics are {sorted(known)}')
    return known[name]


def to_plain(value: Any) -> Any:
    """Convert nested containers to plain dicts and lists, and classes to their names, as safe checkpoints need."""
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value.__name__ if isinstance(value, type) else value
