"""benchmarks/training.py: which orders several seeds support, and what runs that add up print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config, DictAction

from mmmtl.profiling import build_on_meta

BENCHMARKS = Path(__file__).parents[2] / 'benchmarks'


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, which finds its neighbour as a script does."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import training

    yield training
    for name in ('training', 'training_tables'):
        del sys.modules[name]


@pytest.mark.slow
def test_every_row_is_a_config_whose_options_build(training: Any) -> None:
    for name, table in training.TABLES.items():
        assert len({row.name for row in table.rows}) == len(table.rows), name
        for row in table.rows:
            cfg = Config.fromfile(BENCHMARKS.parent / row.config)
            assert set(table.tasks.split(',')) <= set(cfg.tasks), row.name
            if row.options:
                pairs = dict(option.split('=', 1) for option in row.options)
                cfg.merge_from_dict({key: DictAction._parse_iterable(value) for key, value in pairs.items()})
                cfg.use_tasks = table.tasks.split(',')
                build_on_meta(cfg)


def runs(*values: float) -> list[dict[str, Any]]:
    return [{'metrics': {'depth/rmse': value}} for value in values]


def test_an_order_needs_a_gap_of_more_than_twice_the_deviation(training: Any) -> None:
    # Means 1, 1.25 and 1.5; deviations 0.125, 0.125 and 0: a gap of 0.25 is not more than twice 0.125.
    found = {'a': runs(0.875, 1.0, 1.125), 'b': runs(1.125, 1.25, 1.375), 'c': runs(1.5, 1.5, 1.5)}
    assert training.orders('depth/rmse', found, higher=False) == ['a before c']
    assert training.orders('depth/rmse', found, higher=True) == ['c before a']


def test_one_seed_supports_no_order(training: Any) -> None:
    assert training.orders('depth/rmse', {'a': runs(1.0), 'b': runs(2.0), 'c': runs(3.0, 3.1)}, higher=False) == []


def test_runs_add_up(training: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    path = tmp_path / 'found.json'
    metrics = {'semseg/mIoU': 50.0, 'depth/rmse': 1.0}
    trained = []

    def run(table: Any, row: Any, seed: int, args: Any) -> dict[str, Any]:
        trained.append((row.name, seed))
        scale = 1 if row.name == 'single-task' else 0.5
        return dict(metrics={k: scale * v for k, v in metrics.items()}, params=2_000_000, gmac=3.0, train_s=seed)

    monkeypatch.setattr(training, 'run', run)
    for seeds in (['1'], ['1', '2']):
        rows = ['image-2', '--rows', 'single-task', 'SCA', '--seeds', *seeds, '--json', str(path)]
        monkeypatch.setattr(sys, 'argv', ['training.py', *rows])
        training.main()
    assert trained == [('single-task', 1), ('SCA', 1), ('single-task', 2), ('SCA', 2)]
    assert [record['seed'] for record in json.loads(path.read_text())] == [1, 1, 2, 2]
    # Half the mIoU and half the error.
    line = [line for line in capsys.readouterr().out.splitlines() if '| SCA' in line][-1]
    assert [cell.strip() for cell in line.strip('|').split('|')] == [
        'SCA', '2', '25 ± 0', '0.5 ± 0', '+0.00', '2.00', '3.00', '2'
    ]  # fmt: skip
