"""Checkpoints that load safely, hold finite weights, and are refused by a model that they do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import BaseLoop, Runner
from torch import Tensor

from mmmtl.checkpoint import check_tasks, check_weights, make_plain, some_names, trained_tasks, weights_of
from mmmtl.registry import HOOKS


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
                f'{len(bad)} weights are not finite ({some_names(bad)}), so no checkpoint was written; the last good '
                'one is untouched. Lower the learning rate, or resume from that one with gradient clipping '
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


def _to_lists(buffer: HistoryBuffer) -> list[Any]:
    history, counts = buffer.data
    return [np.asarray(history).tolist(), np.asarray(counts).tolist(), buffer.max_length]


def _to_buffer(value: Any) -> HistoryBuffer:
    return value if isinstance(value, HistoryBuffer) else HistoryBuffer(*value)
