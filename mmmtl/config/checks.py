"""Checks of a config: requests that a run would not follow are refused before it starts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from mmengine.config import Config

from mmmtl.datasets.clip import Clip
from mmmtl.registry import DATASETS, find, parameters_of, type_name
from mmmtl.tasks import Task, main_tasks, metric_direction, metric_directions
from mmmtl.tasks.metric_keys import MetricKey

from .keys import is_used
from .variables import ConfigFile, idle_overrides, read_names


def check_variables(cfg: Config, file: ConfigFile | None, where: str) -> None:
    """Refuse variables of a config file that have no effect: overrides of a base file's, and unused pipelines."""
    overridden: dict[str, Any] = dict(idle_overrides(file))
    used = read_names(file)
    unused = {key: where for key in cfg if key.endswith('pipeline') and key not in used}
    for key, path in {**overridden, **unused}.items():
        if key in cfg and not is_used(cfg, key):
            loader = f'{key.partition("_")[0]}_dataloader'
            place = f'{loader}=dict(dataset=dict(pipeline={key}))' if loader in cfg else f'...={key}'
            why = 'everything still uses the value of the base file' if key in overridden else 'nothing uses it'
            raise ValueError(f'{path}: {key!r} has no effect, because {why}; pass it on, as in {place}, or remove it')


def check_loop(cfg: Config, where: str) -> None:
    """Refuse lengths that are not whole numbers, and intervals that are not whole numbers of at least 1."""
    loop = cfg.get('train_cfg') or {}
    numbers = {f'train_cfg.{key}': loop[key] for key in ('max_epochs', 'max_iters', 'val_interval') if key in loop}
    numbers |= {key: cfg[key] for key in ('key_frame_interval', 'checkpoint_interval', 'log_interval') if key in cfg}
    for key, value in numbers.items():
        if value is None and key in cfg:
            continue
        least = 0 if key.startswith('train_cfg.max_') else 1
        endless = value == math.inf and key.startswith('train_cfg.')
        if not endless and (type(value) is not int or value < least):
            raise ValueError(f'{where}: {key} must be a whole number of at least {least}, not {value!r}')


def check_numbers(cfg: Config, where: str) -> None:
    """Refuse a seed or a learning rate that is not a number; mmengine would not name its key."""
    seed = (cfg.get('randomness') or {}).get('seed')
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**32):
        raise ValueError(f'{where}: randomness.seed must be a whole number from 0 to 2**32 - 1, not {seed!r}')
    rate = ((cfg.get('optim_wrapper') or {}).get('optimizer') or {}).get('lr', 0.0)
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < math.inf:
        raise ValueError(f'{where}: optim_wrapper.optimizer.lr must be a number of at least 0, not {rate!r}')


def check_clips(dataset: Mapping[str, Any], key: str, *, video: bool) -> None:
    """Refuse clips for an image model, and single images for a video model.

    Args:
        dataset: the config of a data set.
        key: where it stands, for error messages.
        video: whether the model has key frames.
    """
    kind, clip = dataset.get('type'), dataset.get('clip')
    if 'clip' not in parameters_of(find(DATASETS, kind)):
        return
    single = clip is None or bool(clip.get('single'))
    if video and single:
        found = 'no clip' if clip is None else 'clip.single=True'
        raise ValueError(
            f'{key} ({kind}) has {found}, but the model has key frames (model.key_frame_policy) and needs clips; set '
            "clip=dict(offsets='all'), for single images with still=True and the transform StillToClip, or use an "
            'image model'
        )
    if not video and not single:
        raise ValueError(
            f'{key} ({kind}) has clip.single=False, but the model has no key frames (model.key_frame_policy) and reads '
            'single images; remove `single`, or use a video model'
        )


def follow_metrics(cfg: Config, tasks: Mapping[str, Task], clips: list[Mapping[str, Any]], where: str) -> None:
    """Set the direction of metrics that choose the best checkpoint, stop training or lower rates; refuse unknown ones.

    Args:
        cfg: the config, which is changed.
        tasks: those of the config.
        clips: the `clip` settings of the validation data sets that have some.
        where: the name of the config file, for error messages.

    The direction of a metric that an evaluator of the user's own returns is the `rule` that the config gives.
    """
    for key, part, option in _monitors(cfg):
        if part.setdefault(option, 'auto') == 'auto':
            first = next(iter(main_tasks(tasks).values()))
            part[option] = f'{first.name}/{first.primary_metric}'
        if key.startswith('param_scheduler') and part.get('by_epoch') is False:
            raise ValueError(
                f'{where}: {key} acts only after a validation, and with by_epoch=False not even then; remove it'
            )
        wanted = part[option]
        metrics = wanted if isinstance(wanted, (list, tuple)) else [wanted]
        given = part.get('rule')
        given = given if isinstance(given, (list, tuple)) else [given] * len(metrics)
        try:
            rules = [
                _rule(cfg, metric, rule, tasks, clips) for metric, rule in zip_longest(metrics, given[: len(metrics)])
            ]
        except ValueError as error:
            hint = "; a metric of another evaluator also needs `rule`, 'greater' or 'less'" if _others(cfg) else ''
            raise ValueError(f'{where}: {key}.{option}: {error}{hint}') from None
        part['rule'] = rules if metrics is wanted else rules[0]


