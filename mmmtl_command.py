"""The entry point of the `mmmtl` command, outside the package: `mmmtl doctor` starts where mmmtl cannot be imported."""

from __future__ import annotations

import importlib.util
import os
import sys


def main() -> None:
    """Run the command; say in one message what keeps mmmtl from being imported."""
    if sys.argv[1:2] == ['doctor']:
        skip_the_check()
    else:
        try:
            import mmmtl  # noqa: F401
        except ImportError as error:
            sys.exit(f'{error}\n`mmmtl doctor` checks the whole environment.')
    from mmmtl.commands import main as command

    try:
        try:
            command()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not output_is_closed():
            raise
        sys.exit(1)


def output_is_closed() -> bool:
    """Return whether the reader of the output, such as `head`, has gone; what is left to write is then dropped."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def skip_the_check() -> None:
    """Make `mmmtl` importable without running its `__init__.py`, which refuses a broken environment."""
    spec = importlib.util.find_spec('mmmtl')
    assert spec is not None
    sys.modules['mmmtl'] = importlib.util.module_from_spec(spec)


if __name__ == '__main__':
    main()
