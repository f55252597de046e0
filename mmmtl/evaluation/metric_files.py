"""Files of metrics, which `tools/test.py --out` writes: writing them, reading them, and choosing from them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmmtl.registry import TASKS

from .published import PUBLISHED


def write_metrics(path: str | Path, metrics: Mapping[str, float], meta: Mapping[str, Any]) -> None:
    """Write metrics and `meta` as JSON; a metric for which nothing was labelled is `null`, since JSON has no NaN."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    path.write_text(json.dumps({**finite, 'meta': dict(meta)}, indent=2, allow_nan=False) + '\n')


def read_metrics(path: str | Path) -> dict[str, float]:
    """Return `<task>/<metric>` of a `metrics.json`, without what was not measured (null).

    Raises:
        ValueError: there is no such file, or it holds no metrics.
    """
    path = Path(path)
    if not path.is_file():
        near = get_close_matches(str(path), PUBLISHED, n=1)
        hint = f'did you mean {near[0]!r}?' if near else f'there are {list(PUBLISHED)}.'
        raise ValueError(f'{path}: no such file of metrics, nor a published table of that name; {hint}')
    try:
        content: Any = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'{path}: not JSON ({error}); give the file that tools/test.py --out wrote') from None
    entries = content.items() if isinstance(content, dict) else ()
    metrics = {k: float(v) for k, v in entries if '/' in k and isinstance(v, (int, float)) and not isinstance(v, bool)}
    if not metrics:
        raise ValueError(f"{path}: it has no '<task>/<metric>'; give the file that tools/test.py --out wrote")
    return metrics


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
