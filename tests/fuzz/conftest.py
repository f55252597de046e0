"""Settings of hypothesis, and what readers may do with damaged files.

The inputs are the same in every run, and as many as FUZZ says (`make fuzz N=50000`).
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

LONG = 'FUZZ' in os.environ

settings.register_profile(
    'mmmtl',
    max_examples=int(os.environ.get('FUZZ', 150)),
    derandomize=not LONG,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile('mmmtl')

Outcome = Callable[[Callable[[Path], Any], Path], Any]

SECONDS = 10
"""The most processor time for one file."""


@pytest.fixture
def outcome() -> Iterator[Outcome]:
    """Return what a reader returns, or None for a ValueError that names the file; of all files, some must be read."""
    outcomes: Counter[str] = Counter()

    def read_or_refuse(read: Callable[[Path], Any], path: Path) -> Any:
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            found = read(path)
        except ValueError as error:
            assert str(path) in str(error), f'{type(error).__name__} without the file: {error}'
            outcomes['refused'] += 1
            return None
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        outcomes['read'] += 1
        return found

    before = signal.signal(signal.SIGVTALRM, lambda *_: pytest.fail(f'more than {SECONDS} s for one file'))
    yield read_or_refuse
    signal.signal(signal.SIGVTALRM, before)
    assert outcomes['read'] and outcomes['refused'], outcomes
