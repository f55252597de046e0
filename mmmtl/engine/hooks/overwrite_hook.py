"""A hook that removes the checkpoints of an earlier training run."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmmtl.engine.checkpoint_files import RECORD, checkpoints_in

from .checkpoint_hook import CheckpointHook


class OverwriteHook(Hook):
    """A hook that makes room for a new training run where another has left checkpoints.

    They are removed when training begins, after all weights have been loaded, which may come from them.
    """

    # After the checkpoint hook has found its folder.
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Remove the checkpoints in the work folder, and where the run writes its own."""
        barrier()  # another process may still be reading one of them
        if not is_main_process():
            return
        folders = {Path(runner.work_dir)}
        folders |= {Path(hook.out_dir) for hook in runner.hooks if isinstance(hook, CheckpointHook)}
        for path in [path for folder in folders for path in checkpoints_in(folder)]:
            path.unlink()
        (Path(runner.work_dir) / RECORD).unlink(missing_ok=True)
