"""A hook that makes a resumed run go on as the interrupted one would have, or says what is different."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from mmmtl.checkpoint import trained_tasks
from mmmtl.engine.resumed_schedule import differences, epochs_changed, follow_config, optimizers_of, schedulers_of
from mmmtl.engine.training_record import training_record
from mmmtl.registry import HOOKS


@HOOKS.register_module()
class ResumeHook(Hook):
    """A hook that compares a resumed run with its checkpoint, and does the validation that was killed.

    - A changed setting is named in a warning, with its value before and now. The config applies from here on, for the
      learning rates too. Another optimiser or seed is refused.
    - A validation that was due after the iteration of the checkpoint, and that the checkpoint does not contain, is done
      before training goes on.
    """

    # After all other hooks have prepared the training.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._validates = False

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Store what the run is trained with."""
        checkpoint['meta']['trained_with'] = training_record(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Name or refuse what differs from the checkpoint.

        Raises:
            ValueError: another optimiser or seed, fewer iterations than are done, or no numbers of epoch and iteration.
        """
        if not runner._resume:
            return
        _check_resumable(runner, checkpoint)
        meta = checkpoint['meta']
        self._validates = not meta.get('validated') and not meta.get('batches_of_epoch', [0])[0]
        before = meta.get('trained_with')
        if before is None:  # of an older version
            return
        differing, schedule = differences(before, training_record(runner))
        if differing:
            listed = '; '.join(f'{key}: {old!r:.80} -> {new!r:.80}' for key, (old, new) in differing.items())
            runner.logger.warning(
                f'Resumed after {meta["iter"]} iterations with other settings, which apply from here on: {listed}'
            )
        if schedule or epochs_changed(runner, checkpoint):
            follow_config(runner, checkpoint)

    def before_train(self, runner: Runner) -> None:
        """Do the validation that is missing; refuse to train without effect.

        Raises:
            ValueError: a learning rate of 0 to the end.
        """
        schedulers = list(schedulers_of(runner))
        rates = runner.optim_wrapper.get_lr().values()
        if (
            0 < runner.iter < runner.max_iters
            and not any(any(rate) for rate in rates)
            and all(scheduler.last_step + 1 >= scheduler.end - scheduler.begin for scheduler in schedulers)
        ):
            ends = [scheduler.end for scheduler in schedulers]
            raise ValueError(
                f'the learning rate is 0 from here on: the schedule ends at {ends} (param_scheduler), training at '
                f'iteration {runner.max_iters}; lengthen both, e.g. with --iterations or --epochs'
            )
        if self._validates and _validation_is_due(runner):
            runner.logger.info('The checkpoint does not contain the validation that was due; it is done now')
            runner.val_loop.run()
        self._validates = False


def _check_resumable(runner: Runner, checkpoint: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of other tasks, another optimiser or seed, and one from which training cannot go on."""
    meta = checkpoint['meta']
    epoch, iteration = meta.get('epoch'), meta.get('iter')
    if epoch is None or iteration is None or epoch > iteration:
        raise ValueError(
            f'the checkpoint has epoch={epoch} and iter={iteration}, which are not valid counts; use another checkpoint'
        )
    unit, done, last = _progress(runner, epoch, iteration)
    if done > last:
        raise ValueError(
            f'the checkpoint was written after {done} {unit}, but training ends at {last} (train_cfg.max_{unit}); '
            'raise this limit, or test the checkpoint'
        )
    trained = sorted(trained_tasks(checkpoint))
    if trained and (own := sorted(runner.cfg.model.get('tasks') or trained)) != trained:
        raise ValueError(
            f'the checkpoint was trained for the tasks {trained}, not for {own}; resume with the same (--tasks), '
            'or start from its weights with load_from'
        )
    optimizers_of(runner, checkpoint)  # refuses others
    if (seed := meta.get('seed')) is not None and seed != runner.seed:
        raise ValueError(
            f'the checkpoint was trained with randomness.seed={seed}, not {runner.seed}; resume with the same, or '
            'start from its weights with load_from (--cfg-options load_from=...)'
        )


def _validation_is_due(runner: Runner) -> bool:
    """Return whether the loop validates after the iterations or epochs that are done."""
    loop = runner.train_loop
    if runner.val_loop is None or not isinstance(loop, (EpochBasedTrainLoop, IterBasedTrainLoop)):
        return False
    _, done, last = _progress(runner, runner.epoch, runner.iter)
    loop._decide_current_val_interval()
    return done >= max(loop.val_begin, 1) and (done % loop.val_interval == 0 or done == last)


def _progress(runner: Runner, epoch: int, iteration: int) -> tuple[str, int, int]:
    """Return the unit of the training loop ('iters' or 'epochs'), how many are done and how many there are."""
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        return 'epochs', epoch, runner.max_epochs
    return 'iters', iteration, runner.max_iters
