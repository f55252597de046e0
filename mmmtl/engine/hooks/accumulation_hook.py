"""A hook that keeps accumulated gradients in checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce_params, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmmtl.engine.resumed_schedule import wrappers_of
from mmmtl.engine.unwrap import unwrap
from mmmtl.io.checkpoints import some_names
from mmmtl.registry import HOOKS


@HOOKS.register_module()
class AccumulationHook(Hook):
    """A hook for `optim_wrapper.accumulative_counts`: checkpoints between two updates hold the gradients so far.

    So a resumed run is the same wherever its checkpoint was written. Several processes gather different gradients until
    an update; before a checkpoint they take their mean, which changes the update by rounding only.
    """

    # After all other hooks have prepared the training.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._stored: Mapping[str, Any] | None = None

    def before_checkpoint(self, runner: Runner) -> None:
        """Give all processes the mean of their gradients; our CheckpointHook calls this on each of them."""
        if get_world_size() > 1 and (pending := _pending(runner)):
            mine = [name for name, weight in pending.items() if weight.grad is not None]
            names = sorted(set().union(*all_gather_object(mine)))
            for name in names:
                if pending[name].grad is None:
                    pending[name].grad = torch.zeros_like(pending[name])
            all_reduce_params([pending[name].grad for name in names], op='mean')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Store the gradients that no update has used.

        Raises:
            FloatingPointError: they are not finite, and the loss is not scaled; a scaler skips such an update.
        """
        if 'optimizer' not in checkpoint or not (pending := _pending(runner)):
            return
        gradients = {name: weight.grad.cpu() for name, weight in pending.items() if weight.grad is not None}
        bad = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
        if bad and not any(_scales_losses(runner).values()):
            raise FloatingPointError(
                f'{len(bad)} accumulated gradients are not finite ({some_names(bad)}), so no checkpoint was written; '
                'the last good one is untouched. Lower the learning rate, or resume from it with gradient clipping '
                '(optim_wrapper.clip_grad).'
            )
        checkpoint['accumulated'] = {
            'gradients': gradients,
            'counts': {name: wrapper.inner_count for name, wrapper in wrappers_of(runner.optim_wrapper).items()},
            'accumulative_counts': _accumulative_counts(runner),
            'scaled': _scales_losses(runner),
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the gradients for the start of training.

        Raises:
            ValueError: they were accumulated with other `accumulative_counts` or in another precision, or fit another
                model.
        """
        self._stored = checkpoint.get('accumulated') if runner._resume else None
        if self._stored is None:
            return
        weights = dict(unwrap(runner.model).named_parameters())
        try:
            stored, counts = dict(self._stored['accumulative_counts']), dict(self._stored['counts'])
            shapes = {name: value.shape for name, value in self._stored['gradients'].items()}
            fit = all(weights[name].shape == shape for name, shape in shapes.items())
        except (AttributeError, KeyError, TypeError, ValueError):
            fit = False
        if not fit or stored.keys() != counts.keys() or not all(type(count) is int for count in counts.values()):
            raise ValueError(
                "the checkpoint's accumulated gradients do not fit the model; use the config of the checkpoint"
            )
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        if stored != (wanted := _accumulative_counts(runner)):
            raise ValueError(
                f'the checkpoint was written between two updates with accumulative_counts={stored}, not {wanted}; '
                'resume with the same, or from a checkpoint at an update'
            )
        if self._stored.get('scaled', scaled := _scales_losses(runner)) != scaled:
            raise ValueError(
                'the checkpoint was written between two updates, with gradients of another precision; resume with the '
                'same optim_wrapper.dtype, or from a checkpoint at an update'
            )
        runner.logger.addFilter(_is_not_of_lost_gradients)

    def before_train(self, runner: Runner) -> None:
        """Restore the gradients and how many iterations they come from."""
        if self._stored is None:
            return
        runner.logger.removeFilter(_is_not_of_lost_gradients)
        weights = dict(unwrap(runner.model).named_parameters())
        for name, gradient in self._stored['gradients'].items():
            weights[name].grad = gradient.to(weights[name].device)
        for name, wrapper in wrappers_of(runner.optim_wrapper).items():
            wrapper._inner_count = self._stored['counts'][name]
        runner.logger.info('The gradients since the last update were restored, so none is lost')
        self._stored = None


def _is_not_of_lost_gradients(record: logging.LogRecord) -> bool:
    """Return whether a record is not mmengine's warning that the gradients that are restored were lost."""
    return not record.getMessage().startswith('Resumed iteration number is not divisible')


def _accumulative_counts(runner: Runner) -> dict[str, int]:
    return {name: wrapper._accumulative_counts for name, wrapper in wrappers_of(runner.optim_wrapper).items()}


def _scales_losses(runner: Runner) -> dict[str, bool]:
    """Return which wrappers scale the loss, as those for float16 do."""
    scalers = {
        name: getattr(wrapper, 'loss_scaler', None) for name, wrapper in wrappers_of(runner.optim_wrapper).items()
    }
    return {name: scaler is not None and scaler.is_enabled() for name, scaler in scalers.items()}


def _pending(runner: Runner) -> dict[str, nn.Parameter]:
    """Return the parameters whose gradients wait for an update, by name."""
    waiting = {
        id(weight)
        for wrapper in wrappers_of(runner.optim_wrapper).values()
        if not wrapper.should_update()
        for group in wrapper.optimizer.param_groups
        for weight in group['params']
    }
    return {name: weight for name, weight in unwrap(runner.model).named_parameters() if id(weight) in waiting}
