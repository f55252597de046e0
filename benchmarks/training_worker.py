"""Train and score one run of a table; `training.py` starts it, in a process that ends with its own.

    python benchmarks/training_worker.py TABLE ROW SEED ITERATIONS WORK_DIR OPTIONS

It goes on at the newest checkpoint in the run's folder. `result.json` appears there when everything is done.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from training_papers import PRIMARY
from training_runs import Record, Run, Settings
from training_tables import TABLES

from mmmtl import __version__
from mmmtl.cli.errors import readable_errors
from mmmtl.config import input_size
from mmmtl.engine import build_runner
from mmmtl.evaluation import write_metrics
from mmmtl.io import write_text
from mmmtl.profiling import build_on_meta, count_cost
from mmmtl.profiling.measure import describe_machine
from mmmtl.registry import MODELS
from mmmtl.reporting.logs import read_logs
from mmmtl.tasks.metric_keys import MetricKey


class PairedWeights(Hook):
    """A hook that starts a run with the reference's initial weights of its seed, where name and shape agree.

    Networks that start from the checkpoint of another row keep its weights.

    So rows differ less by luck: with one seed they share all weights but those of the parts that they change.
    """

    priority = 'VERY_HIGH'

    def __init__(self, run: Run) -> None:
        self.run = run

    def before_train(self, runner: Runner) -> None:
        """Take the weights over, unless training goes on from a checkpoint or makes what the reference starts from."""
        table = self.run.settings.table
        if runner.iter or self.run.row in table.pretraining:
            return
        cfg = self.run.beside(table.reference).config()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.run.seed)
            reference = MODELS.build(cfg.model)
            reference.init_weights()
        theirs = reference.state_dict()
        taken = 0
        with torch.no_grad():
            for key, value in runner.model.state_dict().items():
                part, _, rest = key.partition('.')
                if part in self.run.row.start and rest.startswith('backbone.'):
                    continue
                other = theirs.get(f'{self.run.row.shares.get(part, part)}.{rest}')
                if other is not None and other.shape == value.shape:
                    value.copy_(other)
                    taken += value.numel()
        total = sum(value.numel() for value in runner.model.state_dict().values())
        runner.logger.info(f'{taken} of {total} initial weights are those of {table.reference}')


class KeepScores(Hook):
    """A hook that writes every validation to a file, `scores_<iteration>.json`."""

    # Before a checkpoint that says that the validation is done.
    priority = 'VERY_HIGH'

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the metrics."""
        write_metrics(Path(runner.work_dir) / f'scores_{runner.iter}.json', metrics or {}, {})


def train(run: Run) -> Record:
    """Train a run, or the rest of it, and return its result."""
    cfg = run.config()
    cfg.work_dir = str(run.folder)
    cfg.randomness = dict(seed=run.seed)
    cfg.resume = True
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    runner = build_runner(cfg)
    runner.register_hook(PairedWeights(run))
    runner.register_hook(KeepScores())
    runner.train()
    plain = run.settings.config(run.row)
    size = input_size(plain)
    assert size is not None, 'all tables resize their frames'
    cost = count_cost(build_on_meta(plain), size).to_dict()
    machine = describe_machine('cuda' if torch.cuda.is_available() else 'cpu')
    return {
        **run.identity,
        'date': time.strftime('%Y-%m-%d'),
        'version': __version__,
        'device': machine.get('gpu', machine['cpu']),
        'params': cost['params'],
        'macs': cost['macs'],
        'seconds': run.settings.iterations * iteration_time(run.folder),
        'scores': read_scores(run.folder),
    }


def read_scores(folder: Path) -> dict[str, dict[str, float]]:
    """Return {iteration: metrics} of all validations in a folder, without those that would swell the file of results.

    Left out are `pooled/` metrics, and those of single offsets but for the primary ones.
    """
    found: dict[str, dict[str, float]] = {}
    for path in sorted(folder.glob('scores_*.json'), key=lambda path: int(path.stem.partition('_')[2])):
        content: dict[str, Any] = json.loads(path.read_text())
        parts = {key: MetricKey.parse(key) for key in content if '/' in key}
        kept = {
            key: content[key]
            for key, (name, scope, offset) in parts.items()
            if scope != 'pooled' and (offset is None or name in PRIMARY)
        }
        found[path.stem.partition('_')[2]] = {key: value and float(f'{value:.6g}') for key, value in kept.items()}
    return found


def iteration_time(folder: Path) -> float:
    """Return the median seconds of an iteration, loading included, of all sessions of a run."""
    return statistics.median(read_logs(folder)['time'].values())


def end_with_parent() -> None:
    """End this process when its standard input closes, as it does when its parent is killed."""
    while os.read(0, 1):  # sys.stdin would be locked when the interpreter ends
        pass
    os._exit(1)


def main() -> None:
    table, row, seed, iterations, work_dir, options = sys.argv[1:]
    threading.Thread(target=end_with_parent, daemon=True).start()
    settings = Settings(TABLES[table], int(iterations), json.loads(options))
    run = Run(settings, settings.table.row(row), int(seed), Path(work_dir))
    record = train(run)
    for path in run.folder.glob('iter_*.pth'):
        if path != run.checkpoint:
            path.unlink()
    write_text(run.result, json.dumps(record, allow_nan=False) + '\n')


if __name__ == '__main__':
    with readable_errors():
        main()
