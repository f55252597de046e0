"""A hook that says in a few lines what a run is about to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmmtl.engine.unwrap import unwrap
from mmmtl.registry import HOOKS


@HOOKS.register_module()
class SummaryHook(Hook):
    """A hook that logs model, tasks, data, schedule, device and folder before training or testing begins."""

    def before_train(self, runner: Runner) -> None:
        """Log what is trained."""
        loaders = {'train': runner.train_loop.dataloader}
        if runner.val_loop is not None:
            loaders['val'] = runner.val_loop.dataloader
        self._log(runner, loaders, _schedule(runner))

    def before_test(self, runner: Runner) -> None:
        """Log what is tested."""
        self._log(runner, {'test': runner.test_loop.dataloader}, '')

    def _log(self, runner: Runner, loaders: Mapping[str, Any], schedule: str) -> None:
        for line in summary(runner, loaders, schedule):
            runner.logger.info(line)


def summary(runner: Runner, loaders: Mapping[str, Any], schedule: str) -> Iterator[str]:
    """Yield the lines of a summary, each `<what>: <description>`."""
    model = unwrap(runner.model)
    count = sum(weight.numel() for weight in model.parameters())
    yield f'model: {type(model).__name__}, {count:,} parameters'
    yield 'tasks: ' + ', '.join(f'{name} ({task["type"]})' for name, task in runner.cfg.model['tasks'].items())
    for name, loader in loaders.items():
        data = loader.dataset
        yield f'{name}: {type(data).__name__}, {len(data):,} samples, batches of {loader.batch_size}'
    if schedule:
        yield f'schedule: {schedule}'
    device = next(model.parameters()).device
    kind = torch.cuda.get_device_name(device) if device.type == 'cuda' else str(device)
    processes = get_world_size()
    yield f'device: {kind}' + (f', {processes} processes' if processes > 1 else '')
    yield f'work_dir: {runner.work_dir} (config and environment are in the log file)'


def _schedule(runner: Runner) -> str:
    loop = runner.train_loop
    if isinstance(loop, IterBasedTrainLoop):
        length, unit = f'{loop.max_iters:,} iterations', 'iterations'
    else:
        length, unit = f'{loop.max_epochs:,} epochs of {len(loop.dataloader):,} iterations', 'epochs'
    optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
    how = '' if optimizer is None else f' with {type(optimizer).__name__}'
    every = '' if runner.val_loop is None else f', validated every {loop.val_interval:,} {unit}'
    return f'{length}{how}{every}'
