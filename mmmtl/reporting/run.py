"""A run as a report shows it: everything that its work folder holds, as plain data, and what it lacks."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmmtl.evaluation.metric_files import arrow, numbers
from mmmtl.io import read_json, read_text
from mmmtl.io.files import MAX_TEXT, read_bytes

from .logs import Series, find_starts, read_logs
from .samples import Sample, SampleFolder

TEST = 'tools/test.py CONFIG CHECKPOINT --report --work-dir'
"""The command that writes what a test leaves in a work folder."""

CLASSES_AT_MOST = 256

Matrix = dict[str, dict[str, int]]
"""{labelled class: {predicted class: pixels}}."""


@dataclass
class Run:
    """A run, as a report shows it.

    Args:
        name: name of the run in tables and legends.
        metrics: {`<task>/<metric>`: value} of the test.
        class_scores: {task: {class: IoU in percent}}.
        confusion: {task: matrix}.
        meta: about the test: config, checkpoint, `primary` metrics, costs, the baseline of delta_m.
        series: the log of training.
        samples: samples, with the JPEG of each as base64.
        environment: environment of training, or else of the test, as text.
        config: resolved, as text.
        missing: {part: why it is not there, and what makes it}.
    """

    name: str
    metrics: dict[str, float] = field(default_factory=dict)
    class_scores: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion: dict[str, Matrix] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    series: Series = field(default_factory=dict)
    samples: list[tuple[Sample, str]] = field(default_factory=list)
    environment: str = ''
    config: str = ''
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def primary(self) -> dict[str, bool]:
        """The primary metric of each task, {`<task>/<metric>`: whether higher is better}."""
        return self._directions('primary')

    @property
    def directions(self) -> dict[str, bool]:
        """Whether higher is better, for each metric that the tasks of the test declare: {name: bool}."""
        return self.primary | self._directions('better')

    def _directions(self, key: str) -> dict[str, bool]:
        found = self.meta.get(key)
        entries = found.items() if isinstance(found, dict) else ()
        return {str(name): value == 'higher' for name, value in entries if value in ('higher', 'lower')}

    @property
    def gmac(self) -> float | None:
        """Billions of multiply-accumulates of an image or an average frame; None if they were not counted."""
        value = self.metrics.get('stream/GMAC', self.meta.get('GMAC'))
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def directions(runs: Sequence[Run]) -> dict[str, bool]:
    """Return {metric: whether higher is better}, as the tasks of the runs declare it."""
    return {key: up for run in runs for key, up in run.directions.items()}


def titled(metric: str, runs: Sequence[Run]) -> str:
    """Return the name of a metric with an arrow up or down, where the runs or all tasks say what is better."""
    return metric + arrow(metric, directions(runs))


def read_run(folder: str | Path, name: str | None = None) -> Run:
    """Read a work folder; what it lacks is named in `missing`.

    Args:
        folder: the work folder of `tools/train.py` and `tools/test.py`.
        name: name of the run; None is the name of the folder.

    Raises:
        ValueError: it is not a folder, holds nothing of a run, or a file in it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f'{folder}: no such folder; give the work folder of a run (tools/train.py --work-dir)')
    run = Run(name or folder.resolve().name)
    _read_test(run, folder)
    if run.metrics and is_outdated(folder):
        run.missing['metrics'] = f'metrics of the last training; those shown are of an earlier one: {TEST} {folder}'
    run.series = read_logs(folder)
    if not run.series:
        lack = 'number in ' if find_starts(folder, 'scalars.json') else ''
        run.missing['training log'] = f'no {lack}{folder}/TIME/vis_data/scalars.json; train with --work-dir {folder}'
    _read_settings(run, folder)
    if not (run.metrics or run.series or run.config):
        raise ValueError(f'{folder}: neither metrics.json nor a log; give the work folder of a run')
    return run


def is_outdated(folder: Path) -> bool:
    """Return whether a work folder was trained in after the last test in it; False if it has no test of its own."""
    starts = [path.parent for path in find_starts(folder, 'config.py')]
    tested = [start for start in starts if not (start / 'scalars.json').is_file()]
    return bool(tested) and starts[-1] not in tested


