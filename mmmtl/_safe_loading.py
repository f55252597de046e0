"""An import hook that gives mmengine the safe loader of `mmmtl.io.checkpoints`, in any order of imports."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from mmmtl._import_hooks import AroundFinder

__all__: list[str] = []

LOADER = 'mmengine.runner.checkpoint'

# All loaders of mmengine ('https://', 'torchvision://', 'open-mmlab://', 's3://', ...) end in one of these functions.
# The first falls back to running what it finds; the second always runs it.
REPLACED = {'_safe_torch_load': 'load_plain', 'load_url': 'load_url'}


class SafeLoadingFinder(AroundFinder):
    """A finder for mmengine's loader alone; it makes the module safe whenever it is executed or reloaded."""

    modules = (LOADER,)

    def around(self, module: ModuleType, execute: Callable[[ModuleType], None]) -> None:
        """Execute the module and make it safe."""
        execute(module)
        make_safe(module)


def install() -> None:
    """Make mmengine's loader safe: now if it is already imported, otherwise on import. Imports nothing heavy."""
    SafeLoadingFinder.install()
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
