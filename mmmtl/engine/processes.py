"""Checks that several processes work on one model."""

from __future__ import annotations

from mmengine.dist import all_gather_object, get_world_size
from mmengine.runner import Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmmtl.checkpoint import digest_model
from mmmtl.engine.unwrap import unwrap
from mmmtl.models import MultiTaskSegmentor


def check_same_start(runner: Runner) -> None:
    """Refuse processes that have loaded different weights, as on machines whose work folders are not one.

    Raises:
        ValueError: the numbers of epochs and iterations, or the weights, are not those of all other processes.
    """
    if get_world_size() == 1:
        return
    # Models that are split over the processes differ; those of DistributedDataParallel are equal.
    weights = digest_model(runner.model) if isinstance(runner.model, DistributedDataParallel) else ''
    starts = all_gather_object((runner.epoch, runner.iter, weights))
    if len(set(starts)) > 1:
        done = [iteration for _, iteration, _ in starts]
        found = 'other weights' if len(set(done)) == 1 else f'after {", ".join(map(str, done))} iterations'
        raise ValueError(
            f'the processes have loaded different checkpoints ({found}); the work folder and the weights must be on a '
            'file system that all machines share, or be copied to each'
        )


def check_synced_norms(model: nn.Module) -> None:
    """Refuse batch norm that waits for all processes, in a network of a video model that a process may not run.

    Raises:
        ValueError: a network has it that only some clips need.
    """
    model = unwrap(model)
    if get_world_size() == 1 or not isinstance(model, MultiTaskSegmentor):
        return
    for name, batch in model.resting_networks.items():
        # In training mode, as frozen ones wait for nobody.
        network = getattr(model, name).train()
        if any(isinstance(part, nn.SyncBatchNorm) and part.training for part in network.modules()):
            raise ValueError(
                f'model.{name} has synchronised batch norm, for which all processes wait, but with '
                f'{type(model.neck).__name__} a process whose batch has {batch} does not run it; use BN or GN there '
                '(norm_cfg, sync_bn)'
            )
