"""Weights of a model: only those that fit it and were trained for its tasks are loaded; a hash tells them apart."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mmmtl._output import counted
from mmmtl.convolutions import check_geometry
from mmmtl.io.checkpoints import some_names
from mmmtl.tasks import build_tasks
from mmmtl.tasks.order import TaskOrder
from mmmtl.tasks.recorded import check_tasks

RENAMED = (
    (re.compile(r'^decode_head\.(ctam|distillation)\.'), 'decode_head.exchange.'),
    (re.compile(r'^decode_head\.fpma\.'), 'decode_head.propagation.'),
    (re.compile(r'^decode_head\.csam\.'), 'decode_head.cross_scale.'),
    (re.compile(r'^decode_head\.levels\.'), 'decode_head.label_space.'),
)
"""Patterns of names of weights in version 0.1, and their names now."""


WEIGHTING = 'weighting.'
"""The prefix of what a weighting learns or counts; training alone needs it."""

TRAINING_ONLY = (WEIGHTING, 'align_loss.', 'distillation.')
"""Prefixes of weights that predictions do not need."""

COUNTERS = ('num_batches_tracked', 'n_averaged', 'steps')
"""Ends of names that norms and averaged models give their counters."""


def load_weights(model: nn.Module, checkpoint: Mapping[str, Any], *, tasks: Mapping[str, Any]) -> None:
    """Load the weights of a checkpoint into a model; `fitting_weights` says what is refused."""
    model.load_state_dict(fitting_weights(model, checkpoint, tasks=tasks), strict=False)


def fitting_weights(
    model: nn.Module, checkpoint: Mapping[str, Any], *, tasks: Mapping[str, Any], partly: bool = False
) -> OrderedDict[str, Tensor]:
    """Return the weights of a checkpoint for a model, if it was trained for the model's tasks and fits it.

    Args:
        model: the model, not wrapped.
        checkpoint: a checkpoint of a run, or weights alone.
        tasks: tasks of the model, as `build_tasks` takes them; the checkpoint may have more.
        partly: leave out what is mis-shaped or not in the model, and accept that some weights are missing.

    Returns:
        The weights under their names in the model, for `load_state_dict` with `strict=False`.

    Raises:
        ValueError: the checkpoint belongs to other tasks or another model, was trained with other dilations, or lacks
            an order of tasks that it needs; or its tasks receive features of others that the model lacks, unless
            `partly`.
    """
    if trained := trained_tasks(checkpoint):
        check_tasks(tasks, trained)
    weights = upgrade(weights_of(checkpoint), model, trained_order(checkpoint))
    check_geometry(model, checkpoint.get('meta'), weights=weights)
    try:
        check_weights(model, weights, partly=partly)
        if not partly:
            check_senders(weights, tasks, trained)
            built = build_tasks(tasks, 'the model') if tasks else {}
            predicted = [name for name, task in built.items() if not task.auxiliary]
            check_unused(model, weights, predicted, trained)
    except ValueError as error:
        if trained and set(trained) != set(tasks):
            raise ValueError(
                f'{error}. The checkpoint was trained for {sorted(trained)}, but the model has only {sorted(tasks)}. '
                f'If tasks exchange features, use all of {sorted(trained)} (no --tasks, no use_tasks)'
            ) from None
        raise
    own = model.state_dict()
    for name in list(weights):
        if name not in own or getattr(weights[name], 'shape', None) != own[name].shape:
            del weights[name]
    return weights


def trained_tasks(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configs of the tasks that a checkpoint was trained for, empty if it does not name them."""
    dataset = (checkpoint.get('meta') or {}).get('dataset_meta') or {}
    return dict(dataset.get('tasks') or {})


def trained_order(checkpoint: Mapping[str, Any]) -> list[str]:
    """Return the order of tasks of the model in a checkpoint, empty if the checkpoint does not name tasks.

    Version 0.1 did not store `task_order`; its models had the order of their config.
    """
    return list((checkpoint.get('meta') or {}).get('task_order') or trained_tasks(checkpoint))


def upgrade(weights: OrderedDict[str, Tensor], model: nn.Module, order: Sequence[str]) -> OrderedDict[str, Tensor]:
    """Convert weights of any version to the names and contents of this one.

    `weights` are from `weights_of` and `order` is from `trained_order`; the model is not changed.

    Raises:
        ValueError: the weights depend on an order of tasks that is not known.
    """
    upgraded = copy(weights)
    wanted = model.state_dict().keys()
    for pattern, replacement in RENAMED:
        for old in weights:
            new = pattern.sub(replacement, old)
            if old not in wanted and new in wanted and new not in upgraded:
                upgraded[new] = upgraded.pop(old)
    for name, module in model.named_modules():
        siblings = f'{name.rpartition(".")[0]}.'
        if not isinstance(module, TaskOrder) or len(module.sorted) == 1 or f'{name}.positions' in upgraded:
            continue
        if any(key.startswith(siblings) for key in upgraded):
            positions = module.encode(order)
            if len(positions) < len(module.sorted):
                raise ValueError(
                    f'the weights {siblings}* depend on the order of the tasks {module.sorted} in training, which the '
                    "checkpoint lacks; store it as checkpoint['meta'] = dict(task_order=[...])"
                )
            upgraded[f'{name}.positions'] = positions
    return upgraded


