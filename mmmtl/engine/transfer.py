"""Starting from a checkpoint of other tasks or classes: the weights of it that a model can use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from mmmtl.checkpoint import task_pairs, trained_order, trained_tasks, weights_of
from mmmtl.models.weighting import Weighting
from mmmtl.tasks import build_tasks
from mmmtl.tasks.order import TaskOrder
from mmmtl.tasks.recorded import definition_of


class Transfer(NamedTuple):
    """A checkpoint without what belongs to other tasks, and why the rest was left out, {reason: names of weights}."""

    checkpoint: dict[str, Any]
    left_out: dict[str, list[str]]


def transfer(model: nn.Module, checkpoint: Mapping[str, Any], tasks: Mapping[str, Any]) -> Transfer:
    """Return the weights of a checkpoint that a model may start from, whatever tasks it was trained for.

    Left out are the weights of tasks that only one of them has, or of another kind; of a task with other classes
    those with one channel for each class; and, if the set of tasks differs, of what joins their features or weights
    their losses. The tasks in the checkpoint are compared as plain data.

    Args:
        model: the model, not wrapped.
        checkpoint: a checkpoint of a run.
        tasks: those of the model, {name: config}.

    Raises:
        ValueError: the checkpoint does not name its tasks, or not in a readable way.
    """
    if not (trained := trained_tasks(checkpoint)):
        raise ValueError('load_from_other_tasks needs a checkpoint that names its tasks (meta.dataset_meta.tasks)')
    unlike: dict[str, str] = {}
    classes: dict[str, int] = {}
    for name, task in build_tasks(tasks, 'the model').items():
        if name not in trained:
            unlike[name] = f'the checkpoint has no task {name!r}'
            continue
        mine, other = task.definition(), definition_of(name, trained[name])
        if mine['type'] != other['type']:
            unlike[name] = f'task {name!r} is a {other["type"]} there and a {mine["type"]} here'
        elif mine != other:
            classes[name] = other['out_channels']
    kept: OrderedDict[str, Tensor] = OrderedDict()
    left_out: dict[str, list[str]] = {}
    weights = weights_of(checkpoint)
    joined: list[str] = []
    if set(tasks) != set(trained):
        joined = [*_joining(model), *(key for key in weights if task_pairs(key, trained))]
    for key, value in weights.items():
        if reason := _reason(key, tuple(value.shape), unlike, classes, joined, trained.keys() - tasks):
            left_out.setdefault(reason, []).append(key)
        else:
            kept[key] = value
    meta = {key: value for key, value in checkpoint['meta'].items() if key != 'dataset_meta'}
    return Transfer({'state_dict': kept, 'meta': {**meta, 'task_order': trained_order(checkpoint)}}, left_out)


def _reason(
    key: str,
    shape: tuple[int, ...],
    unlike: Mapping[str, str],
    classes: Mapping[str, int],
    joined: list[str],
    dropped: Collection[str],
) -> str | None:
    """Return why a weight is left out, or None."""
    parts = key.split('.')
    for part in parts:
        if part in unlike:
            return unlike[part]
        # Depth-wise convolutions of any task have 1 channel in the second place.
        if part in classes and (shape[:1] == (classes[part],) or shape[1:2] == (classes[part],) != (1,)):
            return f'task {part!r} has other classes or another scale'
    if any(key.startswith(prefix) for prefix in joined):
        return 'joins the features or losses of a different set of tasks'
    return next((f'the model has no task {part!r}' for part in parts if part in dropped), None)


def _joining(model: nn.Module) -> list[str]:
    """Return the prefixes of the modules that concatenate the features of tasks, or have numbers for their losses."""
    found = {name: part for name, part in model.named_modules() if isinstance(part, (TaskOrder, Weighting))}
    return [f'{name if isinstance(part, Weighting) else name.rpartition(".")[0]}.' for name, part in found.items()]


def describe(left_out: Mapping[str, list[str]]) -> str:
    """Return the weights that were left out with the reasons, as text for a message."""
    return '; '.join(f'{reason}: {", ".join(names)}' for reason, names in left_out.items())
