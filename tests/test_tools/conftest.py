"""Command lines, run in this process if a new one would not tell more."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / 'benchmarks'

# The demo's model on two small videos: an iteration takes a fraction of a second.
TINY_CONFIG = ROOT / 'configs' / 'mila' / 'mila_tiny-k5_1xb8-demo_synthetic-64x128.py'
TINY_OPTIONS = [
    'train_cfg.max_iters=2',
    'train_cfg.val_interval=2',
    'default_hooks.checkpoint.interval=2',
    'train_dataloader.batch_size=2',
    'test_dataloader.batch_size=2',
    *(f'{split}_dataloader.dataset.num_videos={videos}' for split, videos in (('train', 2), ('val', 1), ('test', 1))),
    *(f'{split}_dataloader.dataset.size=(32,64)' for split in ('train', 'val', 'test')),
]


def rows(printed: str) -> list[list[str]]:
    """The cells of a printed table, or of one in Markdown."""
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in printed.splitlines() if line[:1] == '|']


@pytest.fixture
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture
def tiny() -> tuple[str, list[str]]:
    """The path of a config, and what makes it tiny as `--cfg-options`."""
    return str(TINY_CONFIG), list(TINY_OPTIONS)


@pytest.fixture
def run_tool(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a script like a command line, in this process, and return its output."""

    def run(script: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, 'argv', [script, *map(str, arguments)])
        monkeypatch.syspath_prepend((ROOT / script).parent)
        runpy.run_path(str(ROOT / script), run_name='__main__')
        return capsys.readouterr().out

    return run


@pytest.fixture(scope='module')
def training() -> Iterator[Any]:
    """The modules, which find their neighbours as a script does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import training
        import training_papers
        import training_queue
        import training_report
        import training_runs
        import training_scores
        import training_tables
        import training_worker

        yield SimpleNamespace(
            main=training,
            papers=training_papers,
            queue=training_queue,
            report=training_report,
            runs=training_runs,
            scores=training_scores,
            tables=training_tables,
            worker=training_worker,
        )
        for name in [name for name in sys.modules if name == 'training' or name.startswith('training_')]:
            del sys.modules[name]
