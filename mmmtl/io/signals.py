"""Signals that stop a program in good order."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)

DEADLY = tuple(getattr(signal, name) for name in ('SIGTERM', 'SIGHUP') if hasattr(signal, name))
"""Signals that kill a program unless it handles them; Windows has no SIGHUP."""


@contextmanager
def stopped_by_signals(stop: Callable[[], None], numbers: Iterable[int] = SIGNALS) -> Iterator[None]:
    """Call `stop` at the first of the signals inside the block; a second one does what it did before the block.

    A signal that is ignored stays ignored: shells start background programs so that ctrl-C does not reach them. Only
    the main thread of a program can receive signals; in any other thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            # None: a handler that was not installed from Python, which cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def handle(number: int, frame: object) -> None:
        restore()
        stop()

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()


@contextmanager
def exits_at_signals() -> Iterator[None]:
    """Exit with 143 at the first SIGTERM or SIGHUP inside the block, if it would kill the program.

    The blocks around the place then remove or complete what they have begun.
    """
    killing = [number for number in DEADLY if signal.getsignal(number) is signal.SIG_DFL]
    with stopped_by_signals(lambda: sys.exit(128 + signal.SIGTERM), killing):
        yield
