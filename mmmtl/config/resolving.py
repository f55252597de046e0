"""Resolving: handing the declared tasks to every part that needs them, and deriving what follows from them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from mmmtl._suggestions import nearest
from mmmtl.registry import takes_argument, type_name
from mmmtl.tasks import build_tasks
from mmmtl.tasks.build import to_plain

from .checks import check_clips, check_loop, check_numbers, check_variables, follow_metrics
from .keys import READ, check_keys, suggestion
from .variables import read_config_file

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def resolve(cfg: Config) -> Config:
    """Return a copy of the config in which model and data sets know the tasks and all derived values are set.

    - `use_tasks`, if set, keeps only these of the declared tasks.
    - `model.tasks` and the `metainfo.tasks` of every data set (also inside wrappers) become `tasks`.
    - `key_frame_interval`, if set, becomes the `interval` of all clips and of a key-frame policy that takes one.
    - A model without a key-frame policy reads single frames: its clips become `single` unless they say otherwise.
    - Hooks and log count epochs or iterations, as the training loop does, in steps of `checkpoint_interval` and
      `log_interval`, unless they say otherwise.
    - The `rule` of a hook follows the direction of the metrics in its `save_best` or `monitor`; 'auto' becomes the
      primary metric of the first task that is not auxiliary.
    - Variables that only served to write the config, such as `train_pipeline`, are left out.

    Other existing values are overwritten, so that `--cfg-options tasks.depth.loss_weight=2` reaches everything.
    Resolving twice changes nothing.

    Raises:
        ValueError: the config asks for something that it would not get: a key or variable that nothing reads, a task
            or metric that does not exist, a task that `build_tasks` refuses, or a model that cannot read its data.

    Examples:
        >>> depth = {'type': 'DepthEstimation', 'max_depth': 10.0}
        >>> resolve(Config({'tasks': {'depth': depth}, 'model': {}})).model.tasks.depth.max_depth
        10.0
    """
    cfg = copy.deepcopy(cfg)
    where = cfg.filename or 'the config'
    file = read_config_file(cfg.filename)
    check_keys(cfg, file, where)
    check_variables(cfg, file, where)
    check_loop(cfg, where)
    check_numbers(cfg, where)
    for key in [key for key in cfg if key not in READ and (key.endswith('pipeline') or suggestion(key))]:
        cfg.pop(key)
    cfg['tasks'] = chosen_tasks(cfg, where)
    if not (declared := to_plain(cfg['tasks'])):
        raise ValueError(f'{where} declares no tasks; write tasks=dict(<name>=dict(type=...), ...) at its top')
    tasks = build_tasks(declared, where)
    if 'model' in cfg:
        cfg.model['tasks'] = declared
    clips = _set_data(cfg, declared)
    _set_loop(cfg)
    follow_metrics(cfg, tasks, clips, where)
    return cfg


def _set_data(cfg: Config, tasks: dict[str, Any]) -> list[ConfigDict]:
    """Hand tasks and key-frame interval to data sets and policy; return the clips of validation."""
    interval = cfg.get('key_frame_interval')
    policy = (cfg.get('model') or {}).get('key_frame_policy')
    if interval is not None and policy is not None:
        _set_interval(policy, interval)
    clips = []
    for loader in LOADERS:
        streams = loader == 'test_dataloader' and type_name(cfg.get('test_cfg') or {}) == 'StreamTestLoop'
        for dataset in dataset_configs((cfg.get(loader) or {}).get('dataset')):
            dataset['metainfo'] = {**(dataset.get('metainfo') or {}), 'tasks': tasks}
            if (clip := dataset.get('clip')) is not None:
                if interval is not None:
                    clip['interval'] = interval
                if cfg.get('model') and policy is None:
                    clip.setdefault('single', True)
                clips += [clip] if loader == 'val_dataloader' else []
            if cfg.get('model') and not streams:
                check_clips(dataset, f'{loader}.dataset', video=policy is not None)
    return clips


def _set_loop(cfg: Config) -> None:
    """Make hooks and log count epochs or iterations, as the training loop does."""
    if not cfg.get('train_cfg'):
        return
    by_epoch = 'max_epochs' in cfg.train_cfg
    hooks = cfg.get('default_hooks') or {}
    for part, key, value in (
        (hooks.get('checkpoint'), 'by_epoch', by_epoch),
        (hooks.get('checkpoint'), 'interval', cfg.get('checkpoint_interval')),
        (hooks.get('logger'), 'log_metric_by_epoch', by_epoch),
        (hooks.get('logger'), 'interval', cfg.get('log_interval')),
        (cfg.get('log_processor'), 'by_epoch', by_epoch),
    ):
        if part is not None and value is not None:
            part.setdefault(key, value)


def _set_interval(policy: ConfigDict, interval: int) -> None:
    """Set the interval of a key-frame policy and of the policies inside it, if they take one."""
    policy.pop('interval', None)  # left over if a resolved config was given another policy
    if takes_argument(policy, 'interval'):
        policy['interval'] = interval
    if policy.get('policy') is not None:
        _set_interval(policy['policy'], interval)


def intervals(cfg: Config) -> dict[str, Any]:
    """Return {key: value} of the intervals that `key_frame_interval` replaces: of policies and of clips."""
    found: dict[str, Any] = {}
    for top, name in (('model', 'key_frame_policy'), *((loader, 'dataset') for loader in LOADERS)):
        if isinstance(part := cfg.get(top), Mapping):
            found |= _intervals(part.get(name), f'{top}.{name}')
    return found


def _intervals(part: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of intervals in a policy, or in the clips of a data set."""
    if isinstance(part, (list, tuple)):
        for number, one in enumerate(part):
            yield from _intervals(one, f'{key}.{number}')
    elif isinstance(part, Mapping):
        if key.endswith(('.key_frame_policy', '.policy', '.clip')) and part.get('interval') is not None:
            yield f'{key}.interval', part['interval']
        for name in ('policy', 'clip', 'dataset', 'datasets'):
            yield from _intervals(part.get(name), f'{key}.{name}')


