"""Errors that programs show as one line."""

from __future__ import annotations

import re
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmmtl._output import PACKAGE, allow_closed_output, plain_warnings

MISSING = re.compile(r'(\w+)\.__init__\(\) missing \d+ required (?:keyword-only |positional )?arguments?: (.+)')
OF_A_WORKER = re.compile(r'Caught (\w+) in DataLoader worker process \d+\.\nOriginal Traceback')


@contextmanager
def readable_errors() -> Iterator[None]:
    """Exit with the message alone if the program or mmmtl refuses something inside the block, or a file has an error.

    Other errors keep their traceback. Nothing is said if nobody reads the output any more, as after `| head`. Ctrl-C
    ends with the status that shells expect. Warnings of mmmtl are shown without their place in the code.
    """
    try:
        with plain_warnings(), allow_closed_output():
            yield
    except KeyboardInterrupt:
        print('stopped', file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except (ValueError, OSError, FloatingPointError, ImportError, TypeError) as error:
        if (message := _refusal(error)) is None:
            raise
        raise SystemExit(message) from None


def _refusal(error: BaseException | None) -> str | None:
    """Return what mmmtl or the program says in an error, or the system of a file; None for any other error.

    mmengine raises the errors of components a second time; torch raises those of workers again, as a text.
    """
    message = str(error)
    if isinstance(error, TypeError):
        return _lacking_argument(error)
    if isinstance(error, ImportError) and error.name is not None:
        return None  # Python's, not one that names what to install
    if isinstance(error, BrokenPipeError):
        return None  # of a pipe other than the output
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f'{error.filename}: {error.strerror}'
    if (found := OF_A_WORKER.match(message)) and _is_own(re.findall(r'File "(.+?)", line', message)[-1]):
        return message.rpartition(f'\n{found[1]}: ')[2].strip()
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        # C code leaves no frame: NumPy's errors seem to come from the line of ours that calls it.
        if frames and _is_own(frames[-1].filename) and (frames[-1].line or 'raise').startswith('raise'):
            return message
        error = error.__cause__ or error.__context__
    return None


def _lacking_argument(error: TypeError) -> str | None:
    """Return what a component needs that its config does not give; None for an error of another kind."""
    frames = traceback.extract_tb(error.__traceback__)
    found = MISSING.fullmatch(str(error))
    if found is None or not frames or Path(frames[-1].filename).parts[-2:] != ('registry', 'build_functions.py'):
        return None
    return f'{found[1]}: its config lacks {found[2]}'


def _is_own(file: str) -> bool:
    """Return whether a source file is of mmmtl, one of its tools, or the program itself."""
    own = any(Path(file).is_relative_to(folder) for folder in (PACKAGE, PACKAGE.parent / 'tools'))
    return own or file == getattr(sys.modules['__main__'], '__file__', None)
