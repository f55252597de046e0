"""An import hook that keeps the packages below mmmtl from announcing optional parts that mmmtl does not use."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from types import ModuleType

from mmmtl._import_hooks import AroundFinder

__all__: list[str] = []

PRINTED = {'mmseg.datasets': 'Could not import OneDL', 'mmseg.datasets.transforms': 'Could not import OneDL'}
"""{module: line that it prints while it is imported}."""

WARNED = 'Fail to import ``MultiScaleDeformableAttention``'
"""The beginning of a warning of mmcv-lite; nothing here uses that operator."""

LOGGED = {'torch.utils.cpp_extension': 'No CUDA runtime is found'}
"""{logger: beginning of a warning on machines with a CUDA compiler but no GPU}; mmmtl compiles nothing for CUDA."""


class QuietFinder(AroundFinder):
    """A finder for the modules in `PRINTED`; it drops their line and passes on everything else."""

    modules = PRINTED

    def around(self, module: ModuleType, execute: Callable[[ModuleType], None]) -> None:
        """Execute the module and print its output without the line."""
        printed = io.StringIO()
        try:
            with redirect_stdout(printed):
                execute(module)
        finally:
            for line in printed.getvalue().splitlines():
                if line != PRINTED[module.__name__]:
                    print(line)


def install() -> None:
    """Install the hook once, and filters for the warnings."""
    QuietFinder.install()
    warnings.filterwarnings('ignore', WARNED)
    for name in LOGGED:
        logging.getLogger(name).addFilter(_is_welcome)


def _is_welcome(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(LOGGED[record.name])
