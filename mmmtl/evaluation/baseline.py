"""What delta_m compares with: metrics of another run, of several single-task runs, or of a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .metric_files import read_metrics
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
