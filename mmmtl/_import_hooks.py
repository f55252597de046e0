"""The base of import hooks that do something around the execution of a module."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__: list[str] = []


class AroundFinder(MetaPathFinder):
    """A finder for some modules alone; `around` runs whenever one of them is executed or reloaded."""

    modules: Collection[str]

    @abstractmethod
    def around(self, module: ModuleType, execute: Callable[[ModuleType], None]) -> None:
        """Call `execute(module)`, with what belongs before and after it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the later finders' specification, with a loader that calls `around`."""
        if fullname not in self.modules:
            return None
        later = sys.meta_path[sys.meta_path.index(self) + 1 :]
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in later)), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: self.around(module, execute)  # type: ignore[method-assign]
        return spec

    @classmethod
    def install(cls) -> None:
        """Put one such finder before all others, unless it is there."""
        if not any(isinstance(finder, cls) for finder in sys.meta_path):
            sys.meta_path.insert(0, cls())
