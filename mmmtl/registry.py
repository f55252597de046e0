"""The registries of mmmtl: children of mmengine's, so that a scope reaches the components of mmengine and mmseg."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry, root

__all__ = [
    'DATASETS',
    'DATA_SAMPLERS',
    'HOOKS',
    'LOOPS',
    'METRICS',
    'MODELS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'TASKS',
    'TRANSFORMS',
    'VISUALIZERS',
]

TASKS = Registry('task', parent=MMENGINE_TASK_UTILS, scope='mmmtl', locations=['mmmtl.tasks'])
DATASETS = Registry('dataset', parent=MMENGINE_DATASETS, scope='mmmtl', locations=['mmmtl.datasets'])
DATA_SAMPLERS = Registry('data sampler', parent=MMENGINE_DATA_SAMPLERS, scope='mmmtl', locations=['mmmtl.datasets'])
TRANSFORMS = Registry('transform', parent=MMENGINE_TRANSFORMS, scope='mmmtl', locations=['mmmtl.datasets.transforms'])
MODELS = Registry('model', parent=MMENGINE_MODELS, scope='mmmtl', locations=['mmmtl.models'])
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope='mmmtl', locations=['mmmtl.engine'])
LOOPS = Registry('loop', parent=MMENGINE_LOOPS, scope='mmmtl', locations=['mmmtl.engine'])
OPTIM_WRAPPERS = Registry(
    'optimizer wrapper', parent=MMENGINE_OPTIM_WRAPPERS, scope='mmmtl', locations=['mmmtl.engine']
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    scope='mmmtl',
    locations=['mmmtl.engine'],
)
METRICS = Registry('metric', parent=MMENGINE_METRICS, scope='mmmtl', locations=['mmmtl.evaluation'])
VISUALIZERS = Registry('visualizer', parent=MMENGINE_VISUALIZERS, scope='mmmtl', locations=['mmmtl.visualization'])


def roots() -> Iterator[Registry]:
    """Return mmengine's registry for each kind of component."""
    return (value for value in list(vars(root).values()) if isinstance(value, Registry))


# Without a child of this scope in every registry, and a place of its components, mmengine warns at each look-up.
for _root in roots():
    if 'mmmtl' not in _root.children:
        Registry(_root.name, parent=_root, scope='mmmtl', locations=['mmmtl'])


def registries() -> Iterator[Registry]:
    """Return mmmtl's registry for each kind of component."""
    return (each.children['mmmtl'] for each in roots())


def parameters_of(component: Any) -> set[str]:
    """Return the names of a component's arguments, and of those of its bases that `**kwargs` may pass on to them.

    None, and what is not written in Python, has none.
    """
    names: set[str] = set()
    for part in inspect.getmro(component) if inspect.isclass(component) else (component,):
        try:
            parameters = inspect.signature(part).parameters.values()
        except (TypeError, ValueError):
            break
        names |= {one.name for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}
        if all(one.kind != one.VAR_KEYWORD for one in parameters):
            break
    return names


def accepts(cfg: Mapping[str, Any], name: str) -> bool:
    """Return whether some component that a config names by its `type` takes this argument."""
    return any(name in parameters_of(find(registry, cfg.get('type'))) for registry in registries())


def find(registry: Registry, kind: Any) -> Any:
    """Return what a `type` means in a registry: a class or a function means itself, an unknown name None."""
    if not isinstance(kind, str):
        return kind
    try:
        return registry.get(kind)
    except RuntimeError:  # mmengine raises for some names
        return None


def type_name(cfg: Mapping[str, Any]) -> str:
    """Return the `type` of a config without scope and module, also if it is a class; '' if there is none."""
    kind = cfg.get('type', '')
    return kind.rpartition('.')[2] if isinstance(kind, str) else str(getattr(kind, '__name__', ''))


def model_component(cfg: Mapping[str, Any]) -> Any:
    """Return the class or function of `MODELS` that a config names; None if there is no such component."""
    if 'type' not in cfg:
        raise ValueError(f'a part of the model has no `type`: {dict(cfg)}')
    return find(MODELS, cfg['type'])


def takes_argument(cfg: Mapping[str, Any], name: str) -> bool:
    """Return whether the component of `MODELS` that a config names exists and takes this argument."""
    return name in parameters_of(model_component(cfg))


def refuses_argument(cfg: Mapping[str, Any], name: str) -> bool:
    """Return whether the component of `MODELS` that a config names exists and would not take this argument."""
    component = model_component(cfg)
    if component is None or name in parameters_of(component):
        return False
    return all(one.kind != one.VAR_KEYWORD for one in inspect.signature(component).parameters.values())
