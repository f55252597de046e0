"""The page of a report: what each section shows, and what it says where a run has nothing for it."""

from __future__ import annotations

import base64
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from mmmtl.evaluation import Baseline
from mmmtl.evaluation.metric_files import format_metric
from mmmtl.io import write_text
from mmmtl.io.files import read_bytes, read_text
from mmmtl.tasks.metric_keys import by_offset
from mmmtl.version import __version__
from mmmtl.visualization.curves import MARKERS, style

from . import figures, logs, tables
from .run import Run, directions, titled

TEMPLATE = Path(__file__).with_name('page.html.j2')

MAX_VIDEO = 1 << 28
"""The limit of a video in a report, in bytes."""


def write_report(
    path: str | Path,
    runs: Sequence[Run],
    *,
    title: str = 'mmmtl report',
    notes: Sequence[str] = (),
    video: Path | None = None,
    baseline: Baseline | None = None,
) -> None:
    """Write a report of one or more runs as one HTML file.

    Args:
        path: path of the file.
        runs: the first is what configs, and without a baseline the metrics, of the others are compared with.
        title: title of the page.
        notes: sentences below the title.
        video: an .mp4 file to show; it becomes part of the page.
        baseline: baseline of delta_m.

    Raises:
        ValueError: no runs, or two of one name.
    """
    names = [run.name for run in runs]
    if not names or len(set(names)) < len(names):
        raise ValueError(f'a report needs runs of different names, not {names}; name them as NAME=FOLDER')
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = page.from_string(read_text(TEMPLATE))
    head = dict(title=title, notes=notes, video=None if video is None else _video(video), version=__version__)
    write_text(path, template.render(**head, **_results(runs, baseline), **_training(runs), **_settings(runs)))


def _results(runs: Sequence[Run], baseline: Baseline | None) -> dict[str, Any]:
    """Return what the sections about the test show."""
    offsets, of_offsets = tables.offsets_of(runs)
    primary = list(tables.primary_metrics(runs)) or list(dict.fromkeys(key for run in runs for key in run.metrics))
    costed = [run for run in runs if run.gmac is not None]
    priced = [key for key in primary if any(key in run.metrics for run in costed)]
    return dict(
        runs=[(run.name, *style(i)) for i, run in enumerate(runs)],
        markers=MARKERS,
        tests=[(run.name, _about(run)) for run in runs if run.meta],
        metrics=tables.metric_rows(runs),
        gain=tables.gain_row(runs, baseline),
        classes=tables.class_rows(runs),
        offset_head=[titled(key, runs) for key in of_offsets],
        offset_tables=[
            (run.name, tables.offset_rows(run, offsets, of_offsets)) for run in runs if by_offset(run.metrics)
        ],
        offset_figures=figures.offset_figures(runs, of_offsets),
        cost_figures=figures.cost_figures(runs, priced) if costed else {},
        costed=[run.name for run in costed],
        confusion=[
            (run.name, task, figures.confusion_figure(matrix)) for run in runs for task, matrix in run.confusion.items()
        ],
        samples=_samples(runs),
        missing={part: _missing(runs, part) for part in ('metrics', 'cost', 'samples')},
    )


def _training(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what the sections about the training show."""
    known = directions(runs)
    validation = figures.series_figures(runs, lambda key: key in known or logs.is_metric(key))
    primary = tables.primary_metrics(runs)
    first = {key: figure for key, figure in validation.items() if key in primary} or validation
    return dict(
        losses=figures.series_figures(runs, logs.is_loss),
        validation=first,
        other_validation={key: figure for key, figure in validation.items() if key not in first},
        cosines=figures.series_figures(runs, logs.is_cosine),
        logged=[run.name for run in runs if run.series],
        unlogged=_missing(runs, 'training log'),
    )


def _settings(runs: Sequence[Run]) -> dict[str, Any]:
    """Return environments and configs, and how the configs of later runs differ from that of the first."""
    first = runs[0]
    differences = []
    for run in runs[1:]:
        if first.config and run.config:
            lines = difflib.unified_diff(
                first.config.splitlines(), run.config.splitlines(), first.name, run.name, lineterm='', n=1
            )
            differences.append((run.name, '\n'.join(lines) or 'the same'))
    return dict(
        environments=[(run.name, run.environment) for run in runs if run.environment],
        configs=[(run.name, run.config) for run in runs if run.config],
        differences=differences,
        unsettled=[*_missing(runs, 'environment'), *_missing(runs, 'config')],
    )


def _about(run: Run) -> list[tuple[str, str]]:
    """Return the plain entries about a test: checkpoint, config, version, cost."""
    return [(key, str(value)) for key, value in run.meta.items() if isinstance(value, (str, int, float))]


def _samples(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the groups of samples: for each run and task the worst ones, then the best."""
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for run in runs:
        for sample, data in run.samples:
            entry = dict(
                title=sample.title,
                score=f'{titled(sample.metric, [run])} {format_metric(sample.score)}',
                uri=f'data:image/jpeg;base64,{data}',
            )
            groups.setdefault((run.name, sample.task, sample.kind), []).append(entry)
    return [dict(run=run, task=task, kind=kind, entries=found) for (run, task, kind), found in groups.items()]


def _missing(runs: Sequence[Run], part: str) -> list[str]:
    return [f'{run.name}: {run.missing[part]}' for run in runs if part in run.missing]


def _video(path: Path) -> str:
    return f'data:video/mp4;base64,{base64.b64encode(read_bytes(path, max_bytes=MAX_VIDEO)).decode()}'
