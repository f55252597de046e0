"""Checkpoints that load safely, hold finite weights, and are refused by a model that they do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from torch import Tensor, nn

from mmmtl.registry import HOOKS
from mmmtl.tasks import build_tasks

PLAIN = (str, bytes, bool, int, float, complex, torch.dtype, type(None))
"""What `weights_only=True` loads, beside tensors, and dicts, lists and tuples of it; none of their subclasses."""


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Keeps checkpoints loadable with `weights_only=True`, and checks them against the model of the run.

    mmengine stores its log buffers as objects; they are written as lists here, and made objects again when loaded.
    """

    # The last one, so that it sees what other hooks add.
    priority = 'LOWEST'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Make everything plain.

        Raises:
            FloatingPointError: weights are not finite; the checkpoints that are there stay.
            ValueError: something else than tensors and plain values is to be saved.
        """
        tensors = {name: value for name, value in checkpoint['state_dict'].items() if isinstance(value, Tensor)}
        if bad := [name for name, value in tensors.items() if not value.isfinite().all()]:
            raise FloatingPointError(
                f'{len(bad)} weights are not finite ({_some(bad)}), so no checkpoint was written; the last good one is '
                'untouched. Lower the learning rate, or resume from that one with gradient clipping '
                '(optim_wrapper.clip_grad).'
            )
        scalars = checkpoint['message_hub']['log_scalars']
        checkpoint['message_hub']['log_scalars'] = {name: _to_lists(buffer) for name, buffer in scalars.items()}
        for key in checkpoint.keys() - {'state_dict'}:
            checkpoint[key] = make_plain(checkpoint[key], key)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Check tasks and weights; lists to log buffers.

        Raises:
            ValueError: the checkpoint is of other tasks, does not fit the model, or cannot be resumed from.
        """
        starts_training = isinstance(runner._train_loop, BaseLoop) and not runner._resume
        if runner._resume and (absent := {'meta', 'message_hub', 'optimizer'} - checkpoint.keys()):
            raise ValueError(
                f'the checkpoint has no {sorted(absent)}, so training cannot be resumed from it; to start from its '
                'weights, name it in load_from instead (--cfg-options load_from=...)'
            )
        if trained := trained_tasks(checkpoint):
            check_tasks(runner.cfg.model['tasks'], trained)
        check_weights(runner.model, weights_of(checkpoint), partly=starts_training)
        hub = checkpoint.get('message_hub', {})
        hub['log_scalars'] = {name: _to_buffer(value) for name, value in hub.get('log_scalars', {}).items()}


def trained_tasks(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Configs of the tasks that a checkpoint was trained for; none for weights from elsewhere."""
    return ((checkpoint.get('meta') or {}).get('dataset_meta') or {}).get('tasks') or {}


def weights_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The weights of a checkpoint, which may also be nothing but these; without the prefix of a wrapped model."""
    weights = checkpoint.get('state_dict', checkpoint)
    return {str(name).removeprefix('module.'): value for name, value in weights.items()}


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
    ours = build_tasks(wanted, 'the model')
    # Of its other tasks, the kinds may not be known here.
    theirs = build_tasks({name: trained[name] for name in ours}, 'the checkpoint')
    for name, task in ours.items():
        mine, other = task.definition(), theirs[name].definition()
        if differing := [key for key in mine if mine[key] != other.get(key)]:
            details = ', '.join(f'{key}: {_short(mine[key])} here, {_short(other.get(key))} there' for key in differing)
            raise ValueError(f'task {name!r} of the checkpoint is not that of this config ({details})')


def check_weights(model: nn.Module, weights: Mapping[str, Any], *, partly: bool = False) -> None:
    """Refuse weights that do not fit, where mmengine would only warn and go on with those that a model began with.

    Args:
        model: may be wrapped, for several processes or for test-time augmentation.
        weights: by name; those that the model does not have are let pass.
        partly: that some of the model's are missing or have other shapes is let pass too, but not that all do.

    Raises:
        ValueError: names the weights.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.get_submodule('module')
    wanted = {name: value for name, value in model.state_dict().items() if 'num_batches_tracked' not in name}
    unfit = [name for name, value in wanted.items() if getattr(weights.get(name), 'shape', None) != value.shape]
    if unfit and not (partly and len(unfit) < len(wanted)):
        raise ValueError(
            f'the checkpoint is of another model: of the {len(wanted)} weights of this one it lacks {len(unfit)}, or '
            f'has them in another shape ({_some(unfit)}); use it with the config that it was trained with'
        )


def make_plain(value: Any, name: str) -> Any:
    """`value` with NumPy's numbers and arrays as Python's.

    Args:
        value: nested dicts, lists and tuples.
        name: of the value, for the message.

    Raises:
        ValueError: there is something in it that `weights_only=True` would not load.
    """
    if isinstance(value, Mapping):
        return {make_plain(key, name): make_plain(item, f'{name}.{key}') for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [make_plain(item, name) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if not isinstance(value, Tensor) and type(value) not in PLAIN:
        raise ValueError(
            f'{name} of the checkpoint is a {type(value).__name__}, which could not be loaded safely; only tensors, '
            'numbers, strings, and lists and dicts of them can be stored'
        )
    return value


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 60 else f'{text[:57]}...'


def _to_lists(buffer: HistoryBuffer) -> list[Any]:
    history, counts = buffer.data
    return [np.asarray(history).tolist(), np.asarray(counts).tolist(), buffer.max_length]


def _to_buffer(value: Any) -> HistoryBuffer:
    return value if isinstance(value, HistoryBuffer) else HistoryBuffer(*value)
