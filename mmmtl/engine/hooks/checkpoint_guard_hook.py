"""Hooks that keep checkpoints safe to load and finite, and check that they fit the model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseTTAModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmmtl.checkpoint import (
    WEIGHTING,
    check_weights,
    fitting_weights,
    trained_order,
    unfit_weights,
    unused_weights,
    upgrade,
    weights_of,
)
from mmmtl.convolutions import KEY as CONVOLUTIONS
from mmmtl.convolutions import geometry
from mmmtl.engine.checkpoint_files import make_plain
from mmmtl.engine.transfer import describe, transfer
from mmmtl.engine.unwrap import unwrap
from mmmtl.io.checkpoints import some_names
from mmmtl.registry import HOOKS


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """A hook that keeps checkpoints finite and loadable with `weights_only=True`.

    mmengine stores its log buffers as objects. Here they are saved as lists; `CheckpointGuardHook` turns them back.
    """

    # Last, so that it sees what other hooks add.
    priority = 'LOWEST'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Make everything plain; raise FloatingPointError if some weights are not finite."""
        # With EMA, `state_dict` is the average, and the other one has the weights that are trained.
        states = (checkpoint['state_dict'], checkpoint.get('ema_state_dict') or {})
        tensors = [(name, value) for state in states for name, value in state.items() if isinstance(value, Tensor)]
        if bad := [name for name, value in tensors if not value.isfinite().all()]:
            raise FloatingPointError(
                f'{len(bad)} weights are not finite ({some_names(bad)}), so no checkpoint was written; the last good '
                'one is untouched. Lower the learning rate, or resume from it with gradient clipping '
                '(optim_wrapper.clip_grad).'
            )
        checkpoint['meta'][CONVOLUTIONS] = geometry(unwrap(runner.model))
        checkpoint['meta']['task_order'] = sorted(runner.cfg.model['tasks'])
        scalars = checkpoint['message_hub']['log_scalars']
        checkpoint['message_hub']['log_scalars'] = {name: _to_lists(buffer) for name, buffer in scalars.items()}
        if 'param_schedulers' in checkpoint:
            checkpoint['param_schedulers'] = without_functions(checkpoint['param_schedulers'])
        for key in checkpoint.keys() - {'state_dict'}:
            checkpoint[key] = make_plain(checkpoint[key], key)


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """A hook that checks that checkpoints fit the model, and converts those of older versions."""

    # Before mmengine's EMAHook, which takes its average from the checkpoint.
    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Replace the weights by those that fit the model, and turn lists back into log buffers."""
        model = unwrap(runner.model)
        if isinstance(model, BaseTTAModel):
            model = model.module
        if runner._resume:
            weights = _resumed_weights(runner, model, checkpoint)
        elif isinstance(runner.optim_wrapper, OptimWrapper):  # mmengine builds it only when training starts
            weights = _initial_weights(runner, model, checkpoint)
        else:
            weights = fitting_weights(model, checkpoint, tasks=runner.cfg.model['tasks'])
        checkpoint['state_dict'] = weights  # mmengine loads these into the model
        hub = checkpoint.get('message_hub', {})
        hub['log_scalars'] = {name: HistoryBuffer(*value) for name, value in hub.get('log_scalars', {}).items()}


def _resumed_weights(runner: Runner, model: nn.Module, checkpoint: dict[str, Any]) -> OrderedDict[str, Tensor]:
    """Return the weights with which training goes on, and convert their average; refuse what cannot be resumed."""
    if absent := {'meta', 'message_hub', 'optimizer'} - checkpoint.keys():
        raise ValueError(
            f'the checkpoint has no {sorted(absent)}, so training cannot be resumed from it; to start from its '
            'weights, use load_from instead (--cfg-options load_from=...)'
        )
    order = trained_order(checkpoint)
    if order != sorted(order):
        raise ValueError(
            f'the checkpoint is from version 0.1, whose optimizer has the tasks in the order {order}; finish '
            'training with that version, or start from the weights with --cfg-options load_from=...'
        )
    if checkpoint.get('ema_state_dict') and not any(isinstance(hook, EMAHook) for hook in runner.hooks):
        # mmengine's EMAHook swaps the two states when it saves, and again when it resumes.
        checkpoint['state_dict'] = checkpoint.pop('ema_state_dict')
        runner.logger.warning(
            'The checkpoint was trained with an EMAHook, which custom_hooks lacks: training goes on from the '
            'trained weights, without their average'
        )
    _check_weighting(model, weights_of(checkpoint))
    weights = fitting_weights(model, checkpoint, tasks=runner.cfg.model['tasks'])
    if averaged := checkpoint.get('ema_state_dict'):
        checkpoint['ema_state_dict'] = _upgrade_average(averaged, model, order)
    return weights


def _initial_weights(runner: Runner, model: nn.Module, checkpoint: Mapping[str, Any]) -> OrderedDict[str, Tensor]:
    """Return the weights from which training starts, which need not be all of the model's; warn of what differs."""
    tasks = runner.cfg.model['tasks']
    source = checkpoint
    if runner.cfg.get('load_from_other_tasks'):
        source, left_out = transfer(model, checkpoint, tasks)
        if left_out:
            runner.logger.warning(f'load_from_other_tasks leaves out of {runner.cfg.load_from}: {describe(left_out)}')
    weights = fitting_weights(model, source, tasks=tasks, partly=True)
    if unused := unused_weights(model, upgrade(weights_of(source), model, trained_order(checkpoint))):
        runner.logger.warning(f'load_from: the model lacks {len(unused)} weights of it: {", ".join(unused)}')
    if new := unfit_weights(model, weights):
        runner.logger.warning(f'load_from: {len(new)} weights keep their initial values: {", ".join(new)}')
    # What a weighting has learnt and counted belongs to the losses of the other run; ours begins anew.
    if learnt := [name for name in weights if name.startswith(WEIGHTING)]:
        runner.logger.warning(f'load_from: the weighting begins anew, without {", ".join(learnt)}')
    weights.update((name, value) for name, value in model.state_dict().items() if name.startswith(WEIGHTING))
    return weights


