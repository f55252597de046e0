"""Tables of a report: the metrics and class scores of runs side by side, with the best of each row marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmmtl.evaluation import Baseline
from mmmtl.evaluation.delta_m import is_base, mean_gain
from mmmtl.evaluation.metric_files import direction, format_metric
from mmmtl.tasks.metric_keys import MetricKey, by_offset

from .run import Run, directions, titled

NO_BASELINE = (
    'Δm, which needs something to compare with: a second run with the same tasks, --baseline, or '
    'test_evaluator.baseline in the config'
)


@dataclass(frozen=True)
class Row:
    """A row: its name, a cell for each run, which of them are the best, and whether it is a primary metric."""

    name: str
    cells: tuple[str, ...]
    best: tuple[bool, ...]
    primary: bool = False


def row(
    name: str, values: Sequence[float | None], up: bool | None, *, sign: bool = False, primary: bool = False
) -> Row:
    """Return a row of numbers; without a direction, or with fewer than two numbers, none is the best."""
    known = [value for value in values if value is not None]
    best = None if up is None or len(known) < 2 else max(known) if up else min(known)
    cells = tuple('–' if value is None else f'{value:+.2f}' if sign else format_metric(value) for value in values)
    return Row(name, cells, tuple(best is not None and value == best for value in values), primary)


def metric_rows(runs: Sequence[Run]) -> list[Row]:
    """Return a row for every metric of a test except those of single offsets, which have a table of their own.

    Primary metrics have a row even if no run has a number for them.
    """
    primary, known = primary_metrics(runs), directions(runs)
    found = dict.fromkeys([*(key for run in runs for key in run.metrics), *primary])
    keys = [key for key in found if key != 'delta_m' and not MetricKey.parse(key).is_detail]
    return [
        row(
            titled(key, runs),
            [run.metrics.get(key) for run in runs],
            direction(key, known),
            primary=key in primary,
        )
        for key in keys
    ]


def primary_metrics(runs: Sequence[Run]) -> dict[str, bool]:
    """Return the primary metrics of the runs, {`<task>/<metric>`: whether higher is better}."""
    return {key: up for run in runs for key, up in run.primary.items()}


def gain_row(runs: Sequence[Run], baseline: Baseline | None) -> tuple[Row | None, str]:
    """Return the row of delta_m and a sentence that explains it; without a row, the sentence says why.

    It compares with the baseline; or with that of the tests, if it is the same for all runs; or else with the first
    run. A run that lacks a primary metric has no delta_m. If the baseline lacks one, or if the runs do not agree on the
    primary metric of a task, no run has one: the numbers would not mean the same.
    """
    own = {(str(_delta_meta(run).get('baseline')), *_delta_metrics(run)) for run in runs if 'delta_m' in run.metrics}
    if baseline is None and len(own) == 1 and all('delta_m' in run.metrics for run in runs):
        name, *metrics = own.pop()
        return _gain([run.metrics['delta_m'] for run in runs], name, metrics)
    primary = primary_metrics(runs)
    tasks = [key.rpartition('/')[0] for key in primary]
    if doubled := sorted({task for task in tasks if tasks.count(task) > 1}):
        return None, f'Δm: the runs do not agree on the primary metric of {", ".join(doubled)}'
    compared = runs
    if baseline is None:  # the first run has no gain over itself
        baseline, compared = Baseline(runs[0].name, runs[0].metrics), runs[1:]
    if not primary or not any(primary.keys() <= run.metrics.keys() for run in compared):
        return None, NO_BASELINE
    if lacking := [key for key in primary if not is_base(baseline.metrics.get(key))]:
        return None, f'Δm: the baseline, {baseline.name}, has no positive {", ".join(lacking)}'
    gains = [
        mean_gain(run.metrics, baseline.metrics, primary) if primary.keys() <= run.metrics.keys() else None
        for run in runs
    ]
    return _gain(gains, baseline.name, list(primary))


def _gain(values: Sequence[float | None], baseline: str, metrics: Sequence[str]) -> tuple[Row, str]:
    over = f'the mean over {", ".join(metrics)}' if metrics else 'the mean over the primary metrics'
    text = f'Δm: the relative gain over {baseline} in percent, {over}.'
    return row('Δm ↑', values, True, sign=True, primary=True), text


def class_rows(runs: Sequence[Run]) -> dict[str, tuple[list[str], list[Row]]]:
    """Return {task: (the runs that have scores of its classes, the IoU of each class)}."""
    tasks: dict[str, dict[str, None]] = {}
    for run in runs:
        for task, scores in run.class_scores.items():
            tasks.setdefault(task, {}).update(dict.fromkeys(scores))
    found = {}
    for task, names in tasks.items():
        scored = [run for run in runs if run.class_scores.get(task)]
        rows = [row(name, [run.class_scores[task].get(name) for run in scored], True) for name in names]
        found[task] = ([run.name for run in scored], rows)
    return found


def offsets_of(runs: Sequence[Run]) -> tuple[list[int], list[str]]:
    """Return the offsets that runs were tested at, and the metrics to show of them: primary ones, or else all."""
    found = [by_offset(run.metrics) for run in runs]
    metrics = list(dict.fromkeys(key for offsets in found for scores in offsets.values() for key in scores))
    primary = [key for key in metrics if key in primary_metrics(runs)]
    return sorted({offset for offsets in found for offset in offsets}), primary or metrics


def offset_rows(run: Run, offsets: Sequence[int], keys: Sequence[str]) -> list[Row]:
    """Return a row for each offset, and the mean over them, with a cell for each metric."""
    rows = [row(str(o), [run.metrics.get(f'offset_{o}/{key}') for key in keys], None) for o in offsets]
    return [*rows, row('mean', [run.metrics.get(key) for key in keys], None, primary=True)]


def _delta_meta(run: Run) -> Mapping[str, object]:
    meta = run.meta.get('delta_m')
    return meta if isinstance(meta, dict) else {}


def _delta_metrics(run: Run) -> list[str]:
    metrics = _delta_meta(run).get('metrics')
    return [str(key) for key in metrics] if isinstance(metrics, dict) else []
