"""An import hook that keeps the packages below mmmtl from announcing optional parts that mmmtl does not use."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__: list[str] = []

PRINTED = {'mmseg.datasets': 'Could not import OneDL', 'mmseg.datasets.transforms': 'Could not import OneDL'}
"""{module: line that it prints while it is imported}."""

WARNED = 'Fail to import ``MultiScaleDeformableAttention``'
"""The beginning of a warning of mmcv-lite; nothing here uses that operator."""


class QuietFinder(MetaPathFinder):
    """A finder for the modules in `PRINTED`; it drops their line and passes on everything else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the later finders' specification, with a loader that leaves the line out."""
        if fullname not in PRINTED:
            return None
        later = sys.meta_path[sys.meta_path.index(self) + 1 :]
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in later)), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_quietly(module: ModuleType) -> None:
                printed = io.StringIO()
                try:
                    with redirect_stdout(printed):
                        execute(module)
                finally:
                    for line in printed.getvalue().splitlines():
                        if line != PRINTED[fullname]:
                            print(line)

            spec.loader.exec_module = execute_quietly  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Install the hook once, and a filter for the warning."""
    if not any(isinstance(finder, QuietFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, QuietFinder())
    warnings.filterwarnings('ignore', WARNED)
