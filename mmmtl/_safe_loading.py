"""An import hook that gives mmengine the safe loader of `mmmtl.io.checkpoints`, in any order of imports."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__: list[str] = []

LOADER = 'mmengine.runner.checkpoint'

# All loaders of mmengine ('https://', 'torchvision://', 'open-mmlab://', 's3://', ...) end in one of these functions.
# The first falls back to running what it finds; the second always runs it.
REPLACED = {'_safe_torch_load': 'load_plain', 'load_url': 'load_url'}


class SafeLoadingFinder(MetaPathFinder):
    """A finder for mmengine's loader alone; it makes the module safe whenever it is executed or reloaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the later finders' specification, with a loader that calls `make_safe` at its end."""
        if fullname != LOADER:
            return None
        later = sys.meta_path[sys.meta_path.index(self) + 1 :]
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in later)), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_make_safe(module: ModuleType) -> None:
                execute(module)
                make_safe(module)

            spec.loader.exec_module = execute_and_make_safe  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Make mmengine's loader safe: now if it is already imported, otherwise on import. Imports nothing heavy."""
    if not any(isinstance(finder, SafeLoadingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, SafeLoadingFinder())
    if LOADER in sys.modules:
        make_safe(sys.modules[LOADER])


def make_safe(module: ModuleType) -> None:
    """Replace functions of `mmengine.runner.checkpoint` by those of mmmtl.

    Functions imported from it earlier look these up when they are called, so they become safe too. A package that
    registers another scheme (`CheckpointLoader.register_scheme`) answers for its loader.

    Raises:
        ImportError: this version of mmengine lacks one of the functions, so its loader cannot be made safe.
    """
    if missing := [name for name in (*REPLACED, 'CheckpointLoader') if not hasattr(module, name)]:
        raise ImportError(
            f'{module.__name__} lacks {", ".join(missing)}, which mmmtl replaces so that no checkpoint can run code; '
            'install the versions in requirements/mminstall.txt'
        )
    for theirs, ours in REPLACED.items():
        setattr(module, theirs, _later(ours))
    module.CheckpointLoader.register_scheme('', loader=_later('load_from_local'), force=True)


def _later(name: str) -> Callable[..., dict[str, Any]]:
    """Return a function that imports and calls the one of this name in `mmmtl.io.checkpoints`."""

    def load(*args: Any, **kwargs: Any) -> dict[str, Any]:
        found: dict[str, Any] = getattr(import_module('mmmtl.io.checkpoints'), name)(*args, **kwargs)
        return found

    load.__name__ = name  # mmengine logs it
    return load
