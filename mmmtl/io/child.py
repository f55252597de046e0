"""Readers that may crash, run in a process of their own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar('Result')

MAX_MEMORY = 8 << 30
"""The default limit of a child's address space, in bytes."""


class ChildReader:
    """A child process that reads files, for use in a `with` block.

    A reader in C that crashes on a damaged file, takes too long or wants too much memory ends the child, not the
    program. The next file gets a new child.

    Args:
        timeout: seconds for one file.
        max_memory: limit of the child's address space in bytes, where the system has such limits.
    """

    def __init__(self, *, timeout: float = 60.0, max_memory: int = MAX_MEMORY) -> None:
        self.timeout = timeout
        self.max_memory = max_memory
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> ChildReader:
        return self

    def __call__(self, reader: Callable[..., Result], path: Path, *args: Any) -> Result:
        """Return `reader(path, *args)`, computed in the child; `reader` is a function of a module.

        Raises:
            ValueError: the child crashed or ran out of time; other errors are those of the reader.
        """
        if self._pool is None:
            # A fork would copy the locks of this process's threads.
            self._pool = ProcessPoolExecutor(
                1, multiprocessing.get_context('spawn'), initializer=_limit_memory, initargs=(self.max_memory,)
            )
        try:
            return self._pool.submit(reader, path, *args).result(self.timeout)
        except BrokenProcessPool:
            self._stop()
            raise ValueError(f'{path}: its reader crashed, so the file is damaged; download or copy it again') from None
        except FutureTimeoutError:
            self._stop()
            raise ValueError(
                f'{path}: not read within {self.timeout:g} s, so the file is damaged; get it again'
            ) from None

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._pool is None:
            return
        for process in list((self._pool._processes or {}).values()):  # its `kill_workers` is new in Python 3.14
            process.kill()
        self._pool.shutdown()
        self._pool = None


def _limit_memory(limit: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
