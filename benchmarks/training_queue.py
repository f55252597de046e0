"""A queue of runs: several side by side, each in a process of its own, with progress and time left on screen."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from training_runs import ROOT, Record, Run, add_record, find_record, read_records

from mmmtl._output import counted
from mmmtl.engine.folder_lock import FolderLock

ITERATION = re.compile(r'Iter\(train\) *\[ *(\d+)/\d+\]')
RESUMED = re.compile(r'resumed epoch: \d+, iter: (\d+)')
POLL = 0.5
"""Seconds between two looks at the running processes."""

PACE = 1800.0
"""Seconds of the past from which the time left is estimated."""

KEEP_FREED_MEMORY = {
    'MALLOC_MMAP_MAX_': '0',
    'MALLOC_TRIM_THRESHOLD_': str(2**36),
    'MALLOC_TOP_PAD_': str(2**28),
}
"""Variables that make glibc keep freed memory for the next tensors, as docs/training.md says. Results do not change.

Otherwise each large tensor gets new pages from the kernel, and gives them back, in every step.
"""


@dataclass
class Job:
    """A run in training.

    Args:
        run: what is trained.
        process: process of the worker.
        log: its output, opened for reading.
        done: iterations that it has reported.
        skipped: those of them that an earlier call has done.
    """

    run: Run
    process: subprocess.Popen[bytes]
    log: IO[str]
    done: int = 0
    skipped: int = 0

    def look(self) -> None:
        """Read what the worker has written since the last look."""
        text = self.log.read()
        if resumed := RESUMED.search(text):
            self.done = self.skipped = int(resumed[1])
        for match in ITERATION.finditer(text):
            self.done = int(match[1])


def needed(runs: Iterable[Run], records: Sequence[Record]) -> list[Run]:
    """Return the runs that have not finished, in order, each after those whose checkpoints it needs and lacks."""
    found: list[Run] = []

    def add(run: Run) -> None:
        for other in run.requires:
            if not other.checkpoint.exists():
                add(other)
        if run not in found:
            found.append(run)

    for run in runs:
        if not find_record(records, run.identity):
            add(run)
    return found


def train_all(
    runs: Sequence[Run], path: Path, *, jobs: int, threads: int, after_each: Callable[[], object]
) -> list[Run]:
    """Train the runs that have not finished, add each result to a file, and return those that failed.

    An interruption loses what was trained since the last checkpoints; the next call goes on there.

    Args:
        runs: runs of one table and folder.
        path: the file of the table's results.
        jobs: how many to train side by side.
        threads: number of threads of each.
        after_each: called when a result has been added.

    Raises:
        ValueError: another queue works in the same folder.
    """
    table = runs[0].settings.table
    lock = FolderLock(runs[0].work_dir / table.name)
    console = Console()
    add_unseen(runs, path)
    records = read_records(path)
    waiting = needed(runs, records)
    finished = sum(find_record(records, run.identity) is not None for run in runs)
    console.print(f'{table.name}: {counted(len(runs), "run")}, {finished} finished already; folder {lock.folder}')
    running: list[Job] = []
    started: list[Job] = []
    failed: list[Run] = []
    length, count = runs[0].settings.iterations, len(waiting)
    columns = (TextColumn('{task.description}'), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
    left = (TextColumn('left'), TimeRemainingColumn())
    try:
        with Progress(*columns, *left, console=console, speed_estimate_period=PACE) as progress:
            total = progress.add_task('all iterations', total=length * count)
            bars = {run.folder: progress.add_task(run.name, total=length, visible=False) for run in waiting}
            while waiting or running:
                for job in list(running):
                    code = job.process.poll()
                    job.look()
                    progress.update(bars[job.run.folder], completed=job.done, visible=code is None)
                    if code is None:
                        continue
                    running.remove(job)
                    job.log.close()
                    if job.run.result.exists():
                        add_result(job.run, path)
                        progress.print(f'{time.strftime("%H:%M")} finished: {job.run.name}')
                        after_each()
                    else:
                        failed.append(job.run)
                        progress.print(f'{job.run.name} failed ({code}); the end of {log_of(job.run)}:')
                        progress.print(log_of(job.run).read_text()[-1500:], markup=False, highlight=False)
                while len(running) < jobs and (ready := next_ready(waiting, running)):
                    waiting.remove(ready)
                    if missing := [other.checkpoint for other in ready.requires if not other.checkpoint.exists()]:
                        failed.append(ready)
                        progress.print(f'{ready.name}: lacks {", ".join(map(str, missing))}')
                        continue
                    running.append(start(ready, threads))
                    started.append(running[-1])
                skipped = sum(job.skipped for job in started)
                done = sum(job.done for job in started) - skipped
                progress.update(total, completed=done, total=length * count - skipped)
                time.sleep(POLL)
    finally:
        for job in running:
            job.process.terminate()
        for job in running:
            job.process.wait()
            job.log.close()
        lock.release()
    return failed


def add_unseen(runs: Iterable[Run], path: Path) -> None:
    """Add the results of runs, and of those that they need, that finished while nobody looked."""
    records = read_records(path)
    for one in {each.folder: each for run in runs for each in (*run.requires, run)}.values():
        if one.result.exists() and not find_record(records, one.identity):
            add_result(one, path)


def add_result(run: Run, path: Path) -> None:
    """Add the result that a worker left in the folder of its run."""
    add_record(path, json.loads(run.result.read_text()))


def next_ready(waiting: Sequence[Run], running: Sequence[Job]) -> Run | None:
    """Return the first run that needs no checkpoint of one still to be trained."""
    busy = {job.run.folder for job in running} | {run.folder for run in waiting}
    return next((run for run in waiting if not busy & {other.folder for other in run.requires}), None)


def log_of(run: Run) -> Path:
    """Return the file with a run's output."""
    return run.folder / 'output.log'


def start(run: Run, threads: int) -> Job:
    """Start the worker of a run; it ends when its standard input closes, so with this process in any case."""
    run.folder.mkdir(parents=True, exist_ok=True)
    run.result.unlink(missing_ok=True)  # of a training run whose checkpoint is gone
    settings = run.settings
    arguments = [settings.table.name, run.row.name, str(run.seed), str(settings.iterations), str(run.work_dir)]
    worker = ROOT / 'benchmarks/training_worker.py'
    # The worker finds its neighbours beside it, and the package where this process has it.
    found = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])
    environment = {**KEEP_FREED_MEMORY, **os.environ, 'OMP_NUM_THREADS': str(threads), 'PYTHONPATH': found}
    with log_of(run).open('wb') as output:
        process = subprocess.Popen(
            [sys.executable, str(worker), *arguments, json.dumps(dict(settings.options))],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    return Job(run, process, log_of(run).open(errors='replace'))
