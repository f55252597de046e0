"""The entry point of the `mmmtl` command, outside the package: `mmmtl doctor` starts where mmmtl cannot be imported."""

from __future__ import annotations

import importlib.util
import signal
import sys


def main() -> None:
    """Run the command; where no program handles ctrl-C, end with the status that shells expect."""
    try:
        run()
    except KeyboardInterrupt:
        print('stopped', file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def run() -> None:
    """Run the command; say in one message what keeps mmmtl from being imported."""
    if sys.argv[1:2] == ['doctor']:
        skip_the_check()
    else:
        try:
            import mmmtl  # noqa: F401
        except ImportError as error:
            sys.exit(f'{error}\n`mmmtl doctor` checks the whole environment.')
    from mmmtl._output import allow_closed_output
    from mmmtl.commands import main as command

    with allow_closed_output():
        command()


def skip_the_check() -> None:
    """Make `mmmtl` importable without running its `__init__.py`, which refuses a broken environment."""
    spec = importlib.util.find_spec('mmmtl')
    assert spec is not None
    sys.modules['mmmtl'] = importlib.util.module_from_spec(spec)


if __name__ == '__main__':
    main()
