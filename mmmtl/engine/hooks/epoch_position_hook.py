"""A hook for resuming in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import Sampler

from mmmtl.registry import HOOKS


@HOOKS.register_module()
class EpochPositionHook(Hook):
    """A hook that resumes an epoch where its checkpoint was written (`CheckpointHook(by_epoch=False)`).

    mmengine would restart the epoch and train on its first batches twice. Iteration-based loops find their own place.
    """

    priority = 'HIGH'

    def __init__(self) -> None:
        self.skipped = 0
        self.done = 0
        self._sampler: Sampler[Any] | None = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.done = self.skipped + batch_idx + 1

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Store how many batches of the epoch are done, and how many it has."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            checkpoint['meta']['batches_of_epoch'] = [self.done, len(runner.train_dataloader)]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Read the place in the epoch, and count the iterations that are left; refuse another number of batches."""
        if not runner._resume:
            return
        meta = checkpoint['meta']
        self.skipped, before = meta.get('batches_of_epoch', [0, 0])
        now = len(runner.train_dataloader)
        if self.skipped and before != now:
            raise ValueError(
                f'the checkpoint was written after {self.skipped} of {before} batches of an epoch, which now has '
                f'{now}; resume with the same data and batch size, or from a checkpoint at the end of an epoch'
            )
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            # The epochs before may have been longer or shorter.
            left = (runner.max_epochs - (meta.get('epoch') or 0)) * now - self.skipped
            runner.train_loop._max_iters = (meta.get('iter') or 0) + left

    def before_train_epoch(self, runner: Runner) -> None:
        """Skip the batches that are done."""
        if self.skipped:
            loader = runner.train_dataloader
            self._sampler = loader.batch_sampler.sampler
            loader.batch_sampler.sampler = _Rest(self._sampler, self.skipped * loader.batch_sampler.batch_size)

    def after_train_epoch(self, runner: Runner) -> None:
        """Run the next epoch from its beginning."""
        if self._sampler is not None:
            runner.train_dataloader.batch_sampler.sampler = self._sampler
        self.skipped, self.done, self._sampler = 0, 0, None


class _Rest(Sampler[Any]):
    """The indices of a sampler after the first `count`. Its length is still that of the whole epoch."""

    def __init__(self, sampler: Sampler[Any], count: int) -> None:
        self.sampler = sampler
        self.count = count

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.sampler), self.count, None)

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]
