"""The schedule of ATRC's search of contexts, and what it found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.fileio import put_text
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmmtl.engine.unwrap import unwrap
from mmmtl.models.decode_heads import ATRCSearchHead
from mmmtl.registry import HOOKS


@HOOKS.register_module()
class ContextSearchHook(Hook):
    """Tells an `ATRCSearchHead` how far training is, and writes its genotype; does nothing to another model.

    All that the search has learnt and decided is in the checkpoint, and its schedule follows from the iteration: a
    resumed search goes on as an uninterrupted one.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the schedule, decide pairs."""
        if head := _search_head(runner):
            head.advance(runner.iter / runner.max_iters)

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Write `genotype.json` into the work directory, whole or not at all."""
        if head := _search_head(runner):
            path = Path(runner.work_dir) / 'genotype.json'
            text = json.dumps(head.genotype(), indent=2) + '\n'
            put_text(text, str(path), backend_args=dict(backend='atomic_local'))
            runner.logger.info(f'The genotype of contexts is in {path}')


def _search_head(runner: Runner) -> ATRCSearchHead | None:
    head = getattr(unwrap(runner.model), 'decode_head', None)
    return head if isinstance(head, ATRCSearchHead) else None
