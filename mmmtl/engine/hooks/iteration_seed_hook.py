"""A hook that makes random numbers of the model a function of seed and iteration."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmmtl.registry import HOOKS


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """A hook that seeds torch before every iteration, so that dropout does not depend on an interruption."""

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed with (seed, iteration, rank)."""
        torch.manual_seed(iteration_seed(runner, get_rank()))


def iteration_seed(runner: Runner, *purpose: int) -> int:
    """Return a seed that is a function of the run's seed, the iteration and a purpose; () and (0,) are the same."""
    return int(np.random.SeedSequence((runner.seed, runner.iter, *purpose)).generate_state(1, np.uint64)[0])