def check_validation(cfg: Config) -> None:
    """Refuse training without validation in which something follows one."""
    loop = cfg.get('train_cfg') or {}
    last = loop.get('max_iters') or loop.get('max_epochs')
    validates = cfg.get('val_dataloader') and (last is None or loop.get('val_begin', 1) <= last)
    for key, part, option in [] if validates else _monitors(cfg):
        raise ValueError(
            f'{key}.{option}={part.get(option)!r} follows a validation, and there is none; remove it, or set '
            f'val_dataloader, leave out --no-validate, and let train_cfg.val_begin be at most {last}'
        )


def _monitors(cfg: Config) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield (key, config, option) of the hooks and schedulers that follow metrics."""
    hooks = [(f'default_hooks.{name}', hook) for name, hook in (cfg.get('default_hooks') or {}).items()]
    hooks += [(f'custom_hooks[{number}]', hook) for number, hook in enumerate(cfg.get('custom_hooks') or [])]
    for key, hook in hooks:
        if isinstance(hook, Mapping):
            option = 'monitor' if type_name(hook).endswith('EarlyStoppingHook') else 'save_best'
            if hook.get(option) is not None:
                yield key, hook, option  # type: ignore[misc]
    for scheduler in scheduler_configs(cfg):
        if 'ReduceOnPlateau' in type_name(scheduler):
            yield f'param_scheduler ({scheduler["type"]})', scheduler, 'monitor'


def scheduler_configs(cfg: Config) -> Iterator[dict[str, Any]]:
    """Yield the configs of the schedulers, which are in a list, or in a dict of lists for several optimisers."""

    def find_all(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict) and 'type' in value:
            yield value
        elif isinstance(value, dict):
            for item in value.values():
                yield from find_all(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                yield from find_all(item)

    return find_all(cfg.get('param_scheduler'))


def _rule(cfg: Config, key: Any, given: Any, tasks: Mapping[str, Task], clips: list[Mapping[str, Any]]) -> str:
    """Return 'greater' or 'less': the direction of a task's metric, or the `given` one of another evaluator's."""
    known = {*metric_directions(tasks), 'delta_m'}
    own = _others(cfg) and isinstance(key, str) and MetricKey.parse(key).name not in known
    if own and given in ('greater', 'less'):
        return str(given)
    _check_metric(cfg, key, tasks, clips)
    return 'greater' if metric_direction(key, tasks) else 'less'


def _evaluators(cfg: Config) -> list[Any]:
    """Return the evaluators of validation."""
    found = cfg.get('val_evaluator')
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _is_kind(evaluator: Any, *kinds: str) -> bool:
    return isinstance(evaluator, Mapping) and type_name(evaluator).endswith(kinds)


def _others(cfg: Config) -> list[Any]:
    """Return the evaluators of validation whose metrics are not known before they run."""
    return [
        evaluator
        for evaluator in _evaluators(cfg)
        if evaluator is not None and not _is_kind(evaluator, 'MultiTaskMetric', 'TemporalConsistency')
    ]


def _check_metric(cfg: Config, key: Any, tasks: Mapping[str, Task], clips: list[Mapping[str, Any]]) -> None:
    """Refuse the key of a metric that validation will not have."""
    if not isinstance(key, str):
        raise ValueError(f'the key of a metric is a string such as "depth/abs_err", not {key!r}')
    metric_direction(key, tasks)
    ours = [evaluator for evaluator in _evaluators(cfg) if _is_kind(evaluator, 'MultiTaskMetric')]
    if not ours:
        return
    if key.startswith('temporal/'):
        raise ValueError(f'{key!r} comes from tools/test.py --stream alone, not from validation')
    if key == 'delta_m' and not any(e.get('baseline') for e in ours):
        raise ValueError("'delta_m' needs a baseline: val_evaluator.baseline")
    parts = MetricKey.parse(key)
    if parts.scope == 'per_image' and not any(e.get('per_image') for e in ours):
        raise ValueError(f'{key!r} needs val_evaluator.per_image=True')
    if not parts.is_detail:
        return
    if not any(e.get('details', True) for e in ours):
        raise ValueError(f'{key!r} needs val_evaluator.details=True')
    offsets = sorted({o for clip in clips if not clip.get('single') for o in Clip(**clip).possible_offsets})
    if not offsets or (parts.offset is not None and parts.offset not in offsets):
        raise ValueError(f'{key!r}: the offsets of val_dataloader are {offsets}')
