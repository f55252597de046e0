"""Genotypes of ATRC: the type of context that each target task takes from each source task."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from mmmtl.io import read_json

CONTEXTS = ('none', 'global', 'local', 'target_label', 'source_label')
"""Types of context; the index of a type is its code in ATRC's genotype files."""

Genotype = dict[str, dict[str, str]]


def read_genotype(contexts: str | Mapping[str, Mapping[str, str | int]], tasks: Collection[str]) -> Genotype:
    """Return the type of context of every pair of tasks, including each task with itself.

    Args:
        contexts: one of `CONTEXTS` for all pairs; or {target: {source: type}}, where a type may be its code; or the
            name of a JSON file (*.json) that holds such an object, alone or, as ATRC's search writes it, under 'data'.
        tasks: names of the tasks; pairs with other tasks are left out.

    Raises:
        ValueError: an unknown type, a missing pair, or a file without a genotype.

    Examples:
        >>> read_genotype({'a': {'a': 0, 'b': 'local'}, 'b': {'a': 4, 'b': 1}}, ['a', 'b'])
        {'a': {'a': 'none', 'b': 'local'}, 'b': {'a': 'source_label', 'b': 'global'}}
    """
    if isinstance(contexts, str) and not contexts.endswith('.json'):
        return {target: {source: _context(contexts, 'contexts') for source in tasks} for target in tasks}
    where = 'contexts'
    if isinstance(contexts, str):
        where, contexts = contexts, _read(contexts)
    missing = [f'{t} <- {s}' for t in tasks for s in tasks if s not in contexts.get(t, {})]
    if missing:
        raise ValueError(
            f"{where} must give every target task a context of every source task, 'none' where it takes nothing; "
            f'missing (target <- source): {", ".join(missing)}'
        )
    return {t: {s: _context(contexts[t][s], f'{where}: {t} <- {s}') for s in tasks} for t in tasks}


def label_tasks(genotype: Genotype) -> list[str]:
    """Return the tasks in whose label space a context describes regions, in the order of the genotype."""
    return [
        task
        for task in genotype
        if 'target_label' in genotype[task].values() or 'source_label' in [row[task] for row in genotype.values()]
    ]


def _read(path: str) -> Mapping[str, Mapping[str, str | int]]:
    try:
        found = read_json(path)
    except FileNotFoundError:
        raise ValueError(f'{path}: no such genotype; a relative name is resolved from {Path.cwd()}') from None
    found = found.get('data', found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not all(isinstance(row, dict) for row in found.values()):
        raise ValueError(f'{path} is not a genotype: it must hold {{target: {{source: type}}}}')
    return found


def _context(value: str | int, where: str) -> str:
    if type(value) is int and 0 <= value < len(CONTEXTS):
        return CONTEXTS[value]
    if value in CONTEXTS and isinstance(value, str):
        return value
    codes = ', '.join(f'{name!r} ({code})' for code, name in enumerate(CONTEXTS))
    raise ValueError(f'{where}: {value!r} is not a type of context; expected one of {codes}')
