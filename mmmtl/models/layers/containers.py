"""Containers of modules that know the type of what they hold."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING, Generic, TypeVar

from torch import nn

M = TypeVar('M', bound=nn.Module)


class ModuleMap(nn.ModuleDict, Generic[M]):
    """An `nn.ModuleDict` of modules of one type."""

    if TYPE_CHECKING:

        def __init__(self, modules: Mapping[str, M]) -> None: ...
        def __getitem__(self, key: str) -> M: ...
        def items(self) -> ItemsView[str, M]: ...
        def values(self) -> ValuesView[M]: ...


class ModuleRow(nn.ModuleList, Generic[M]):
    """An `nn.ModuleList` of modules of one type."""

    if TYPE_CHECKING:

        def __init__(self, modules: Iterable[M]) -> None: ...
        def __getitem__(self, index: int) -> M: ...  # type: ignore[override]
        def __iter__(self) -> Iterator[M]: ...