def chosen_tasks(cfg: Config, where: str) -> dict[str, Any]:
    """Return the declared tasks, or those of them that `use_tasks` names.

    Raises:
        ValueError: `use_tasks` is no list of names, or names what is not declared.
    """
    tasks = cfg.get('tasks') or {}
    if (names := cfg.get('use_tasks')) is None:
        return tasks
    names = [names] if isinstance(names, str) else names  # --cfg-options use_tasks=depth
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f'{where}: use_tasks (--tasks) must be a list of names of tasks, not {names!r}')
    if unknown := [name for name in names if name not in tasks]:
        near = [match for name in unknown for match in nearest(name, tasks, cutoff=0.6)]
        hint = f'; did you mean {near}?' if near else ''
        raise ValueError(f'{where}: use_tasks (--tasks) names {unknown}, but the config declares {list(tasks)}{hint}')
    return {name: tasks[name] for name in names}


def dataset_configs(dataset: ConfigDict | None) -> Iterator[ConfigDict]:
    """Yield the configs of the data sets inside any nesting of wrappers."""
    if dataset is None:
        return
    inner = [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets', [])
    if not inner:
        yield dataset
    for child in inner:
        yield from dataset_configs(child)


def input_size(cfg: Config) -> tuple[int, int] | None:
    """Return the (height, width) of the last Resize in the test pipeline, or None.

    Examples:
        >>> input_size(Config({'test_dataloader': {'dataset': {'pipeline': [{'type': 'Resize', 'size': (288, 384)}]}}}))
        (288, 384)
    """
    sizes = [tuple(transform['size']) for transform in _resizes(cfg.get('test_dataloader') or {})]
    return sizes[-1] if sizes else None


def _resizes(cfg: Any) -> Iterator[dict[str, Any]]:
    """Yield the Resize transforms anywhere in the config of a data loader."""
    if isinstance(cfg, dict):
        if type_name(cfg) == 'Resize' and 'size' in cfg:
            yield cfg
        cfg = list(cfg.values())
    if isinstance(cfg, (list, tuple)):
        for item in cfg:
            yield from _resizes(item)
