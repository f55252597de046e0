"""The scores of a table's finished runs, by row, seed and time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from training_papers import PAPERS, PRIMARY, PaperTable
from training_rows import TASKS
from training_runs import Record, Settings

from mmmtl._output import counted
from mmmtl.evaluation import delta_m
from mmmtl.evaluation.metric_files import arrow
from mmmtl.tasks import build_tasks
from mmmtl.tasks.metric_keys import by_offset
from mmmtl.visualization.curves import Curve

At = Callable[[Record], dict[str, float]]
"""Chooses one of the validations of a run."""


def two_thirds(record: Record) -> dict[str, float]:
    """Return the metrics after two thirds of the training."""
    metrics: dict[str, float] = record['scores'][sorted(record['scores'], key=int)[-2]]
    return metrics


def end(record: Record) -> dict[str, float]:
    """Return the metrics at the end of the training."""
    metrics: dict[str, float] = record['scores'][max(record['scores'], key=int)]
    return metrics


class Scores:
    """The results of runs with given settings.

    Args:
        settings: those that count.
        records: results of any settings.

    Attributes:
        found: {row: results}, in the order of the table.
        others: how many results have other settings.
    """

    def __init__(self, settings: Settings, records: Sequence[Record]) -> None:
        self.settings = settings
        self.found: dict[str, list[Record]] = {}
        for row in (*settings.table.rows, *settings.table.pretraining):
            named = [r for r in records if r['row'] == row.name and r['iterations'] == settings.iterations]
            if same := [r for r in named if r['config'] == settings.digest(row)]:
                self.found[row.name] = sorted(same, key=lambda record: record['seed'])
        self.others = len(records) - sum(map(len, self.found.values()))

    def seeds(self, paper: PaperTable, row: str) -> list[int]:
        """Return the seeds of which every run is there that stands for a row of a paper."""
        runs = [{record['seed'] for record in self.found.get(run, ())} for run in paper.runs.get(row, ())]
        return sorted(set.intersection(*runs)) if runs else []

    def metrics(self, paper: PaperTable, row: str, at: At) -> dict[int, dict[str, float]]:
        """Return {seed: metrics of all runs that stand for a row of a paper}, without those that are unknown."""
        found: dict[int, dict[str, float]] = {}
        for seed in self.seeds(paper, row):
            found[seed] = {}
            for run in paper.runs[row]:
                record = next(record for record in self.found[run] if record['seed'] == seed)
                found[seed] |= {key: value for key, value in at(record).items() if value is not None}
        return found

    def values(self, paper: PaperTable, row: str, column: str, at: At) -> dict[int, float]:
        """Return {seed: metric} of a row of a paper; delta_m is relative to the first row with that seed."""
        found = self.metrics(paper, row, at)
        if column != 'delta_m':
            return {seed: metrics[column] for seed, metrics in found.items() if column in metrics}
        base = self.metrics(paper, next(iter(paper.values)), at)
        last = paper.runs[list(paper.values)[-1]][0]
        tasks = build_tasks(self.settings.config(self.settings.table.row(last)).tasks, last)
        return {seed: delta_m(metrics, base[seed], tasks) for seed, metrics in found.items() if seed in base}

    def of_row(self, row: str, metric: str, at: At) -> dict[int, float]:
        """Return {seed: metric} of a row of ours, without unknown ones; images have the same at every offset.

        `offset_0/` before a metric means on key frames alone, `non_key/` the mean over all other offsets.
        """
        name = metric.removeprefix('offset_0/').removeprefix('non_key/')
        on_key_frames = metric.startswith('offset_0/')
        found = {}
        for record in self.found.get(row, ()):
            metrics = at(record)
            offsets = by_offset(metrics) if metric != name else {}
            chosen = [of_one[name] for o, of_one in offsets.items() if name in of_one and (o == 0) == on_key_frames]
            values: Sequence[float | None] = chosen or [metrics.get(name)]
            known = [value for value in values if value is not None]
            if len(known) == len(values):
                found[record['seed']] = statistics.fmean(known)
        return found

    def cost(self, paper: PaperTable, row: str) -> tuple[str, str]:
        """Return GMAC and parameters, in millions, of a row of a paper; nothing without a run."""
        if not self.seeds(paper, row):
            return '', ''
        records = [self.found[run][0] for run in paper.runs[row]]
        return f'{sum(map(gmac, records)):.3g}', f'{sum(record["params"] for record in records) / 1e6:.3g}'

    def offset_panels(self) -> dict[str, list[Curve]]:
        """Return the curves by offset of video models and, as flat lines, of slow only and fast only."""
        if not any(by_offset(end(record)) for records in self.found.values() for record in records):
            return {}
        panels = {}
        for metric in PRIMARY:
            curves = []
            for name in next(iter(self._by_tasks().values())):
                offsets = [o for o, scores in by_offset(end(self.found[name][0])).items() if metric in scores]
                if offsets:
                    y = [self._mean(name, f'offset_{offset}/{metric}') for offset in offsets]
                    curves.append(Curve(self._label(name), offsets, y))
                elif name in ('slow only', 'fast only') and metric in end(self.found[name][0]):
                    curves.append(Curve(self._label(name), range(5), [self._mean(name, metric)] * 5))
            if curves:
                panels[metric + arrow(metric)] = curves
        return panels

    def cost_panels(self) -> dict[tuple[str, ...], dict[str, list[Curve]]]:
        """Return {tasks: {metric: points}}: each row with these tasks against its cost, if there are several."""
        metrics = dict.fromkeys(column for paper in PAPERS[self.settings.table.paper] for column in paper.columns)
        panels: dict[tuple[str, ...], dict[str, list[Curve]]] = {}
        for tasks, names in self._by_tasks().items():
            if len(names) < 2:
                continue
            costs = {name: gmac(self.found[name][0]) for name in names}
            measured = [metric for metric in metrics if all(metric in end(self.found[name][0]) for name in names)]
            panels[tasks] = {
                metric + arrow(metric): [
                    Curve(self._label(name), [cost], [self._mean(name, metric)]) for name, cost in costs.items()
                ]
                for metric in measured
            }
        return panels

    def _by_tasks(self) -> dict[tuple[str, ...], list[str]]:
        """Return {tasks: finished rows}, those with most tasks first."""
        found: dict[tuple[str, ...], list[str]] = {}
        for row in self.settings.table.rows:
            if row.name in self.found:
                found.setdefault(row.tasks or TASKS, []).append(row.name)
        return dict(sorted(found.items(), key=lambda item: -len(item[0])))

    def _label(self, name: str) -> str:
        return f'{name}, {counted(len(self.found[name]), "seed")}'

    def _mean(self, name: str, metric: str) -> float:
        return statistics.fmean(end(record)[metric] for record in self.found[name])


def gmac(record: Record) -> float:
    """Return the cost of a frame, for video the average over the key-frame interval."""
    macs = record['macs']
    return float(macs.get('average', macs.get('image'))) / 1e9