def part_of(checkpoint: Mapping[str, Any], part: nn.Module, prefix: str) -> OrderedDict[str, Tensor]:
    """Return the weights of a checkpoint below a prefix ('backbone.') as a part of a model needs them.

    Raises:
        ValueError: they were trained with other dilations.
    """
    weights = weights_of(checkpoint)
    inner = OrderedDict((name.removeprefix(prefix), weights[name]) for name in weights if name.startswith(prefix))
    check_geometry(part, checkpoint.get('meta'), prefix=prefix, weights=inner)
    return upgrade(inner, part, trained_order(checkpoint))


def weights_of(checkpoint: Mapping[str, Any]) -> OrderedDict[str, Tensor]:
    """Return the weights in a checkpoint or a plain dict of weights, without the prefix of a wrapped model."""
    stored = checkpoint.get('state_dict', checkpoint)
    weights = OrderedDict((str(name).removeprefix('module.'), value) for name, value in stored.items())
    # torch keeps the versions of the modules beside the weights; other entries would change how it loads them.
    kept = getattr(stored, '_metadata', None)
    versions = {
        str(name): {'version': about['version']}
        for name, about in (kept.items() if isinstance(kept, Mapping) else ())
        if isinstance(about, Mapping) and type(about.get('version')) is int
    }
    weights._metadata = OrderedDict(versions) or None  # type: ignore[attr-defined]
    return weights


def check_weights(model: nn.Module, weights: Mapping[str, Any], *, partly: bool = False) -> None:
    """Refuse weights that do not fit a model; mmengine would only warn and keep the initial ones.

    What belongs to a weighting is ignored. `partly` tolerates some missing or mis-shaped weights, but not all.
    """
    unfit, count = unfit_weights(model, weights), len(wanted_weights(model))
    if unfit and not (partly and len(unfit) < count):
        raise ValueError(
            f'the checkpoint belongs to another model: {len(unfit)} of {count} weights are missing or have '
            f'another shape ({some_names(unfit)}); use the config that it was trained with'
        )


def check_unused(model: nn.Module, weights: Iterable[str], tasks: Collection[str], trained: Collection[str]) -> None:
    """Refuse weights that the model lacks, except those of training alone and of tasks that it does not predict.

    If the trained tasks are not known, such a task has the same modules as some task that the model predicts.
    """
    known = model.state_dict().keys()

    def is_left_out(name: str) -> bool:
        parts = name.split('.')
        if trained:
            return any(part in trained and part not in tasks for part in parts)
        places = range(len(parts))
        return any('.'.join([*parts[:i], task, *parts[i + 1 :]]) in known for i in places for task in tasks)

    if unused := [name for name in unused_weights(model, weights) if not is_left_out(name)]:
        raise ValueError(
            f'the checkpoint belongs to another model: it has {counted(len(unused), "weight")} that this one lacks '
            f'({some_names(unused)}), without which predictions would differ; use the config that it was trained with'
        )


def check_senders(weights: Iterable[str], tasks: Collection[str], trained: Collection[str]) -> None:
    """Refuse weights in which a task of the model receives features of a trained one that the model lacks."""
    if lost := [name for name in weights if any(t in tasks and s not in tasks for t, s in task_pairs(name, trained))]:
        raise ValueError(
            f'the tasks of the model receive features of tasks that it lacks, through {counted(len(lost), "weight")} '
            f'of the checkpoint ({some_names(lost)})'
        )


def task_pairs(name: str, tasks: Collection[str]) -> list[tuple[str, str]]:
    """Return the pairs (target, source) of tasks that follow each other in the name of a weight.

    Modules in which tasks exchange features name their weights so.

    Examples:
        >>> task_pairs('decode_head.exchange.attend.semseg.depth.gate.weight', ['depth', 'semseg'])
        [('semseg', 'depth')]
    """
    return [(target, source) for target, source in pairwise(name.split('.')) if target in tasks and source in tasks]


def unfit_weights(model: nn.Module, weights: Mapping[str, Any]) -> list[str]:
    """Return the names of the weights of a model that are missing or have another shape."""
    return [
        name
        for name, value in wanted_weights(model).items()
        if getattr(weights.get(name), 'shape', None) != value.shape
    ]


def unused_weights(model: nn.Module, weights: Iterable[str]) -> list[str]:
    """Return the names of weights that a model lacks, without counters and those that only training needs."""
    known = model.state_dict().keys()
    return [
        name
        for name in weights
        if name not in known and not name.startswith(TRAINING_ONLY) and not name.endswith(COUNTERS)
    ]


def wanted_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that a model needs from a file, without counters and those of a weighting."""
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith(WEIGHTING)}
    return {name: value for name, value in weights.items() if 'num_batches_tracked' not in name}


def digest_model(model: nn.Module) -> str:
    """Return a hash of the names and values of all weights, without what modules add to their state besides tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if isinstance(tensor, torch.Tensor):
            digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
            plain = tensor.detach().cpu().resolve_conj().contiguous().flatten()
            digest.update(plain.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