def _check_weighting(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Refuse to resume with a weighting whose state has other names or shapes than the one before."""
    ours, theirs = (
        {name: value.shape for name, value in state.items() if name.startswith(WEIGHTING)}
        for state in (model.state_dict(), weights)
    )
    if ours != theirs:
        raise ValueError(
            f"the checkpoint's weighting has {sorted(theirs) or 'no state'}, the model's {sorted(ours) or 'none'}; "
            'resume with the model.weighting it was trained with, or start from its weights with --cfg-options '
            'load_from=...'
        )


def _upgrade_average(averaged: Mapping[str, Any], model: nn.Module, order: Sequence[str]) -> dict[str, Any]:
    """Convert the state of mmengine's AveragedModel like the weights; EMAHook itself ignores what does not fit."""
    inner = {name: value for name, value in averaged.items() if name.startswith('module.')}
    weights = upgrade(weights_of({'state_dict': inner}), model, order)
    check_weights(model, weights)
    others = {name: value for name, value in averaged.items() if name not in inner}
    return others | {f'module.{name}': value for name, value in weights.items()}


def without_functions(state: Any) -> Any:
    """Leave out the functions of schedulers, such as OneCycleLR's `anneal_func`; they follow from the config."""
    if isinstance(state, dict):
        return {key: without_functions(value) for key, value in state.items() if not callable(value)}
    return [without_functions(value) for value in state] if isinstance(state, list) else state


def _to_lists(buffer: HistoryBuffer) -> list[Any]:
    history, counts = buffer.data
    return [np.asarray(history).tolist(), np.asarray(counts).tolist(), buffer.max_length]
