"""Checks of the components that a config names: unknown ones and misspelt arguments, and samplers that mislead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from mmengine.config import Config
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.registry import DefaultScope

from mmmtl._suggestions import nearest
from mmmtl.datasets.samplers import EpochDrawSampler
from mmmtl.registry import DATA_SAMPLERS, find, parameters_of, refuses_argument, registries, roots

NUMBERED_SAMPLERS = {DefaultSampler: 'EpochDrawSampler', InfiniteSampler: 'InfiniteDrawSampler'}
"""{sampler of mmengine: the one that training needs in its place}."""

NO_COMPONENTS = ('clip_grad',)
"""Keys of dicts whose `type` does not name a component."""


def check_components(cfg: Config) -> None:
    """Raise a ValueError for an unknown `type`, or a misspelt argument, now, not when the component is first needed."""
    scope = cfg.get('default_scope', 'mmmtl')
    if scope not in (scopes := {'mmmtl', *(child for root in roots() for child in root.children)}):
        raise ValueError(f'default_scope must be one of {sorted(scopes)}, not {scope!r}')
    with DefaultScope.overwrite_default_scope(scope):
        if cfg.get('tasks') and cfg.get('model') and refuses_argument(cfg.model, 'tasks'):
            raise ValueError(
                f'cfg.model.type={cfg.model.type!r} takes no `tasks`; use MultiTaskSegmentor, or a class derived from '
                'it, with the backbone of the other model'
            )
        for key, name, arguments in _types(cfg.to_dict()):
            if found := [component for kind in registries() if (component := find(kind, name)) is not None]:
                check_arguments(found, arguments, f'{key} ({name})')
                continue
            near = _nearest(name)
            hint = f'did you mean {near}?' if near else 'no registered name is similar.'
            raise ValueError(
                f'{key}={name!r} is not a registered component; {hint} Import your own components through '
                '`custom_imports` in the config (its list replaces that of a `_base_`); name those of other packages '
                "with their scope, as in 'mmseg.ResNet'."
            )


def check_sampler(cfg: Config) -> None:
    """Refuse mmengine's own samplers for training: every epoch would repeat the same augmentations."""
    sampler = (cfg.get('train_dataloader') or {}).get('sampler') or {}
    if (kind := _component(cfg, sampler.get('type'))) in NUMBERED_SAMPLERS:
        raise ValueError(
            f'train_dataloader.sampler.type={sampler["type"]!r} would repeat the augmentations in every epoch; use '
            f'{NUMBERED_SAMPLERS[kind]!r}'
        )


def check_evaluation(cfg: Config) -> None:
    """Refuse validation and test loaders whose scores would depend on the batch size or the number of processes."""
    for name in ('val_dataloader', 'test_dataloader'):
        loader = cfg.get(name) or {}
        if loader.get('drop_last'):
            raise ValueError(f'{name}.drop_last=True would leave out the last samples; remove it')
        sampler = loader.get('sampler') or {}
        kind = _component(cfg, sampler.get('type'))
        if (
            kind in (DefaultSampler, EpochDrawSampler)
            and sampler.get('round_up', True)
            and cfg.get('launcher', 'none') != 'none'
        ):
            raise ValueError(
                f'{name}.sampler of type {sampler["type"]!r} scores some samples twice, so that all processes get as '
                "many; use dict(type='DefaultSampler', shuffle=False, round_up=False)"
            )


def _component(cfg: Config, kind: Any) -> Any:
    """Return the sampler that a `type` means in the scope of a config."""
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmmtl')):
        return find(DATA_SAMPLERS, kind)


def check_arguments(components: Sequence[Any], arguments: Iterable[str], where: str) -> None:
    """Refuse misspelt arguments, which no component takes but which are close to one; others may be for a builder."""
    taken = {name for component in components for name in parameters_of(component)}
    for argument in arguments:
        near = [] if argument in taken else nearest(argument, taken)
        if near:
            raise ValueError(f'{where} takes no argument {argument!r}; did you mean {near[0]!r}?')


def _types(value: Any, key: str = 'cfg') -> Iterator[tuple[str, str, Iterable[str]]]:
    """Yield (key, name, arguments) of every component that a nested config names by a string."""
    if isinstance(value, Mapping):
        for kind in ('type', 'constructor', 'runner_type'):
            if isinstance(name := value.get(kind), str):
                yield f'{key}.{kind}', name, value.keys() - {kind} if kind == 'type' else ()
        for child, item in value.items():
            if child not in NO_COMPONENTS:
                yield from _types(item, f'{key}.{child}')
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _types(item, f'{key}[{index}]')


def _nearest(name: str) -> list[str]:
    """Return the nearest names as a config would write them: those of other packages with their scope."""
    import_module('mmseg.models')  # registers its components
    known = {}
    for root in roots():
        for registry in (root, *root.children.values()):
            prefix = '' if registry.scope in ('mmengine', 'mmmtl') else f'{registry.scope}.'
            known.update({f'{prefix}{item}': item for item in registry.module_dict})
    near = nearest(name.rpartition('.')[2], sorted(set(known.values())), most=3, cutoff=0.6)
    return [written for item in near for written, plain in sorted(known.items()) if plain == item][:5]
