"""From a config to a runner, for every tool alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import mmengine.registry
from mmengine.config import Config
from mmengine.registry import RUNNERS, DefaultScope, Registry
from mmengine.runner import Runner

from mmmtl.tasks import resolve_tasks

from . import checkpoint  # noqa: F401  registers the loader
from .hooks import CheckpointGuardHook, IterationSeedHook


def build_runner(cfg: Config) -> Runner:
    """The runner of a config, with its tasks resolved.

    Every run gets two hooks that no config can forget: checkpoints that load safely and are refused for other tasks,
    and random numbers of the model that are a function of seed and iteration.

    Raises:
        KeyError: the config names a component that does not exist; nearest names stand in the message.
        ValueError: no tasks, or an unknown metric in `save_best`.
    """
    cfg = resolve_tasks(cfg)
    cfg.setdefault('default_scope', 'mmmtl')
    check_components(cfg)
    runner = Runner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
    runner.register_hook(CheckpointGuardHook())
    runner.register_hook(IterationSeedHook())
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
            known = {item for registry in registries for item in _names(registry)}
            near = get_close_matches(name.rpartition('.')[2], known, n=3)
            hint = f'did you mean {near}?' if near else 'no registered name is near.'
            raise KeyError(
                f'{key}.type={name!r} is no registered component; {hint} A component of your own must be imported through '
                "`custom_imports` of the config, one of another package named with its scope, as in 'mmseg.ResNet'."
            )


def _types(value: Any, key: str = 'cfg') -> Iterator[tuple[str, str]]:
    """(key, type) of every component of a nested config that is named by a string."""
    if isinstance(value, Mapping):
        if isinstance(name := value.get('type'), str):
            yield key, name
        for child, item in value.items():
            yield from _types(item, f'{key}.{child}')
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _types(item, f'{key}[{index}]')


def _registries() -> Iterator[Registry]:
    """mmmtl's registry, or else mmengine's, for each kind of component."""
    from mmmtl.registry import TASKS

    yield TASKS
    for root in vars(mmengine.registry).values():
        if isinstance(root, Registry):
            child = root._search_child('mmmtl')
            yield root if child is None else child


def _knows(registry: Registry, name: str) -> bool:
    try:
        return registry.get(name) is not None
    except RuntimeError:
        return False


def _names(registry: Registry | None) -> Iterator[str]:
    while registry is not None:
        yield from registry.module_dict
        registry = registry.parent
