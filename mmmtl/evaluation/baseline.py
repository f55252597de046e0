"""What delta_m compares with: metrics of another run, of several single-task runs, or of a paper."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .published import PUBLISHED


@dataclass(frozen=True)
class Baseline:
    """Metrics to compare with.

    Args:
        name: says what they are of, in tables and files.
        metrics: `<task>/<metric>`.
    """

    name: str
    metrics: Mapping[str, float]


def load_baseline(source: str | Path | Sequence[str | Path]) -> Baseline:
    """The baseline of a name or of files.

    Args:
        source: name of a published table ('sca_table1', see `PUBLISHED`), whose baseline is taken; or a
            `metrics.json` of `tools/test.py`; or several of these, one for each single-task model.

    Raises:
        ValueError: there is neither such a file nor such a name, a file holds no metrics, or files contradict.
    """
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    if not sources:
        raise ValueError('delta_m needs a baseline: a metrics.json, several of them, or the name of a published table')
    merged: dict[str, float] = {}
    origin: dict[str, str] = {}
    for name in map(str, sources):
        table = PUBLISHED.get(name)
        metrics = read_metrics(name) if table is None else table.metrics(table.baseline)
        for key, value in metrics.items():
            if merged.setdefault(key, value) != value:
                raise ValueError(
                    f'baseline: {key!r} is {merged[key]:g} in {origin[key]} and {value:g} in {name}; a metric must '
                    'come from one of them, or be the same in all'
                )
            origin.setdefault(key, name)
    return Baseline(' + '.join(map(str, sources)), merged)


def read_metrics(path: str | Path) -> dict[str, float]:
    """`<task>/<metric>` of a `metrics.json`; what was not measured (null) is left out.

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
