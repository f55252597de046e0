"""A lock on a folder, so that two runs never write to it at the same time."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mmengine.config import Config
from mmengine.logging import print_log

from .launch import VARIABLES

NAME = '.lock'


_held: dict[tuple[int, Path], list[FolderLock]] = {}
"""The locks by process and resolved folder, which share a file: closing one of several would end them all."""


class FolderLock:
    """A lock on a folder, held by this process until `release` or until the process ends, even by `kill -9`.

    It is a POSIX record lock on the file `.lock`. Workers of a data loader would inherit one of `flock`; this one ends
    with the process itself. A process may take it several times, and has it until it has released all. The file stays;
    it says who had the lock last.

    Raises:
        ValueError: another process has the lock.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._holders = _held.setdefault((os.getpid(), self.folder.resolve()), [])
        self._file: IO[str] | None
        if self._holders:
            self._file = self._holders[0]._file
            self._holders.append(self)
            return
        self._file = (self.folder / NAME).open('a+')
        try:
            import fcntl

            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            self._file.seek(0)
            owner = self._file.read().strip()[:200]
            self.release()
            raise ValueError(
                f'{self.folder}: another run writes to this folder ({owner}); wait for its end, or choose another '
                'folder with --work-dir'
            ) from None
        except (ImportError, OSError) as error:
            self.release()
            print_log(
                f'{self.folder}: this file system or operating system has no locks ({error}); make sure that no '
                'other run writes to this folder',
                logger='current',
                level=logging.WARNING,
            )
            return
        self._file.truncate(0)
        self._file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
        self._file.flush()
        self._holders.append(self)

    @property
    def held(self) -> bool:
        """Whether no other run writes to the folder; False where locks do not exist."""
        return self._file is not None

    def release(self) -> None:
        """Let other runs use the folder."""
        if self._file is None:
            return
        if self in self._holders:
            self._holders.remove(self)
        if not self._holders:
            with suppress(OSError):
                self._file.close()
        self._file = None


@contextmanager
def own_work_dir(cfg: Config) -> Iterator[bool]:
    """Hold the lock on the work folder of a run inside the block, in the first of its processes.

    Yields whether this is the first process. A runner locks the folder when it trains, but has written its config by
    then.

    Raises:
        ValueError: another run has the lock; nothing was written.
    """
    rank = os.environ.get(VARIABLES[cfg.launcher][0], '0') if cfg.launcher in VARIABLES else '0'
    lock = FolderLock(cfg.work_dir) if int(rank) == 0 else None
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()
