"""Construction of the runner from a config, the same for every tool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from mmengine.config import Config
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.registry import RUNNERS, DefaultScope
from mmengine.runner import CheckpointLoader, Runner

from mmmtl._suggestions import nearest
from mmmtl.config import LOADERS, resolve
from mmmtl.datasets.samplers import EpochDrawSampler
from mmmtl.registry import DATA_SAMPLERS, TASKS, find, parameters_of, registries, roots

from .checked_runner import CheckedRunner
from .checkpoint_files import find_checkpoint
from .hooks import (
    AccumulationHook,
    CheckpointGuardHook,
    CheckpointHook,
    EpochPositionHook,
    IterationSeedHook,
    LabelCheckHook,
    ModelHook,
    PlainCheckpointHook,
    ResumeHook,
    SameBuffersHook,
    SummaryHook,
)

HOOKS_OF_EVERY_RUN = (
    CheckpointGuardHook,
    EpochPositionHook,
    IterationSeedHook,
    LabelCheckHook,
    ModelHook,
    AccumulationHook,
    ResumeHook,
    PlainCheckpointHook,
    SameBuffersHook,
    SummaryHook,
)

NUMBERED_SAMPLERS = {DefaultSampler: 'EpochDrawSampler', InfiniteSampler: 'InfiniteDrawSampler'}
"""{sampler of mmengine: the one that training needs in its place}."""

NO_COMPONENTS = ('clip_grad',)
"""Keys of dicts whose `type` does not name a component."""


def build_runner(cfg: Config) -> Runner:
    """Resolve a config and build its runner.

    `HOOKS_OF_EVERY_RUN` are added, whatever the config says. With `resume='auto'`, or True without `load_from`,
    training continues from the newest checkpoint in `work_dir`, if there is one.

    Raises:
        ValueError: `resolve` refuses the config, it names an unknown component, a training sampler does not number its
            draws, an evaluation leaves out samples or repeats some, or the checkpoint hook is mmengine's own, which
            `CheckpointHook` explains.
    """
    cfg = resolve(cfg)
    cfg.setdefault('default_scope', 'mmmtl')
    check_components(cfg)
    check_sampler(cfg)
    check_evaluation(cfg)
    for loader in LOADERS:
        if cfg.get(loader) and not cfg[loader].get('num_workers'):
            cfg[loader].pop('persistent_workers', None)  # torch refuses it without workers
    if resumes_newest(cfg):
        if newest := find_checkpoint(cfg.work_dir):
            cfg.load_from = str(newest)
        else:
            start = f'the weights in {cfg.load_from}' if cfg.get('load_from') else 'scratch'
            print(f'{cfg.work_dir}: no checkpoint to resume from; starting from {start}')
        cfg.resume = newest is not None
    if cfg.get('resume') and (cfg.get('randomness') or {}).get('seed') is None:
        # A seed that was drawn is only in the checkpoint; the samplers are built before mmengine reads it.
        checkpoint = CheckpointLoader.load_checkpoint(cfg.load_from, map_location='cpu', logger='silent')
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': (checkpoint.get('meta') or {}).get('seed')}
    runner = CheckedRunner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
    for hook in HOOKS_OF_EVERY_RUN:
        if not any(isinstance(other, hook) for other in runner.hooks):
            runner.register_hook(hook())
    for hook in runner.hooks:
        if isinstance(hook, MMEngineCheckpointHook) and not isinstance(hook, CheckpointHook):
            raise ValueError(
                f"{type(hook).__name__} is mmengine's, which removes a checkpoint before its replacement is written; "
                "use type='CheckpointHook' with default_scope='mmmtl', or derive your hook from "
                'mmmtl.engine.CheckpointHook'
            )
    return runner


def resumes_newest(cfg: Config) -> bool:
    """Return whether a run should resume from the newest checkpoint in its work directory."""
    return cfg.get('resume') == 'auto' or bool(cfg.get('resume') and not cfg.get('load_from'))


def check_components(cfg: Config) -> None:
    """Raise a ValueError for an unknown `type`, or a misspelt argument, now, not when the component is first needed."""
    scope = cfg.get('default_scope', 'mmmtl')
    if scope not in (scopes := {'mmmtl', *(child for root in roots() for child in root.children)}):
        raise ValueError(f'default_scope must be one of {sorted(scopes)}, not {scope!r}')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmmtl')):
        kinds = list(registries())
        for key, name, arguments in _types(cfg.to_dict()):
            if found := [component for kind in kinds if (component := find(kind, name)) is not None]:
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
        return find(DATA_SAMPLERS, kind) if isinstance(kind, str) else kind


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
    for root in (TASKS, *roots()):
        for registry in (root, *root.children.values()):
            prefix = '' if registry.scope in ('mmengine', 'mmmtl') else f'{registry.scope}.'
            known.update({f'{prefix}{item}': item for item in registry.module_dict})
    near = nearest(name.rpartition('.')[2], sorted(set(known.values())), most=3, cutoff=0.6)
    return [written for item in near for written, plain in sorted(known.items()) if plain == item][:5]
