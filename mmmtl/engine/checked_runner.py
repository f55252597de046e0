"""The runner: a quiet start, no epochs without an iteration, and a folder of its own."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import is_main_process
from mmengine.hooks import LoggerHook
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from mmmtl.config.checks import check_validation
from mmmtl.io.outputs import remove_partial_files

from .folder_lock import FolderLock
from .frozen_weights import frozen_weights
from .processes import check_same_start, check_synced_norms
from .resumed_schedule import wrappers_of

FOR_THE_FILE = ('"FileClient" will be', '"HardDiskBackend" is', 'Distributed training is not used')
"""Beginnings of messages of mmengine that tell a user nothing."""


class CheckedRunner(Runner):
    """A runner with checks that mmengine's lacks.

    It writes config and environment to the log file alone, refuses loaders without a batch and folders in which another
    run trains, and knows when it resumes. A test leaves the config of an earlier run in the same folder alone.
    """

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Set up the environment, and note the moment in the config: a report sorts the runs of a folder by it."""
        super().setup_env(env_cfg)
        self.cfg.started = datetime.now(timezone.utc).isoformat(timespec='milliseconds')

    def train(self) -> nn.Module:
        """Train with a lock on the work folder.

        Raises:
            ValueError: another run trains in the folder, something follows a validation that does not take place, or
                processes would wait for each other in a batch norm.
        """
        check_validation(self.cfg)
        check_synced_norms(self.model)
        lock = FolderLock(self.work_dir) if is_main_process() else None
        try:
            if lock is not None and lock.held:
                remove_partial_files(Path(self.work_dir))
            super().dump_config()
            model: nn.Module = super().train()
            return model
        finally:
            if lock is not None:
                lock.release()

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Freeze the weights whose `lr_mult` is 0, before DistributedDataParallel and the optimizer see the model."""
        for weight in frozen_weights(model, (self.cfg.get('optim_wrapper') or {}).get('paramwise_cfg')):
            weight.requires_grad_(False)
        wrapped: nn.Module = super().wrap_model(model_wrapper_cfg, model)
        return wrapped

    def _init_model_weights(self) -> None:
        """Initialise the model, unless it resumes: the checkpoint has all weights; files of `init_cfg` may be gone."""
        if not (self._resume and self._load_from):
            super()._init_model_weights()

    def load_or_resume(self) -> None:
        """Load the weights; raise a ValueError if processes have loaded different ones."""
        super().load_or_resume()
        check_same_start(self)

    def scale_lr(self, optim_wrapper: OptimWrapper, auto_scale_lr: dict[str, Any] | None = None) -> None:
        """Scale the learning rates to the samples of an update, which are those of all batches that it accumulates."""
        super().scale_lr(optim_wrapper, auto_scale_lr)
        if not (auto_scale_lr or {}).get('enable'):
            return
        for wrapper in wrappers_of(optim_wrapper).values():
            if (count := wrapper._accumulative_counts) > 1:
                self.logger.info(f'An update accumulates {count} batches, so the LR is multiplied by {count}.')
                for group in wrapper.optimizer.param_groups:
                    group['lr'] *= count

    def dump_config(self) -> None:
        """Write the config into the work folder if there is none; training writes it anyway."""
        name = self.cfg.filename
        if name is None or not (Path(self.work_dir) / Path(name).name).exists():
            super().dump_config()

    def resume(self, filename: str, *arguments: Any, **keywords: Any) -> None:
        """Resume from a checkpoint, also if a script asks for it instead of the config; hooks read the two names.

        The config beside the log then says after which steps it resumed.
        """
        self._resume, self._load_from = True, filename
        if not self.cfg.get('resume'):
            self.cfg.resume, self.cfg.load_from = True, str(filename)
        super().resume(filename, *arguments, **keywords)
        # A report joins the logs of resumed runs, in which validations count epochs or iterations.
        by_epoch = any(isinstance(hook, LoggerHook) and hook.log_metric_by_epoch for hook in self.hooks)
        self.cfg.resumed_step, self.cfg.resumed_validation_step = self.iter, self.epoch if by_epoch else self.iter
        self.visualizer.add_config(self.cfg)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Return mmengine's logger; on the screen it shows no reports of several lines."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(is_for_screen)
        return logger

    def build_train_loop(self, loop: Any) -> BaseLoop:
        """Return the training loop; raise a ValueError if its epochs have no iteration."""
        return _checked(super().build_train_loop(loop), 'train_dataloader')

    def build_val_loop(self, loop: Any) -> BaseLoop:
        """Return the validation loop; raise a ValueError if it has no iteration."""
        return _checked(super().build_val_loop(loop), 'val_dataloader')

    def build_test_loop(self, loop: Any) -> BaseLoop:
        """Return the test loop; raise a ValueError if it has no iteration."""
        return _checked(super().build_test_loop(loop), 'test_dataloader')


def is_for_screen(record: logging.LogRecord) -> bool:
    """Return whether a record is a warning, or a single line."""
    text = record.getMessage().strip()
    return not text.startswith(FOR_THE_FILE) and (record.levelno >= logging.WARNING or '\n' not in text)


def _checked(loop: BaseLoop, key: str) -> BaseLoop:
    loader = loop.dataloader
    if isinstance(loop, EpochBasedTrainLoop) and isinstance(getattr(loader, 'sampler', None), InfiniteSampler):
        raise ValueError(
            f'{key}: the first epoch of its {type(loader.sampler).__name__} would never end; use EpochDrawSampler, or '
            'train by iterations (train_cfg.max_iters)'
        )
    # The batches of an endless sampler go beyond the end of the data.
    if not isinstance(loader, DataLoader) or isinstance(loader.sampler, InfiniteSampler) or len(loader):
        return loop
    samples, size = len(loader.sampler), loader.batch_size  # type: ignore[arg-type]
    if samples:
        why = f'{samples} samples (of this process) give no batch of {size}'
        raise ValueError(f'{key}: {why}; lower batch_size, or set drop_last=False')
    # A process may have no share of a few images or videos to score, but trains in step with the others.
    if key == 'train_dataloader' or not len(loader.dataset):  # type: ignore[arg-type]
        raise ValueError(f'{key}: its data set has no samples')
    return loop
