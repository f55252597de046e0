"""A hook that keeps the buffers of a model the same on all processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmmtl.registry import HOOKS


@HOOKS.register_module()
class SameBuffersHook(Hook):
    """A hook that gives all processes the same buffers after every iteration, as they have the same weights.

    Each process normalises with the statistics of its own batch, so their running averages differ. A checkpoint holds
    those of one process, though, and a validation would score several models at once. So the averages are averaged over
    the processes, which is what one process would have gathered from the same batches. Other buffers, such as counters,
    become those of the first process. Checkpoints, moving averages of weights and validations may then come at any
    time.
    """

    # Before mmengine's EMAHook and CheckpointHook.
    priority = 'VERY_HIGH'

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Tensor] | None = None
    ) -> None:
        """Make the buffers the same."""
        if (processes := get_world_size()) > 1:
            buffers = list(runner.model.buffers())
            # In float64, so that numbers that are the same already do not change.
            _add_up([buffer for buffer in buffers if buffer.is_floating_point()], 1 / processes)
            _add_up([buffer for buffer in buffers if not buffer.is_floating_point()], float(get_rank() == 0))


@torch.no_grad()
def _add_up(tensors: Sequence[Tensor], weight: float) -> None:
    """Set tensors to their sums over all processes, each times the `weight` that its process gives."""
    if not tensors:
        return
    total = weight * torch.cat([tensor.flatten() for tensor in tensors]).double()
    torch.distributed.all_reduce(total)
    for tensor, part in zip(tensors, torch.split(total, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
