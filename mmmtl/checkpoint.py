"""Reading checkpoints: nothing in a file can run, and weights get into a model only if they fit it."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.hub import load_state_dict_from_url

from mmmtl.registry import TASKS
from mmmtl.tasks import build_tasks
from mmmtl.tasks.order import TaskOrder

RENAMED = (
    (re.compile(r'^decode_head\.(ctam|distillation)\.'), 'decode_head.exchange.'),
    (re.compile(r'^decode_head\.fpma\.'), 'decode_head.propagation.'),
    (re.compile(r'^decode_head\.csam\.'), 'decode_head.cross_scale.'),
    (re.compile(r'^decode_head\.levels\.'), 'decode_head.label_space.'),
)
"""Weights that had other names in version 0.1, and their names now."""


def load_from_local(filename: str | Path, map_location: Any = None) -> dict[str, Any]:
    """Read a checkpoint file with `weights_only=True` and no fallback; takes the place of mmengine's function.

    It serves `--resume`, `load_from` and `init_cfg=dict(type='Pretrained')` alike.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file would run code when unpickled, or is no checkpoint; nothing of it was run.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: no such checkpoint; put it there, or set init_cfg=None in the config to start from random weights'
        )
    return load_plain(path, map_location)


def load_plain(file: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
    """Read a checkpoint from a file or a buffer; takes the place of mmengine's `_safe_torch_load`.

    Args:
        file: path or buffer.
        map_location: as of `torch.load`.
        weights_only: is always True; the argument is that of the function which this one replaces.
    """
    with _errors_of(file):
        return _without_code(torch.load(file, map_location=map_location, weights_only=True))


def load_url(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True) -> dict[str, Any]:
    """Read a checkpoint from the internet, by torch's cache; takes the place of mmengine's function of that name."""
    with _errors_of(url):
        return _without_code(load_state_dict_from_url(url, model_dir, map_location, progress, weights_only=True))


@contextmanager
def _errors_of(name: Any) -> Iterator[None]:
    """Turn the errors of reading the checkpoint `name` into readable ones."""
    try:
        yield
    except UnpicklingError as error:
        # torch says how to switch the protection off; users need to know what it found.
        found = re.search(r'[^.:\n]*(unsupported|unrecognized|disallowed)[^\n]*', str(error), re.IGNORECASE)
        reason = found[0].strip()[:120] if found else 'not unpicklable'
        if not found or 'operand' in reason:
            raise ValueError(
                f'{name}: not a checkpoint of tensors and plain values ({reason}), and nothing of it was run; is it '
                'another kind of file, or cut off?'
            ) from None
        raise ValueError(
            f'{name}: refused, because it holds more than tensors and plain values ({reason}). Nothing of it was run. '
            'If you trust whoever made it, load it yourself and save its weights alone: '
            "torch.save({'state_dict': checkpoint['state_dict']}, new_path)"
        ) from None
    except Exception as error:  # torch.load raises nearly anything for a file that is no checkpoint
        raise ValueError(f'{name}: not a readable checkpoint ({error}); is it cut off?') from None


def _without_code(checkpoint: Any) -> dict[str, Any]:
    if not isinstance(checkpoint, dict):
        raise TypeError(f'it holds a {type(checkpoint).__name__}, not a dict')
    if isinstance(meta := checkpoint.get('meta'), dict):
        # mmengine runs this text as Python when it resumes. Its checkpoints of today call their config `cfg`.
        meta.pop('config', None)
    return checkpoint


def load_weights(
    model: nn.Module, checkpoint: Mapping[str, Any], *, tasks: Mapping[str, Any], partly: bool = False
) -> OrderedDict[str, Tensor]:
    """Load the weights of a checkpoint into a model, if it was trained for the tasks of the model and fits it.

    Args:
        model: not wrapped.
        checkpoint: as a run writes it, or nothing but weights.
        tasks: of the model, as `build_tasks` takes them; the checkpoint may know more.
        partly: accept that some weights are missing or have other shapes, and keep those of the model there.

    Returns:
        The weights of the checkpoint under the names that they have in the model.

    Raises:
        ValueError: the checkpoint is of other tasks or of another model, or its order of tasks is needed and unknown.
    """
    if trained := trained_tasks(checkpoint):
        check_tasks(tasks, trained)
    weights = upgrade(weights_of(checkpoint), model, trained_order(checkpoint))
    check_weights(model, weights, partly=partly)
    fitting = copy(weights)
    for name, value in model.state_dict().items():
        if getattr(weights.get(name, value), 'shape', None) != value.shape:
            del fitting[name]
    model.load_state_dict(fitting, strict=False)
    return weights


def trained_tasks(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configs of the tasks that a checkpoint was trained for; none for weights from elsewhere."""
    return ((checkpoint.get('meta') or {}).get('dataset_meta') or {}).get('tasks') or {}


def trained_order(checkpoint: Mapping[str, Any]) -> list[str]:
    """Return the tasks in the order of the model that a checkpoint was written for; none for weights from elsewhere.

    Models of version 0.1 had the order of their config, and did not store it as `task_order`.
    """
    return list((checkpoint.get('meta') or {}).get('task_order') or trained_tasks(checkpoint))


def upgrade(weights: OrderedDict[str, Tensor], model: nn.Module, order: Sequence[str]) -> OrderedDict[str, Tensor]:
    """Return weights of any version in the form that this one has.

    Args:
        weights: by name, see `weights_of`.
        model: not wrapped; it is not changed.
        order: see `trained_order`.

    Raises:
        ValueError: the weights depend on an order of tasks that is not known.
    """
    upgraded = copy(weights)
    for pattern, new in RENAMED:
        for name in [name for name in upgraded if pattern.match(name)]:
            upgraded[pattern.sub(new, name)] = upgraded.pop(name)
    for name, module in model.named_modules():
        siblings = f'{name.rpartition(".")[0]}.'
        if not isinstance(module, TaskOrder) or len(module.sorted) == 1 or f'{name}.positions' in upgraded:
            continue
        if any(key.startswith(siblings) for key in upgraded):
            positions = module.encode(order)
            if len(positions) < len(module.sorted):
                raise ValueError(
                    f'the weights {siblings}* depend on the order of the tasks {module.sorted} in training, which the '
                    "checkpoint does not tell; write it there: checkpoint['meta'] = dict(task_order=[...])"
                )
            upgraded[f'{name}.positions'] = positions
    return upgraded


def weights_of(checkpoint: Mapping[str, Any]) -> OrderedDict[str, Tensor]:
    """Return the weights of a checkpoint, or of a dict of nothing else, without the prefix of a wrapped model."""
    stored = checkpoint.get('state_dict', checkpoint)
    weights = OrderedDict((str(name).removeprefix('module.'), value) for name, value in stored.items())
    # The versions of the modules, which torch keeps beside the weights.
    weights._metadata = getattr(stored, '_metadata', None)  # type: ignore[attr-defined]
    return weights


def check_tasks(wanted: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that was not trained for all of the wanted tasks, each with the same definition.

    Raises:
        ValueError: names the tasks that differ.
    """
    if absent := [name for name in wanted if name not in trained]:
        shared = ','.join(name for name in wanted if name in trained)
        choose = f', or choose with --tasks {shared}' if shared else ''
        raise ValueError(
            f'the checkpoint was trained for the tasks {sorted(trained)} and knows nothing of {absent}; use a config '
            f"with those tasks{choose}. To start from its backbone alone, set init_cfg=dict(type='Pretrained', "
            "checkpoint=..., prefix='backbone.') there."
        )
    for name, task in build_tasks(wanted, 'the model').items():
        mine, other = task.definition(), _definition(name, trained[name])
        if differing := [key for key in mine if mine[key] != other.get(key)]:
            details = ', '.join(f'{key}: {_short(mine[key])} here, {_short(other.get(key))} there' for key in differing)
            raise ValueError(f'task {name!r} of the checkpoint is not that of this config ({details})')


def _definition(name: str, cfg: Any) -> dict[str, Any]:
    """Return what a task of a checkpoint means; of one whose kind is not known here, the kind alone."""
    kind = str(cfg.get('type') if isinstance(cfg, Mapping) else cfg).rpartition('.')[2]
    # The registry would import whatever else the file names.
    if kind not in TASKS.module_dict:
        return {'type': kind}
    return build_tasks({name: {**cfg, 'type': kind}}, 'the checkpoint')[name].definition()


def check_weights(model: nn.Module, weights: Mapping[str, Any], *, partly: bool = False) -> None:
    """Refuse weights that do not fit, where mmengine would only warn and go on with those that a model began with.

    Args:
        model: not wrapped.
        weights: by name; those that the model does not have are let pass.
        partly: that some of the model's are missing or have other shapes is let pass too, but not that all do.

    Raises:
        ValueError: names the weights.
    """
    wanted = {name: value for name, value in model.state_dict().items() if 'num_batches_tracked' not in name}
    unfit = [name for name, value in wanted.items() if getattr(weights.get(name), 'shape', None) != value.shape]
    if unfit and not (partly and len(unfit) < len(wanted)):
        raise ValueError(
            f'the checkpoint is of another model: of the {len(wanted)} weights of this one it lacks {len(unfit)}, or '
            f'has them in another shape ({some_names(unfit)}); use it with the config that it was trained with'
        )


def some_names(names: Sequence[str]) -> str:
    """Return the first three names of a list, for a message."""
    return ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 60 else f'{text[:57]}...'
