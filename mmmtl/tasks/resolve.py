"""Hands the tasks, declared once at the top of a config, to everything that needs them."""

from __future__ import annotations

import copy
import inspect
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.structures import PixelData
from torch import nn

from mmmtl.registry import MODELS, TASKS

from .base import Task

UNRESOLVED = (
    '{what} was built without tasks: pass the config through mmmtl.tasks.resolve_tasks(cfg), or build everything with '
    'mmmtl.engine.build_runner(cfg), which does'
)

# Names that stand for something else in the keys of losses and metrics.
TAKEN = re.compile(r'align|distill|preliminary|levels|pooled|search|stream|temporal|delta_m|offset_\d+')


def build_tasks(tasks: Mapping[str, Any] | None, what: str) -> dict[str, Task]:
    """Task objects by name, from the `tasks` of a config or of a data set's metainfo.

    Args:
        tasks: {name: config}; a config that is a Task already is taken as it is.
        what: who asks, for the message.

    Raises:
        ValueError: no tasks (the config was not resolved), a name that cannot be one, or a task without a type.
        KeyError: an unknown kind of task; the nearest names stand in the message.
        TypeError: arguments that the task does not take.
    """
    if not tasks:
        raise ValueError(UNRESOLVED.format(what=what))
    return {name: cfg if isinstance(cfg, Task) else _build_task(name, cfg) for name, cfg in tasks.items()}


def _build_task(name: str, cfg: Mapping[str, Any]) -> Task:
    if not name.isidentifier() or name.startswith('_') or keyword.iskeyword(name):
        raise ValueError(f'{name!r} cannot name a task: it must be an identifier that begins with a letter')
    # Its maps are an attribute of a PixelData, its modules an entry of a ModuleDict, which refuses such names.
    if hasattr(PixelData, name) or hasattr(nn.ModuleDict(), name) or TAKEN.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a task: it is an attribute of mmengine's PixelData or torch's ModuleDict, or a word "
            'in the keys of losses and metrics; choose another name and say where its maps are with `source`'
        )
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise ValueError(f'tasks.{name} must be a dict with the `type` of the task, not {cfg!r}')
    cfg = _plain(cfg)
    if isinstance(kind := cfg['type'], str) and TASKS.get(kind) is None:
        near = get_close_matches(kind, TASKS.module_dict, n=3, cutoff=0.4)
        hint = f'did you mean {near}?' if near else f'there are {sorted(TASKS.module_dict)}.'
        raise KeyError(
            f'tasks.{name}: there is no kind of task {kind!r}; {hint} A task of your own must be imported through '
            '`custom_imports` of the config.'
        )
    try:
        return TASKS.build({**cfg, 'name': name})
    except TypeError as error:
        raise TypeError(f'tasks.{name}: {error}') from error


def resolve_tasks(cfg: Config) -> Config:
    """A copy of the config in which model and data sets know the tasks, and all that follows from them is set.

    - `use_tasks`, where there is one, leaves only those of the declared tasks;
    - `model.tasks` and the `metainfo.tasks` of every data set (through wrappers) become `tasks`;
    - `key_frame_interval`, where there is one, becomes the `interval` of the model's key-frame policy, if that has one,
      and of every data set's clips;
    - the checkpoint hook's `rule` follows the direction of the metric, or metrics, in `save_best`; 'auto' becomes the
      primary metric of the first task.

    What stood there is overwritten, so that `--cfg-options tasks.depth.loss_weight=2` reaches everything. Calling it
    twice changes nothing.

    Raises:
        ValueError: the config declares no tasks, `use_tasks` names another, or `save_best` names a metric that no task
            has; or what `build_tasks` raises.
    """
    cfg = copy.deepcopy(cfg)
    if (chosen := cfg.get('use_tasks')) is not None:
        cfg['tasks'] = _choose(cfg.get('tasks') or {}, chosen)
    if not (declared := _plain(cfg.get('tasks'))):
        raise ValueError('the config declares no tasks; write tasks=dict(<name>=dict(type=...), ...) at its top')
    tasks = build_tasks(declared, 'the config')
    interval = cfg.get('key_frame_interval')
    if 'model' in cfg:
        cfg.model['tasks'] = declared
        if interval is not None and cfg.model.get('key_frame_policy') is not None:
            _set_interval(cfg.model.key_frame_policy, interval)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for dataset in dataset_configs((cfg.get(loader) or {}).get('dataset')):
            dataset['metainfo'] = {**(dataset.get('metainfo') or {}), 'tasks': declared}
            if interval is not None and dataset.get('clip') is not None:
                dataset['clip']['interval'] = interval
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if checkpoint.get('save_best') == 'auto':
        first = next(iter(tasks.values()))
        checkpoint['save_best'] = f'{first.name}/{first.primary_metric}'
    if (best := checkpoint.get('save_best')) is not None:
        keys = [best] if isinstance(best, str) else best
        rules = ['greater' if metric_direction(key, tasks) else 'less' for key in keys]
        checkpoint['rule'] = rules[0] if isinstance(best, str) else rules
    return cfg


def metric_direction(key: str, tasks: Mapping[str, Task]) -> bool:
    """Whether higher is better for a metric's key, such as 'semseg/mIoU' or 'offset_2/depth/rmse'.

    Raises:
        ValueError: no task has that metric; the message lists those that exist.

    Examples:
        >>> tasks = build_tasks({'depth': {'type': 'DepthEstimation', 'max_depth': 10.0}}, 'the example')
        >>> metric_direction('depth/delta1', tasks), metric_direction('offset_2/depth/rmse', tasks)
        (True, False)
    """
    known = {f'{name}/{metric}': up for name, task in tasks.items() for metric, up in task.higher_is_better.items()}
    known |= {f'temporal/{name}/{m}': up for name, task in tasks.items() for m, up in task.temporal_metrics.items()}
    known['delta_m'] = True
    for name, up in known.items():
        if key == name or key.endswith(f'/{name}'):
            return up
    raise ValueError(f'no task has the metric {key!r}; there are {sorted(known)}')


def _set_interval(policy: ConfigDict, interval: int) -> None:
    """Into a key-frame policy that takes an interval, or one that it holds."""
    kind = policy['type'] if isinstance(policy['type'], type) else MODELS.get(policy['type'])
    policy.pop('interval', None)  # of a config that was resolved before, and then given another policy
    if kind is not None and 'interval' in inspect.signature(kind).parameters:
        policy['interval'] = interval
    if policy.get('policy') is not None:
        _set_interval(policy['policy'], interval)


def _choose(tasks: Mapping[str, Any], names: str | Sequence[str]) -> dict[str, Any]:
    names = [names] if isinstance(names, str) else names  # --cfg-options use_tasks=depth
    if unknown := [name for name in names if name not in tasks]:
        near = [match for name in unknown for match in get_close_matches(name, tasks, n=1)]
        hint = f'; did you mean {near}?' if near else ''
        raise ValueError(f'use_tasks (--tasks) names {unknown}, but the config declares {list(tasks)}{hint}')
    return {name: tasks[name] for name in names}


def dataset_configs(dataset: ConfigDict | None) -> Iterator[ConfigDict]:
    """The configs of the data sets inside any nesting of wrappers."""
    if dataset is None:
        return
    inner = [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets', [])
    if not inner:
        yield dataset
    for child in inner:
        yield from dataset_configs(child)


def _plain(value: Any) -> Any:
    """Nested plain dicts and lists, and names for classes: what a checkpoint may hold to be read safely."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.__name__ if isinstance(value, type) else value
