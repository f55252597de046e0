"""Configs: loading, and handing the declared tasks to every part that needs them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmmtl.registry import takes_argument
from mmmtl.tasks import build_tasks, metric_direction
from mmmtl.tasks.build import to_plain

CONFIG_SUFFIXES = ('.py', '.json', '.yaml', '.yml')


def load_config(
    path: str | Path, *, options: Mapping[str, Any] | None = None, tasks: Sequence[str] | None = None
) -> Config:
    """Return the config in a file with the overrides of a command line, not resolved yet.

    `options` maps dotted keys to values. `tasks` names the tasks to keep; None keeps all.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f'{path}: no such config file')
    if path.suffix not in CONFIG_SUFFIXES:
        raise ValueError(f'{path}: a config file must end in one of {CONFIG_SUFFIXES}, not {path.suffix!r}')
    cfg = Config.fromfile(path)
    if options is not None:
        cfg.merge_from_dict(options)
    if tasks is not None:
        cfg.use_tasks = list(tasks)
    return cfg


def resolve(cfg: Config) -> Config:
    """Return a copy of the config in which model and data sets know the tasks and all derived values are set.

    - `use_tasks`, if set, keeps only these of the declared tasks.
    - `model.tasks` and the `metainfo.tasks` of every data set (also inside wrappers) become `tasks`.
    - `key_frame_interval`, if set, becomes the `interval` of all clips and of a key-frame policy that takes one.
    - A model without a key-frame policy reads single frames: its clips become `single` unless they say otherwise.
    - Hooks and log count epochs or iterations, as the training loop does, in steps of `checkpoint_interval` and
      `log_interval`, unless they say otherwise.
    - The checkpoint hook's `rule` follows the direction of the metrics in `save_best`; 'auto' becomes the primary
      metric of the first task.

    Other existing values are overwritten, so that `--cfg-options tasks.depth.loss_weight=2` reaches everything.
    Resolving twice changes nothing.

    Raises:
        ValueError: no tasks, an unknown one in `use_tasks` or `save_best`, or one that `build_tasks` refuses.

    Examples:
        >>> depth = {'type': 'DepthEstimation', 'max_depth': 10.0}
        >>> resolve(Config({'tasks': {'depth': depth}, 'model': {}})).model.tasks.depth.max_depth
        10.0
    """
    cfg = copy.deepcopy(cfg)
    if (chosen := cfg.get('use_tasks')) is not None:
        cfg['tasks'] = _choose(cfg.get('tasks') or {}, chosen)
    if not (declared := to_plain(cfg.get('tasks'))):
        raise ValueError('the config declares no tasks; write tasks=dict(<name>=dict(type=...), ...) at its top')
    tasks = build_tasks(declared, 'the config')
    interval = cfg.get('key_frame_interval')
    single_frames = False
    if 'model' in cfg:
        cfg.model['tasks'] = declared
        policy = cfg.model.get('key_frame_policy')
        single_frames = policy is None
        if interval is not None and policy is not None:
            _set_interval(policy, interval)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for dataset in dataset_configs((cfg.get(loader) or {}).get('dataset')):
            dataset['metainfo'] = {**(dataset.get('metainfo') or {}), 'tasks': declared}
            if dataset.get('clip') is None:
                continue
            if interval is not None:
                dataset['clip']['interval'] = interval
            if single_frames:
                dataset['clip'].setdefault('single', True)
    _set_loop(cfg)
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if checkpoint.get('save_best') == 'auto':
        first = next(iter(tasks.values()))
        checkpoint['save_best'] = f'{first.name}/{first.primary_metric}'
    if (best := checkpoint.get('save_best')) is not None:
        keys = [best] if isinstance(best, str) else best
        rules = ['greater' if metric_direction(key, tasks) else 'less' for key in keys]
        checkpoint['rule'] = rules[0] if isinstance(best, str) else rules
    return cfg


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


def _choose(tasks: Mapping[str, Any], names: str | Sequence[str]) -> dict[str, Any]:
    names = [names] if isinstance(names, str) else names  # --cfg-options use_tasks=depth
    if unknown := [name for name in names if name not in tasks]:
        near = [match for name in unknown for match in get_close_matches(name, tasks, n=1)]
        hint = f'; did you mean {near}?' if near else ''
        raise ValueError(f'use_tasks (--tasks) names {unknown}, but the config declares {list(tasks)}{hint}')
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
        if str(cfg.get('type', '')).rpartition('.')[2] == 'Resize' and 'size' in cfg:
            yield cfg
        cfg = list(cfg.values())
    if isinstance(cfg, (list, tuple)):
        for item in cfg:
            yield from _resizes(item)