def _read_test(run: Run, folder: Path) -> None:
    path = folder / 'metrics.json'
    if path.is_file():
        content = read_json(path)
        if not isinstance(content, dict):
            raise ValueError(f'{path}: must hold a JSON object; test again with {TEST} {folder}')
        run.metrics = numbers(content)
        if isinstance(delta := content.get('delta_m'), (int, float)):
            run.metrics['delta_m'] = float(delta)
        run.meta = content['meta'] if isinstance(content.get('meta'), dict) else {}
        run.class_scores = {task: _numbers(rows) for task, rows in _dicts(content.get('class_iou')).items()}
        run.confusion = read_confusion(content, path)
    if run.metrics and run.gmac is None:
        run.missing['cost'] = f'the cost of the model; {TEST} {folder} counts it'
    if not run.metrics:
        lack = 'number in ' if path.is_file() else ''
        run.missing['metrics'] = f'no {lack}{path}; {TEST} {folder}'
    samples = SampleFolder(folder / 'samples')
    if samples.index.is_file():
        pictures = ((sample, samples.picture(sample)) for sample in samples.read())
        run.samples = [(sample, base64.b64encode(data).decode()) for sample, data in pictures]
    else:
        run.missing['samples'] = f'no {samples.index}; {TEST} {folder}'


def _read_settings(run: Run, folder: Path) -> None:
    """Read config and environment of the last training, or of the last test where nothing was trained."""
    found = find_starts(folder, 'scalars.json') or find_starts(folder, 'config.py')
    starts = [path.parent for path in found]
    config = starts[-1] / 'config.py' if starts else None
    if config is not None and config.is_file():
        run.config = read_text(config)
    else:
        run.missing['config'] = f'no {folder}/TIME/vis_data/config.py; train or test with --work-dir {folder}'
    logs = sorted(starts[-1].parent.glob('*.log')) if starts else []
    # A log is in the encoding of the locale.
    run.environment = environment(read_bytes(logs[0], max_bytes=MAX_TEXT).decode(errors='replace')) if logs else ''
    if not run.environment:
        run.missing['environment'] = f'no {folder}/TIME/TIME.log that begins with it'


def read_confusion(content: Any, path: Path) -> dict[str, Matrix]:
    """Return the matrices {task: matrix} in the contents of a `metrics.json`; refuse what is not a matrix of counts."""
    found = content.get('confusion') if isinstance(content, dict) else None
    return {task: _matrix(rows, path) for task, rows in _dicts(found).items()}


def environment(log: str) -> str:
    """Return the description of the environment at the start of a log of mmengine, empty if it has none."""
    lines = log.splitlines()
    start = next((i for i, line in enumerate(lines) if line.strip() == 'System environment:'), None)
    if start is None:
        return ''
    end = next((i for i in range(start, len(lines)) if set(lines[i].strip()) == {'-'}), len(lines))
    return '\n'.join(lines[start:end]).strip()


def _dicts(value: Any) -> dict[str, dict[str, Any]]:
    entries = value.items() if isinstance(value, dict) else ()
    return {key: inner for key, inner in entries if isinstance(inner, dict)}


def _numbers(value: dict[str, Any]) -> dict[str, float]:
    return {key: float(score) for key, score in value.items() if isinstance(score, (int, float))}


def _matrix(value: dict[str, Any], path: Path) -> Matrix:
    rows = {label: row for label, row in value.items() if isinstance(row, dict)}
    columns = list(next(iter(rows.values()), {}))
    regular = all(list(row) == columns for row in rows.values()) and rows.keys() <= set(columns)
    cells = [cell for row in rows.values() for cell in row.values()]
    if not regular or not 0 < len(columns) <= CLASSES_AT_MOST or not all(type(n) is int and n >= 0 for n in cells):
        raise ValueError(f'{path}: `confusion` is not {{label: {{class: pixels}}}} of the same classes; test again')
    return rows
