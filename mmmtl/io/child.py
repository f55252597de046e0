"""Readers that may crash, run in a process of their own."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar('Result')

MAX_MEMORY = 4 << 30
"""The default limit of the memory of a child, in bytes."""


class ChildReader:
    """A child process that reads files, for use in a `with` block.

    A reader in C that crashes on a damaged file, takes too long or needs too much memory ends the child, not the
    program. The next file gets a new child.

    Args:
        timeout: seconds for one file.
        max_memory: limit of the memory that the child may take, in bytes; on Linux only.
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
            ValueError: the child crashed or ran out of time or memory; other errors are those of the reader.
        """
        if self._pool is None:
            # A fork starts at once; readers use none of the locks that other threads may hold.
            context = multiprocessing.get_context('fork' if sys.platform == 'linux' else 'spawn')
            self._pool = ProcessPoolExecutor(1, context, initializer=_limit_memory, initargs=(self.max_memory,))
        try:
            return self._pool.submit(reader, path, *args).result(self.timeout)
        except MemoryError:
            raise ValueError(f'{path}: needs too much memory; the file is probably damaged, so get it again') from None
        except BrokenProcessPool:
            self._stop()
            raise ValueError(f'{path}: its reader crashed, so the file is damaged; download or copy it again') from None
        except FutureTimeoutError:
            self._stop()
            raise ValueError(
                f'{path}: not read within {self.timeout:g} s; the file is probably damaged (get it again), or the '
                'disk is slow'
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
    """Limit the memory of this process. A lower limit stays; without Linux's /proc nothing is limited."""
    taken = Path('/proc/self/statm')
    if taken.exists():
        import resource

        now = int(taken.read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard == resource.RLIM_INFINITY or now + limit < hard:
            resource.setrlimit(resource.RLIMIT_AS, (now + limit, hard))
