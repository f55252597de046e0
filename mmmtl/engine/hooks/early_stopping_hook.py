"""mmengine's early stopping, which a resumed run goes on with."""

from __future__ import annotations

from mmengine.hooks import EarlyStoppingHook as MMEngineEarlyStoppingHook
from mmengine.runner import Runner

from mmmtl.registry import HOOKS

STATE = 'early_stopping'


@HOOKS.register_module()
class EarlyStoppingHook(MMEngineEarlyStoppingHook):
    """mmengine's hook, whose best score and count of validations without a better one are in the checkpoint."""

    # Before the best checkpoint is saved, which contains what this validation changed.
    priority = 'LOW'

    def before_train(self, runner: Runner) -> None:
        """Take over the state of the run that is resumed, unless it watched another metric."""
        state = runner.message_hub.runtime_info.get(STATE, {}) if runner._resume else {}
        if state.get('monitor') == self.monitor:
            self.best_score, self.wait_count = state['best_score'], state['wait_count']

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Stop the training, or keep what the next checkpoint has to say."""
        super().after_val_epoch(runner, metrics)
        state = dict(monitor=self.monitor, best_score=float(self.best_score), wait_count=self.wait_count)
        runner.message_hub.update_info(STATE, state)
