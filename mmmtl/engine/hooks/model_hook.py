"""How a run tells the parts of a model about its training."""

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
    """Calls every `TrainingObserver` of a model, and writes what they found into the work directory."""

    def __init__(self) -> None:
        self.observers: list[TrainingObserver] = []

    def before_train(self, runner: Runner) -> None:
        """Find the observers, and tell them that training begins."""
        self.observers = [part for part in unwrap(runner.model).modules() if isinstance(part, TrainingObserver)]
        for observer in self.observers:
            observer.on_train_start()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Tell them how far training is."""
        for observer in self.observers:
            observer.on_train_progress(runner.iter / runner.max_iters)

    def after_train(self, runner: Runner) -> None:
        """Write what they found as JSON files, each whole or not at all."""
        for observer in self.observers:
            for name, found in observer.on_train_end().items():
                if is_main_process():
                    path = Path(runner.work_dir) / f'{name}.json'
                    text = json.dumps(found, indent=2) + '\n'
                    put_text(text, str(path), backend_args=dict(backend='atomic_local'))
                    runner.logger.info(f'What training found is in {path}')
