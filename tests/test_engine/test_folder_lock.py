"""The lock on a work folder."""

from __future__ import annotations

import fcntl
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmmtl.engine.folder_lock import FolderLock, own_work_dir


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


def others_get(folder: Path) -> bool:
    """Return whether another process gets the lock."""
    code = f'import fcntl; fcntl.lockf(open({str(folder / ".lock")!r}, "a"), fcntl.LOCK_EX | fcntl.LOCK_NB)'
    return subprocess.run([sys.executable, '-c', code], stderr=subprocess.DEVNULL).returncode == 0


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


def test_a_process_has_the_lock_until_it_has_released_all(tmp_path: Path) -> None:
    outer, inner = FolderLock(tmp_path), FolderLock(tmp_path / '.')
    inner.release()
    assert (inner.held, outer.held) == (False, True)
    assert not others_get(tmp_path)
    outer.release()
    assert others_get(tmp_path)


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(37, 'No locks available')

    monkeypatch.setattr(fcntl, 'lockf', fail)
    assert not FolderLock(tmp_path).held


def test_a_refused_run_has_written_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even its config, whose file may have the name of the other run's."""
    process, worker = hold(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    root = Path(__file__).parents[2]
    config = root / 'tests' / 'configs' / 'tiny_image.py'
    monkeypatch.setattr(sys, 'argv', ['train.py', str(config), '--work-dir', str(tmp_path)])
    monkeypatch.setenv('LOCAL_RANK', '0')  # the tool would leave it behind
    with pytest.raises(SystemExit, match=rf'^{tmp_path}: another run writes to this folder \(process {process}'):
        runpy.run_path(str(root / 'tools' / 'train.py'), run_name='__main__')
    for number in (process, worker):
        os.kill(number, signal.SIGKILL)
    os.waitpid(process, 0)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(('rank', 'locks'), [('0', True), ('1', False)])
def test_the_first_process_of_a_run_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str, locks: bool
) -> None:
    monkeypatch.setenv('SLURM_PROCID', rank)
    with own_work_dir(Config(dict(work_dir=str(tmp_path / 'run'), launcher='slurm'))) as is_first:
        assert is_first == (tmp_path / 'run' / '.lock').exists() == locks
