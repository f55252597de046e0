"""Checkpoints that hold plain values only, and are refused by a model of other tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from mmmtl.registry import HOOKS
from mmmtl.tasks import build_tasks

NOT_COMPARED = ('loss_weight', 'class_weights', 'palette', 'aggregation', 'unscored', 'source')
"""Arguments of a task that leave the meaning of the model's outputs alone."""


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Keeps checkpoints loadable with `weights_only=True`, and checks them against the tasks of the run.

    mmengine stores its log buffers as objects; they are written as lists here, and made objects again when loaded.
    """

    priority = 'VERY_HIGH'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Log buffers to lists."""
        scalars = checkpoint['message_hub']['log_scalars']
        checkpoint['message_hub']['log_scalars'] = {name: _to_lists(buffer) for name, buffer in scalars.items()}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Check the tasks; lists to log buffers."""
        trained = checkpoint.get('meta', {}).get('dataset_meta', {}).get('tasks')
        if trained:
            check_tasks(runner.cfg.model['tasks'], trained)
        hub = checkpoint.get('message_hub', {})
        hub['log_scalars'] = {name: HistoryBuffer(*lists) for name, lists in hub.get('log_scalars', {}).items()}


def check_tasks(wanted: dict[str, Any], trained: dict[str, Any]) -> None:
    """Refuse a checkpoint that was not trained for all of the wanted tasks, each with the same definition.

    Raises:
        ValueError: names the tasks that differ.
    """
    ours, theirs = build_tasks(wanted, 'the model'), build_tasks(trained, 'the checkpoint')
    if absent := [name for name in ours if name not in theirs]:
        raise ValueError(
            f'the checkpoint was trained for the tasks {sorted(theirs)} and knows nothing of {absent}; use a config with '
            f'those tasks, or --tasks {",".join(name for name in ours if name in theirs) or "..."}. To start from its '
            "backbone alone, set init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.') there."
        )
    for name, task in ours.items():
        mine, other = _definition(task), _definition(theirs[name])
        if differing := [key for key in mine if mine[key] != other.get(key)]:
            details = ', '.join(f'{key}: {_short(mine[key])} here, {_short(other.get(key))} there' for key in differing)
            raise ValueError(f'task {name!r} of the checkpoint is not that of this config ({details})')


def _definition(task: Any) -> dict[str, Any]:
    """What decides the meaning of a task's outputs."""
    public = {key: value for key, value in vars(task).items() if key not in NOT_COMPARED and key != 'scored'}
    return {'type': type(task).__name__, **public}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 60 else f'{text[:57]}...'


def _to_lists(buffer: HistoryBuffer) -> list[Any]:
    history, counts = buffer.data
    return [np.asarray(history).tolist(), np.asarray(counts).tolist(), buffer.max_length]
