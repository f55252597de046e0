"""The lock on a work folder."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from mmmtl.engine.folder_lock import FolderLock


def hold(folder: Path) -> tuple[int, int]:
    """Start a process that has the lock, with a child like a worker of a data loader, which outlives it."""
    reader, writer = os.pipe()
    if (process := os.fork()) == 0:
        try:
            lock = FolderLock(folder)
            worker = os.fork() or os.getpid()
            if worker != os.getpid():
                os.write(writer, worker.to_bytes(4, 'big'))
            time.sleep(60)
            lock.release()
        finally:
            os._exit(0)
    return process, int.from_bytes(os.read(reader, 4), 'big')


def test_another_process_is_named_and_its_end_frees_the_folder(tmp_path: Path) -> None:
    process, worker = hold(tmp_path)
    with pytest.raises(ValueError, match=rf'{tmp_path}: another run writes to this folder \(process {process} on'):
        FolderLock(tmp_path)

    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert FolderLock(tmp_path).held
    os.kill(worker, signal.SIGKILL)


def test_a_lock_can_be_released_and_taken_again(tmp_path: Path) -> None:
    first = FolderLock(tmp_path / 'new')
    first.release()
    assert not first.held
    assert FolderLock(tmp_path / 'new').held


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(37, 'No locks available')

    monkeypatch.setattr(fcntl, 'lockf', fail)
    assert not FolderLock(tmp_path).held
