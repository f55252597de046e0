"""A hook that tells parts of a model about its training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor

from mmmtl.engine.unwrap import unwrap
from mmmtl.io import write_text
from mmmtl.models.training_observer import TrainingObserver
from mmmtl.registry import HOOKS

from .iteration_seed_hook import iteration_seed

SHARED = (0, 1)
"""The purpose of draws that all processes share; a process's own draws have the purpose (rank,)."""


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
        """Tell the observers how far training is."""
        for observer in self.observers:
            observer.before_iteration(runner.iter, runner.iter / runner.max_iters, iteration_seed(runner, *SHARED))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Tensor] | None = None
    ) -> None:
        """Tell the observers if the weights have changed."""
        wrapper = runner.optim_wrapper
        wrapper = wrapper['model'] if isinstance(wrapper, OptimWrapperDict) else wrapper

        @torch.no_grad()
        def losses_now() -> dict[str, Tensor]:
            model: Any = unwrap(runner.model)
            buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
            devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
            with torch.random.fork_rng(devices), wrapper.optim_context(model):
                torch.manual_seed(iteration_seed(runner, get_rank()))
                losses: dict[str, Tensor] = model(**model.data_preprocessor(data_batch, True), mode='loss')
            for buffer, before in buffers:
                buffer.copy_(before)
            return losses

        if wrapper.should_update():
            for observer in self.observers:
                observer.after_update(losses_now)

    def after_train(self, runner: Runner) -> None:
        """Write the results as JSON files, each whole or not at all."""
        for observer in self.observers:
            for name, result in observer.on_train_end().items():
                if is_main_process():
                    path = Path(runner.work_dir) / f'{name}.json'
                    write_text(path, json.dumps(result, indent=2) + '\n')
                    runner.logger.info(f'Wrote {path}, a result of training')
