"""Variables of config files: which ones a file reads, and which ones have no effect."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.fileio import load
from mmengine.utils import get_installed_path

BASE_VARIABLE = re.compile(r'_base_\.(\w+)')


@dataclass(frozen=True)
class ConfigFile:
    """A config file.

    Args:
        path: where it is.
        assigned: the names that it assigns.
        read: those that its code reads.
        from_bases: those that it may read from base files: as `_base_.<name>`, or all after `with read_base()`.
        bases: its base files.
    """

    path: Path
    assigned: frozenset[str]
    read: frozenset[str]
    from_bases: frozenset[str]
    bases: tuple[ConfigFile, ...]

    def __iter__(self) -> Iterator[ConfigFile]:
        """Yield this file and all below it."""
        yield self
        for base in self.bases:
            yield from base


def read_config_file(path: str | Path | None) -> ConfigFile | None:
    """Return what a config file assigns and reads; None if there is no such file."""
    if path is None or not Path(path).is_file():
        return None
    path = Path(path)
    text = path.read_text(encoding='utf-8')
    read, from_bases = set(), frozenset(BASE_VARIABLE.findall(text))
    if path.suffix == '.py':
        tree = ast.parse(text, filename=str(path))
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
        assigned = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        bases = list(_bases(tree))
        if 'read_base' in read:
            from_bases |= read
    else:
        content: Any = load(str(path))
        content = content if isinstance(content, Mapping) else {}
        assigned, bases = set(map(str, content)), content.get('_base_', [])
    found = [read_config_file(_locate(base, path)) for base in ([bases] if isinstance(bases, str) else bases)]
    return ConfigFile(path, frozenset(assigned), frozenset(read), from_bases, tuple(filter(None, found)))


def read_names(file: ConfigFile | None) -> frozenset[str]:
    """Return the names that a config file or its base files read, in variables or as `_base_.<name>`."""
    return frozenset() if file is None else frozenset().union(*(part.read | part.from_bases for part in file))


def idle_overrides(file: ConfigFile | None) -> dict[str, Path]:
    """Return {name: file} of the variables of base files that are assigned again but never read after that."""
    return {} if file is None else dict(_idle(file, frozenset()))


def _idle(file: ConfigFile, read_above: frozenset[str]) -> Iterator[tuple[str, Path]]:
    inherited = {name for part in file for name in part.assigned if part is not file}
    read = file.read | read_above
    yield from ((name, file.path) for name in sorted(file.assigned & inherited - read - {'_base_'}))
    for base in file.bases:
        yield from _idle(base, read_above | file.from_bases)


def stands_in(value: Any, whole: Any) -> bool:
    """Return whether a value equals some part of nested dicts and lists.

    Examples:
        >>> stands_in([1, 2], {'a': {'b': [1, 2]}}), stands_in([1], [1, 2]), stands_in(1, [True, 1.0])
        (True, False, False)
    """
    if type(value) is type(whole) and value == whole:
        return True
    parts = whole.values() if isinstance(whole, Mapping) else whole if isinstance(whole, (list, tuple)) else ()
    return any(stands_in(value, part) for part in parts)


def _bases(tree: ast.Module) -> Iterator[str]:
    """Yield the base files: those of `_base_`, if it is written out, and those of `with read_base()`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == '_base_':
            with suppress(ValueError):
                value = ast.literal_eval(node.value)
                yield from [value] if isinstance(value, str) else value
        elif isinstance(node, ast.With):
            for part in node.body:
                if isinstance(part, ast.ImportFrom) and part.module:
                    names = part.module.split('.')
                    folder = '../' * (part.level - 1) if part.level else get_installed_path(names.pop(0))
                    yield f'{Path(folder, *names)}.py'


def _locate(base: str, path: Path) -> str:
    """Return the path of a base file, which may be that of another package ('mmseg::...')."""
    found: str = Config._get_cfg_path(base, str(path))[0]
    return found
