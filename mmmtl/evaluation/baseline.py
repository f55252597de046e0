"""The baseline of delta_m: metrics of a run, of several single-task runs, or of a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .metric_files import read_metrics
from .published import PUBLISHED


@dataclass(frozen=True)
class Baseline:
    """Named metrics {`<task>/<metric>`: value} to compare with."""

    name: str
    metrics: Mapping[str, float]


def load_baseline(source: str | Path | Sequence[str | Path]) -> Baseline:
    """Load a baseline.

    Args:
        source: the name of a published table (for example 'sca_table1', see `PUBLISHED`), a `metrics.json` that
            `tools/test.py` wrote, or several of these, one for each single-task model.

    Raises:
        ValueError: a source does not exist or has no metrics, or two sources contradict each other.
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
            if key.startswith('stream/'):  # of the run, not of a task
                continue
            if merged.setdefault(key, value) != value:
                raise ValueError(
                    f'baseline: {key!r} is {merged[key]:g} in {origin[key]} and {value:g} in {name}; remove it from '
                    'all files but one'
                )
            origin.setdefault(key, name)
    return Baseline(' + '.join(map(str, sources)), merged)
