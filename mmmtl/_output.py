"""Output of programs: counts with their nouns, plain warnings, and a plain end where it cannot be written."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__: list[str] = []

PACKAGE = Path(__file__).parent

OUTPUT_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""The errors of an output that cannot be written."""


def counted(number: int, what: str) -> str:
    """Return a count with its noun, which is given in the singular."""
    return f'{number} {what}' if number == 1 else f'{number} {what}s'


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show the warnings of mmmtl inside the block without the place in the code; those of other packages need it."""
    with_place = warnings.formatwarning

    def plain(message: Warning | str, category: type[Warning], filename: str, *place: Any, **line: Any) -> str:
        if Path(filename).is_relative_to(PACKAGE):
            return f'warning: {message}\n'
        return with_place(message, category, filename, *place, **line)

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = with_place


@contextmanager
def allow_closed_output() -> Iterator[None]:
    """Exit with 1, without a traceback, if the output cannot be written inside the block.

    A full disk is named; nothing is said if a reader such as `head` stops reading. What is written to an output that
    was closed before (`>&-`) is dropped. Letters that its encoding lacks are written as escapes.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, 'w')  # noqa: SIM115  (for the rest of the program)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in OUTPUT_ERRORS or error.filename is not None or not _is_lost():
            raise
        sys.exit(1 if isinstance(error, BrokenPipeError) else f'the output cannot be written: {error.strerror}')


def _is_lost() -> bool:
    """Return whether the output cannot be written any more; what is left to write is then dropped."""
    try:
        print(flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
