"""A hook that tells parts of a model about its training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import put_text
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmmtl.engine.unwrap import unwrap
from mmmtl.models.training_observer import TrainingObserver
from mmmtl.registry import HOOKS


@HOOKS.register_module()
class ModelHook(Hook):
    """A hook that calls every `TrainingObserver` in a model and writes their results into the work directory."""

    def __init__(self) -> None:
        self.observers: list[TrainingObserver] = []

    def before_train(self, runner: Runner) -> None:
        """Find the observers and tell them that training starts."""
        self.observers = [part for part in unwrap(runner.model).modules() if isinstance(part, TrainingObserver)]
        for observer in self.observers:
            observer.on_train_start()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Tell the observers how far training is, from 0 to 1."""
        for observer in self.observers:
            observer.on_train_progress(runner.iter / runner.max_iters)

    def after_train(self, runner: Runner) -> None:
        """Write the results as JSON files, each whole or not at all."""
        for observer in self.observers:
            for name, result in observer.on_train_end().items():
                if is_main_process():
                    path = Path(runner.work_dir) / f'{name}.json'
                    text = json.dumps(result, indent=2) + '\n'
                    put_text(text, str(path), backend_args=dict(backend='atomic_local'))
                    runner.logger.info(f'Wrote {path}, a result of training')
