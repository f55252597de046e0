"""Resuming with the schedule of the config when it differs from that of the checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmmtl.config.checks import scheduler_configs

from .training_record import changes

Optimizers = dict[str, tuple[OptimWrapper, dict[str, Any]]]


def wrappers_of(wrapper: OptimWrapper | OptimWrapperDict) -> dict[str, OptimWrapper]:
    """Return the optimiser wrappers of a run by name; the name is '' for a single one."""
    return dict(wrapper.items()) if isinstance(wrapper, OptimWrapperDict) else {'': wrapper}


def optimizers_of(runner: Runner, checkpoint: Mapping[str, Any]) -> Optimizers:
    """Return {name: (optimiser of the run, its state in the checkpoint)}; the name is '' for a single one.

    Raises:
        ValueError: the checkpoint holds the state of other optimisers, or of other parameters.
    """
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    wrappers, stored = wrappers_of(runner.optim_wrapper), checkpoint['optimizer']
    states = stored if isinstance(runner.optim_wrapper, OptimWrapperDict) else {'': stored}
    if not isinstance(states, Mapping) or states.keys() != wrappers.keys():
        found = sorted(states) if isinstance(states, Mapping) else type(states).__name__
        raise ValueError(
            f"the checkpoint's optimizer has the parts {found}, not {sorted(wrappers)}; resume with the optim_wrapper "
            'that it was trained with, or start from its weights with load_from'
        )
    for name, one in wrappers.items():
        _check_optimizer(name, one, states[name])
    return {name: (one, states[name]) for name, one in wrappers.items()}


def _check_optimizer(name: str, wrapper: OptimWrapper, state: Any) -> None:
    where = f"the checkpoint's optimizer{name and '.' + name}"
    groups = state.get('param_groups') if isinstance(state, Mapping) else None
    if not isinstance(groups, list) or not all(
        isinstance(group, dict) and isinstance(group.get('params'), list) for group in groups
    ):
        raise ValueError(f'{where} lacks param_groups, so training cannot be resumed from it; use load_from instead')
    mine = wrapper.optimizer.param_groups
    if [len(group['params']) for group in groups] != [len(group['params']) for group in mine]:
        found, wanted = ([len(group['params']) for group in some] for some in (groups, mine))
        raise ValueError(f'{where} has groups of {found} parameters, not of {wanted}; use the config of the checkpoint')
    for theirs, ours in zip(groups, mine, strict=True):
        known = {key for key in theirs if not key.startswith(('initial_', 'max_', 'min_'))}
        # A newer version of torch may have more arguments, so one side alone proves nothing.
        if known - ours.keys() and wrapper.optimizer.defaults.keys() - known:
            raise ValueError(
                f'{where} is not a {type(wrapper.optimizer).__name__}: it has {sorted(known - ours.keys())}; resume '
                'with the same optimizer, or start from the weights with load_from'
            )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[dict[str, tuple[Any, Any]], bool]:
    """Return what differs between two training records, and whether the learning rates follow from it.

    Raises:
        ValueError: another optimiser; training would not go on from what is stored.
    """
    differing = changes(before, now)
    for key, (old, new) in differing.items():
        if key.startswith('optim_wrapper') and key.endswith(('optimizer.type', 'constructor')):
            raise ValueError(
                f'the checkpoint was trained with {key}={old!r}, not {new!r}; resume with the same, or start from its '
                'weights with load_from (--cfg-options load_from=...)'
            )
    sizes = ('train_dataloader.batch_size', 'number of processes', 'accumulative_counts')
    scaled = sizes if now.get('auto_scale_lr.enable') else ()
    rates_follow = any(
        key.startswith(('param_scheduler', 'train_cfg.max_', 'auto_scale_lr'))
        or (key.startswith('optim_wrapper') and {'optimizer', 'paramwise_cfg'} & {*key.split('.')})
        or key.endswith(scaled)
        for key in differing
    )
    return differing, rates_follow


def follow_config(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Replace the learning rates and schedulers of a checkpoint by what the config has at its iteration.

    The optimiser keeps its state, such as Adam's averages; its settings become those of the config.

    Raises:
        ValueError: a scheduler follows metrics, which are not known for the iterations before.
    """
    optimizers = optimizers_of(runner, checkpoint)
    if runner.param_schedulers is not None:
        runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
        meta = checkpoint['meta']
        epochs, iterations, in_epochs = meta['epoch'], meta['iter'], None
        if 'batches_of_epoch' in meta:
            in_epochs = epochs * len(runner.train_dataloader) + meta['batches_of_epoch'][0]
        replay(runner, epochs, iterations, in_epochs)
        checkpoint['param_schedulers'] = (
            {name: [one.state_dict() for one in some] for name, some in runner.param_schedulers.items()}
            if isinstance(runner.param_schedulers, dict)
            else [one.state_dict() for one in runner.param_schedulers]
        )
    for wrapper, state in optimizers.values():
        fresh = wrapper.state_dict()
        state.update({key: fresh[key] for key in ('param_groups', 'base_param_settings') if key in fresh})


def epochs_changed(runner: Runner, checkpoint: Mapping[str, Any]) -> bool:
    """Return whether epochs have another number of batches than before, and the schedule can follow it."""
    _, before = checkpoint['meta'].get('batches_of_epoch', [0, None])
    if before is None or before == len(runner.train_dataloader):
        return False
    return any(_converts(runner)) and not any(map(_follows_metrics, schedulers_of(runner)))


def _converts(runner: Runner) -> list[bool]:
    """Return for each scheduler whether it is given in epochs and counts iterations."""
    converts = [bool(one.get('convert_to_iter_based')) for one in scheduler_configs(runner.cfg)] or [False]
    # The same configs may serve several optimisers.
    return [one for one, _ in zip(cycle(converts), schedulers_of(runner), strict=False)]


def _follows_metrics(scheduler: Any) -> bool:
    return getattr(scheduler, 'need_val_args', False)


def schedulers_of(runner: Runner) -> Iterator[Any]:
    """Yield all schedulers of a run."""
    found = runner.param_schedulers or []
    for some in found.values() if isinstance(found, dict) else [found]:
        yield from some


def replay(runner: Runner, epochs: int, iterations: int, in_epochs: int | None = None) -> None:
    """Step the schedulers as often as the iterations and epochs before have done.

    Those with `convert_to_iter_based` have done `in_epochs` steps instead, if given: as many iterations as the epochs
    before would have with their present length.
    """
    schedulers = list(schedulers_of(runner))
    if any(map(_follows_metrics, schedulers)):
        raise ValueError(
            'the schedule differs from that of the checkpoint and has a scheduler that follows metrics, so its place '
            'is not known; resume with the same schedule, or start from the weights with load_from'
        )
    if in_epochs is None:
        in_epochs, counts = iterations, [iterations] * len(schedulers)
    else:
        counts = [in_epochs if converted else iterations for converted in _converts(runner)]
    length = len(runner.train_dataloader) if isinstance(runner.train_loop, EpochBasedTrainLoop) else 1
    ended = 0
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # they complain that the optimiser has not stepped
        for done in range(1, max(iterations, in_epochs) + 1):
            for scheduler, count in zip(schedulers, counts, strict=True):
                if not scheduler.by_epoch and done <= count:
                    scheduler.step()
            while ended < epochs and min((ended + 1) * length, in_epochs) == done:
                ended += 1
                for scheduler in schedulers:
                    if scheduler.by_epoch:
                        scheduler.step()
