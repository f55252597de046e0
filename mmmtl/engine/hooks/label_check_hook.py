"""A hook that looks at the labels before the first iteration."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmmtl.datasets.label_check import check_labels
from mmmtl.registry import HOOKS


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """A hook that refuses to train or validate a task without labels, and warns of one in a test.

    Labels that cannot have the meaning that they are given are refused in all three (see `check_labels`). Those of
    auxiliary tasks, which nothing scores, are needed and checked in training alone.
    """

    def before_train(self, runner: Runner) -> None:
        missing = check_labels(runner.train_dataloader.dataset, 'train_dataloader')
        if runner.val_loop is not None:
            missing += check_labels(runner.val_dataloader.dataset, 'val_dataloader', auxiliary=False)
        if missing:
            raise ValueError('\n'.join(missing))

    def before_test(self, runner: Runner) -> None:
        for line in check_labels(runner.test_loop.dataloader.dataset, 'test_dataloader', auxiliary=False):
            runner.logger.warning(line)
