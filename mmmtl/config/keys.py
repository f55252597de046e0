"""The keys of a config that are read, and those that are refused."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmmtl._suggestions import did_you_mean, nearest
from mmmtl.tasks.build import to_plain

from .variables import ConfigFile, read_names, stands_in

OF_MMENGINE = (
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
)
OF_MMMTL = ('checkpoint_interval', 'key_frame_interval', 'load_from_other_tasks', 'log_interval', 'tasks', 'use_tasks')
READ = frozenset({*inspect.signature(Runner).parameters, *OF_MMENGINE, *OF_MMMTL} - {'cfg'})
"""The keys at the top of a config that mmengine or mmmtl reads."""

ELSEWHERE = {
    'amp': "optim_wrapper.type = 'AmpOptimWrapper'",
    'batch_size': 'train_dataloader.batch_size',
    'checkpoint_config': 'default_hooks.checkpoint',
    'dataloader': 'train_dataloader',
    'dist_params': 'env_cfg.dist_cfg',
    'evaluation': 'val_evaluator',
    'evaluator': 'val_evaluator',
    'fp16': "optim_wrapper.type = 'AmpOptimWrapper'",
    'hooks': 'custom_hooks',
    'log_config': 'default_hooks.logger',
    'lr': 'optim_wrapper.optimizer.lr',
    'lr_config': 'param_scheduler',
    'max_epochs': 'train_cfg.max_epochs',
    'max_iters': 'train_cfg.max_iters',
    'num_workers': 'train_dataloader.num_workers',
    'optimizer': 'optim_wrapper.optimizer',
    'optimizer_config': 'optim_wrapper.clip_grad',
    'resume_from': 'load_from',
    'runner': 'train_cfg',
    'save_best': 'default_hooks.checkpoint.save_best',
    'scheduler': 'param_scheduler',
    'seed': 'randomness.seed',
    'total_epochs': 'train_cfg.max_epochs',
    'val_interval': 'train_cfg.val_interval',
}
"""Keys that other frameworks or older versions read at the top of a config, and their places here."""

DEFAULT_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
CLOSED = {
    'auto_scale_lr': ('enable', 'base_batch_size'),
    'custom_imports': ('imports', 'allow_failed_imports'),
    'env_cfg': ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
    'env_cfg.mp_cfg': ('mp_start_method', 'opencv_num_threads'),
    'randomness': ('seed', 'diff_rank_seed', 'deterministic'),
    'default_hooks.checkpoint': (
        'type',
        'priority',
        'backend_args',
        *(name for name in inspect.signature(CheckpointHook).parameters if name != 'kwargs'),
    ),
}
"""Dicts with known keys: others would be ignored, or fail only in the middle of a run."""

KINDS = {
    **dict.fromkeys(
        ('model', 'tasks', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'train_cfg', 'val_cfg', 'test_cfg')
        + ('optim_wrapper', 'default_hooks', 'env_cfg', 'log_processor', 'randomness', 'auto_scale_lr')
        + ('custom_imports', 'data_preprocessor', 'backbone', 'clip', 'dataset', 'decode_head', 'fast_backbone')
        + ('key_frame_policy', 'metainfo', 'neck', 'optimizer', 'sampler'),
        'dict',
    ),
    **dict.fromkeys(('custom_hooks', 'datasets', 'pipeline'), 'list'),
}
"""The keys, at any depth, whose values are dicts or lists."""

TYPES: dict[str, tuple[type, ...]] = {'dict': (Mapping,), 'list': (list, tuple)}


def check_keys(cfg: Config, file: ConfigFile | None, where: str) -> None:
    """Refuse keys that look like known ones, but that nothing reads.

    Args:
        cfg: the config, as in its file or changed since.
        file: what its file assigns and reads, if it has one.
        where: the name of the file, for error messages.

    Raises:
        ValueError: a top-level key that nearly matches one that is read, an unknown key where only known ones count, or
            a value of the wrong kind.
    """
    _check_kinds({key: cfg[key] for key in cfg if key in READ}, '', where)
    used = read_names(file)
    for key in cfg.to_dict():  # without what a config imports
        if key in READ or key in used:
            continue
        hint = suggestion(key)
        place = ELSEWHERE.get(key)
        if hint and not (place and find(cfg, place) == cfg[key]):
            raise ValueError(f'{where}: nothing reads the key {key!r}; {hint}, or remove it')
    for prefix, known in CLOSED.items():
        check_closed(find(cfg, prefix), known, f'{where}: {prefix}')
    _check_default_hooks(cfg.get('default_hooks') or {}, where)


def suggestion(key: str) -> str | None:
    """Return what a top-level key that is not read might mean; None if nothing is similar.

    Examples:
        >>> suggestion('optim_wraper')
        "did you mean 'optim_wrapper'?"
        >>> suggestion('data_root') is None
        True
    """
    if key in ELSEWHERE:
        return f'it stands at {ELSEWHERE[key]} here'
    near = nearest(key, READ)
    return f'did you mean {near[0]!r}?' if near else None


def check_closed(value: Any, known: Iterable[str], where: str) -> None:
    """Refuse keys of a dict that are not known."""
    if not isinstance(value, Mapping):
        return
    for key in value:
        if key not in known and not str(key).startswith('_'):
            raise ValueError(f'{where} has no key {key!r}; {did_you_mean(key, known)}')


def find(cfg: Config, path: str) -> Any:
    """Return the value at a dotted path, plain; None if there is none."""
    top, *rest = path.split('.')
    value = cfg.get(top)
    for part in rest:
        value = value.get(part) if isinstance(value, Mapping) else None
    return to_plain(value)


def is_used(cfg: Config, key: str) -> bool:
    """Return whether the value of a variable stands somewhere in what is read."""
    return stands_in(to_plain(cfg[key]), to_plain({name: value for name, value in cfg.items() if name in READ}))


def _check_default_hooks(hooks: Mapping[str, Any], where: str) -> None:
    for name, hook in hooks.items():
        if name in DEFAULT_HOOKS or hook is None:
            continue
        near = nearest(name, DEFAULT_HOOKS)
        if near or 'type' not in hook:
            hint = f'did you mean {near[0]!r}?' if near else 'another hook needs a `type`'
            raise ValueError(f'{where}: default_hooks has no {name!r}; {hint}')


def _check_kinds(value: Any, path: str, where: str) -> None:
    """Refuse parts at any depth whose key says that they are dicts or lists, and types that name nothing."""
    if isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            _check_kinds(item, f'{path}[{number}]', where)
    if not isinstance(value, Mapping):
        return
    if 'type' in value and not (isinstance(value['type'], str) or callable(value['type'])):
        raise ValueError(f'{where}: {path}.type must be the name of a component, not {value["type"]!r}')
    for key, item in value.items():
        inner = f'{path}.{key}' if path else key
        kind = KINDS.get(key)
        if path == 'default_hooks':
            kind = 'dict'
        elif path == 'param_scheduler':  # the keys are names of optimisers, such as 'model'
            kind = None
        if item is not None and kind and not isinstance(item, TYPES[kind]):
            raise ValueError(f'{where}: {inner} must be a {kind}, not {item!r}')
        if key not in ('metainfo', 'tasks'):
            _check_kinds(item, inner, where)
