"""Files of metrics that `tools/test.py --out` wrote, as arguments of a command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from mmmtl.registry import TASKS

from .baseline import read_metrics


def read_named(arguments: Sequence[str]) -> list[tuple[str, dict[str, float]]]:
    """(name, metrics) of the arguments `[NAME=]metrics.json` of a command line; without a name it is the path.

    Raises:
        ValueError: a file is missing, or holds no metrics.
    """
    found = []
    for argument in arguments:
        name, _, path = argument.rpartition('=')
        if not Path(path).is_file():
            raise ValueError(f'{path}: no such file; give metrics.json files that tools/test.py --out wrote')
        found.append((name or path, read_metrics(path)))
    return found


def choose_metrics(wanted: Sequence[str] | None, found: Iterable[str]) -> list[str]:
    """The wanted metrics, or all that were found, each once.

    Raises:
        ValueError: a wanted one was not found; names the nearest.
    """
    known = list(dict.fromkeys(found))
    for name in wanted or ():
        if name not in known:
            near = get_close_matches(name, known, n=3, cutoff=0.4) or known
            raise ValueError(f'no file has the metric {name!r}; did you mean {near}?')
    return list(wanted or known)


def better(metric: str) -> str:
    """An arrow: up where higher is better, down where lower is, nothing for a metric of an unknown kind of task."""
    known = {m: up for kind in TASKS.module_dict.values() for m, up in kind.higher_is_better.items()}
    known |= {m: up for kind in TASKS.module_dict.values() for m, up in kind.temporal_metrics.items()}
    up = known.get(metric.rpartition('/')[2])
    return '' if up is None else ' ↑' if up else ' ↓'
