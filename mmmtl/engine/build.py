"""From a config to a runner, for every tool alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import mmengine.registry
from mmengine.config import Config
from mmengine.registry import RUNNERS, DefaultScope, Registry
from mmengine.runner import Runner

from mmmtl.config import resolve
from mmmtl.registry import TASKS

from .checkpoints import find_checkpoint
from .hooks import CheckpointGuardHook, EpochPositionHook, IterationSeedHook, ModelHook

HOOKS_OF_EVERY_RUN = (CheckpointGuardHook, EpochPositionHook, IterationSeedHook, ModelHook)

NUMBERED_SAMPLERS = {'DefaultSampler': 'EpochDrawSampler', 'InfiniteSampler': 'InfiniteDrawSampler'}
"""For each sampler of mmengine the one that training needs in its place."""

NO_COMPONENTS = ('clip_grad',)
"""Keys of dicts whose `type` names no component."""


def build_runner(cfg: Config) -> Runner:
    """The runner of a config, with its tasks resolved.

    Every run gets hooks that no config can forget: checkpoints are plain and are refused by a model that they do not
    fit, random numbers of the model are a function of seed and iteration, an epoch goes on where it was broken off, and
    the parts of a model that follow its training are told of it.
    With `resume=True` and no `load_from`, training goes on from the newest checkpoint of `work_dir`, if there is one.

    Raises:
        KeyError: the config names a component that does not exist; nearest names stand in the message.
        ValueError: no tasks, an unknown metric in `save_best`, or a training sampler that does not number its draws.
    """
    cfg = resolve(cfg)
    cfg.setdefault('default_scope', 'mmmtl')
    check_components(cfg)
    check_sampler(cfg)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(loader) and not cfg[loader].get('num_workers'):
            cfg[loader].pop('persistent_workers', None)  # torch refuses it without workers
    if cfg.get('resume') and not cfg.get('load_from'):
        newest = find_checkpoint(cfg.work_dir)
        cfg.resume, cfg.load_from = newest is not None, newest and str(newest)
    runner = Runner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
    for hook in HOOKS_OF_EVERY_RUN:
        if not any(isinstance(other, hook) for other in runner.hooks):
            runner.register_hook(hook())
    return runner


def check_components(cfg: Config) -> None:
    """Refuse a config with an unknown `type` at once, not when the component is first needed.

    Raises:
        KeyError: names the key in the config, the type, and the nearest known names.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmmtl')):
        registries = list(_registries())
        for key, name in _types(cfg.to_dict()):
            if any(_knows(registry, name) for registry in registries):
                continue
            near = _nearest(name)
            hint = f'did you mean {near}?' if near else 'no registered name is near.'
            raise KeyError(
                f'{key}.type={name!r} is no registered component; {hint} A component of your own must be imported '
                'through `custom_imports` of the config, one of another package named with its scope, as in '
                "'mmseg.ResNet'."
            )


def check_sampler(cfg: Config) -> None:
    """Refuse mmengine's own samplers for training: every epoch would repeat the same augmentations.

    Raises:
        ValueError: names the sampler to use.
    """
    sampler = (cfg.get('train_dataloader') or {}).get('sampler') or {}
    if (name := sampler.get('type')) in NUMBERED_SAMPLERS:
        raise ValueError(
            f'train_dataloader.sampler.type={name!r} does not number its draws, on which the augmentations depend; use '
            f'{NUMBERED_SAMPLERS[name]!r}'
        )


def _types(value: Any, key: str = 'cfg') -> Iterator[tuple[str, str]]:
    """(key, type) of every component of a nested config that is named by a string."""
    if isinstance(value, Mapping):
        if isinstance(name := value.get('type'), str):
            yield key, name
        for child, item in value.items():
            if child not in NO_COMPONENTS:
                yield from _types(item, f'{key}.{child}')
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _types(item, f'{key}[{index}]')


def _roots() -> Iterator[Registry]:
    """mmengine's registry for each kind of component."""
    return (root for root in vars(mmengine.registry).values() if isinstance(root, Registry))


def _registries() -> Iterator[Registry]:
    """mmmtl's registry, or else mmengine's, for each kind of component."""
    yield TASKS
    for root in _roots():
        yield root.children.get('mmmtl', root)


def _knows(registry: Registry, name: str) -> bool:
    try:
        return registry.get(name) is not None
    except RuntimeError:
        return False


def _nearest(name: str) -> list[str]:
    """The nearest names, as they would be written in a config: those of other packages with their scope."""
    import_module('mmseg.models')  # which registers them
    known = {}
    for root in (TASKS, *_roots()):
        for registry in (root, *root.children.values()):
            prefix = '' if registry.scope in ('mmengine', 'mmmtl') else f'{registry.scope}.'
            known.update({f'{prefix}{item}': item for item in registry.module_dict})
    near = get_close_matches(name.rpartition('.')[2], sorted(set(known.values())), n=3)
    return [written for item in near for written, plain in sorted(known.items()) if plain == item][:5]
