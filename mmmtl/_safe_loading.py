"""The import hook that gives mmengine the safe loader of `mmmtl.checkpoint`, whatever else is imported and when."""

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

# All loaders of mmengine ('https://', 'torchvision://', 'open-mmlab://', 's3://', ...) end in one of these functions,
# the first of which falls back to running what it finds, and the second of which always does.
REPLACED = {'_safe_torch_load': 'load_plain', 'load_url': 'load_url'}


class SafeLoadingFinder(MetaPathFinder):
    """A finder for mmengine's loader alone, which makes the module safe as soon as it is executed, or reloaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification that the later finders give, with a loader that calls `make_safe` at its end."""
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
    """Make mmengine's loader safe: now if it is imported, else when it will be. Imports nothing heavy itself."""
    if not any(isinstance(finder, SafeLoadingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, SafeLoadingFinder())
    if LOADER in sys.modules:
        make_safe(sys.modules[LOADER])


def make_safe(module: ModuleType) -> None:
    """Put mmmtl's functions in the place of mmengine's.

    Functions that were imported from the module before look these up when they are called, so they are safe too. A
    package that registers a scheme of its own (`CheckpointLoader.register_scheme`) answers for its loader.

    Args:
        module: `mmengine.runner.checkpoint`.

    Raises:
        ImportError: this version of mmengine has none of that name, so its loader cannot be made safe.
    """
    if missing := [name for name in (*REPLACED, 'CheckpointLoader') if not hasattr(module, name)]:
        raise ImportError(
            f'{module.__name__} has no {", ".join(missing)}, which mmmtl replaces so that no checkpoint can run code; '
            'install the versions that requirements/mminstall.txt names'
        )
    for theirs, ours in REPLACED.items():
        setattr(module, theirs, _later(ours))
    module.CheckpointLoader.register_scheme('', loader=_later('load_from_local'), force=True)


def _later(name: str) -> Callable[..., dict[str, Any]]:
    """Return a function of `mmmtl.checkpoint` that is imported when it is first called."""

    def load(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return getattr(import_module('mmmtl.checkpoint'), name)(*args, **kwargs)

    load.__name__ = name  # mmengine logs it
    return load
