"""The runner: mmengine's, with a lock on its work folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.runner import Runner
from torch import nn

from .checkpoints import remove_temporary_files
from .folder_lock import FolderLock


class MultiTaskRunner(Runner):
    """mmengine's runner, which trains in a folder of its own and knows when it resumes."""

    def train(self) -> nn.Module:
        """Train with a lock on the work folder; refuse a folder in which another run trains."""
        lock = FolderLock(self.work_dir) if is_main_process() else None
        try:
            if lock is not None and lock.held:
                remove_temporary_files(Path(self.work_dir))
            model: nn.Module = super().train()
            return model
        finally:
            if lock is not None:
                lock.release()

    def resume(self, filename: str, *arguments: Any, **keywords: Any) -> None:
        """Resume from a checkpoint, also if a script asks for it instead of the config; hooks read the two names."""
        self._resume, self._load_from = True, filename
        super().resume(filename, *arguments, **keywords)
