"""Access to torchjd, an optional package of weightings."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def torchjd(part: str) -> ModuleType:
    """Return `torchjd.<part>`.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return import_module(f'torchjd.{part}')
    except ModuleNotFoundError as error:
        if (error.name or '').partition('.')[0] != 'torchjd':
            raise
        raise ImportError(
            'this weighting needs torchjd: pip install "torchjd[quadprog-projector]>=0.18,<0.19"'
        ) from None
