"""Output of programs: numbers of things, warnings without their place in the code, a quiet end when nobody reads on."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__: list[str] = []

PACKAGE = Path(__file__).parent


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
    """Exit with 1, without a traceback, if a reader of the output, such as `head`, stops reading inside the block."""
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
    """Return whether nobody reads the output any more; what is left to write is then dropped."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
