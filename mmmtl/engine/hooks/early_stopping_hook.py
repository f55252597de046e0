"""mmengine's early stopping, which a resumed run goes on with."""

from __future__ import annotations

from mmengine.hooks import EarlyStoppingHook as MMEngineEarlyStoppingHook
from mmengine.runner import Runner

from mmmtl.registry import HOOKS


@HOOKS.register_module()
class EarlyStoppingHook(MMEngineEarlyStoppingHook):
    """mmengine's hook, whose best score and count of validations without a better one are in the checkpoint.

    A run that it has stopped stays so when it is resumed, unless it watches another metric or has another patience,
    threshold or `min_delta` then.
    """

    # Before the best checkpoint is saved, which contains what this validation changed.
    priority = 'LOW'

    def before_train(self, runner: Runner) -> None:
        """Take over the state of the run that is resumed, unless it watched another metric."""
        state = runner.message_hub.runtime_info.get(self._key, {}) if runner._resume else {}
        if state:
            self.best_score, self.wait_count = state['best_score'], state['wait_count']
            if state.get('stopped_by') == self._limits():
                runner.train_loop.stop_training = True
                runner.logger.warning(
                    f'Early stopping has ended this run after {runner.iter} iterations ({self.monitor}), so nothing is '
                    f'trained; to go on, change {" or ".join(self._limits())} of EarlyStoppingHook (custom_hooks), or '
                    'remove it'
                )

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Stop the training, or keep what the next checkpoint has to say."""
        was_stopped = runner.train_loop.stop_training
        super().after_val_epoch(runner, metrics)
        state = dict(best_score=float(self.best_score), wait_count=self.wait_count)
        if runner.train_loop.stop_training and not was_stopped:
            state['stopped_by'] = self._limits()
        runner.message_hub.update_info(self._key, state)

    @property
    def _key(self) -> str:
        """Return the name of the state in a checkpoint; there may be a hook for each metric."""
        return f'early_stopping/{self.monitor}'

    def _limits(self) -> dict[str, float | None]:
        """Return what decides when to stop."""
        return dict(patience=self.patience, stopping_threshold=self.stopping_threshold, min_delta=self.min_delta)
