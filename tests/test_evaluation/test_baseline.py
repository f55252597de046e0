"""The baseline of delta_m: a file, several files, or a published row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmmtl.evaluation import PUBLISHED, MultiTaskMetric, load_baseline


def write(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_a_file_gives_its_metrics_and_nothing_else(tmp_path: Path) -> None:
    content = {'depth/rmse': 0.5, 'offset_2/depth/rmse': 1, 'depth/abs_err': None, 'delta_m': 3.0, 'meta': {'a/b': 1.0}}
    path = write(tmp_path / 'metrics.json', content)

    baseline = load_baseline(path)

    assert baseline.name == path
    assert baseline.metrics == {'depth/rmse': 0.5, 'offset_2/depth/rmse': 1.0}


def test_single_task_models_have_a_file_each(tmp_path: Path) -> None:
    one = {'semseg/mIoU': 40.0, 'depth/rmse': 0.5, 'stream/GMAC': 1.5, 'meta': {'config': 'a.py'}}
    two = {'normals/mean': 20.0, 'depth/rmse': 0.5, 'stream/GMAC': 1.25, 'meta': {'config': 'b.py'}}
    one, two = write(tmp_path / 'a.json', one), write(tmp_path / 'b.json', two)

    baseline = load_baseline([one, two])

    assert baseline.name == f'{one} + {two}'
    assert baseline.metrics == {'semseg/mIoU': 40.0, 'depth/rmse': 0.5, 'normals/mean': 20.0}


def test_files_that_contradict_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / 'a.json', {'semseg/mIoU': 40.0, 'depth/rmse': 0.5})
    two = write(tmp_path / 'b.json', {'normals/mean': 20.0, 'depth/rmse': 0.625})

    with pytest.raises(ValueError, match=r"'depth/rmse'.*0\.5.*a\.json.*0\.625.*b\.json"):
        load_baseline([one, two])


@pytest.mark.parametrize('name', PUBLISHED)
def test_a_published_one_has_a_name(name: str) -> None:
    baseline = load_baseline(name)

    assert baseline.name == name
    assert baseline.metrics == PUBLISHED[name].metrics('MTI-Net' if name == 'sca_table5' else 'single task')


def test_a_published_row_and_a_file_go_together(tmp_path: Path) -> None:
    path = write(tmp_path / 'edges.json', {'edges/odsF': 70.0})
    assert load_baseline(['sca_table3', path]).metrics == {
        'normals/mean': 14.87,
        'semseg/mIoU': 57.33,
        'edges/odsF': 70.0,
    }


@pytest.mark.parametrize(
    ('source', 'content', 'message'),
    [
        ('sca_tabel2', None, "sca_tabel2: .*'sca_table2'"),
        ('x.json', None, r"x\.json: .*'sca_table1', 'sca_table2'"),
        ('x.json', 'depth/rmse: 0.5', r'x\.json: .*JSON.*Expecting value'),
        ('x.json', [0.5], r"x\.json: .*'<task>/<metric>'.*tools/test\.py --out"),
        ('x.json', {'delta_m': 1.0, 'depth/rmse': None, 'depth/ok': True}, r"x\.json: .*'<task>/<metric>'"),
        ((), None, r'delta_m.*metrics\.json'),
    ],
)
def test_what_is_no_baseline_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Any, content: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        write(tmp_path / source, content)
    with pytest.raises(ValueError, match=message):
        load_baseline(source)


def test_the_metric_takes_a_name() -> None:
    metric = MultiTaskMetric(baseline='sca_table1')
    assert metric.baseline is not None and metric.baseline.metrics == {'depth/rmse': 0.644, 'semseg/mIoU': 35.04}
