"""The end of a program whose output nobody reads any more."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__: list[str] = []


@contextmanager
def allow_closed_output() -> Iterator[None]:
    """Exit with 1, without a traceback, if the reader of the output, such as `head`, goes inside the block."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _is_closed():
            raise
        sys.exit(1)


def _is_closed() -> bool:
    """Return whether the reader of the output has gone; what is left to write is then dropped."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
