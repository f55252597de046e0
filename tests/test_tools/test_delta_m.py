"""The tool that compares methods by delta_m."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import rows

TOOL = 'tools/analysis_tools/delta_m.py'
CONFIG = 'configs/sca/sca_hrnet18_1xb10-100e_nyuv2-480x640.py'
ABS_ERR = ('--cfg-options', 'tasks.depth.primary_metric=abs_err')

Run = Callable[..., str]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> dict[str, str]:
    """Metrics of two single-task models and of a multi-task one."""
    monkeypatch.chdir(root)
    content = {
        'semseg': {'semseg/mIoU': 40.0},
        'depth': {'depth/rmse': 0.5, 'depth/abs_err': 0.4},
        'both': {'semseg/mIoU': 44.0, 'depth/rmse': 0.475, 'depth/abs_err': 0.5, 'meta': {}},
    }
    for name, metrics in content.items():
        (tmp_path / f'{name}.json').write_text(json.dumps(metrics))
    return {name: str(tmp_path / f'{name}.json') for name in content}


def test_against_single_task_models(run_tool: Run, files: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / 'new' / 'table.json'
    baseline = f'{files["semseg"]} + {files["depth"]}'

    printed = run_tool(
        TOOL, CONFIG, f'both={files["both"]}', '--baseline', files['semseg'], files['depth'], '--out', out
    )

    assert rows(printed) == [
        ['method', 'semseg/mIoU ↑', 'depth/rmse ↓', 'delta_m ↑'],
        [baseline, '40', '0.5', '+0.00'],
        ['both', '44', '0.475', '+7.50'],
    ]
    written = json.loads(out.read_text())
    assert written['methods']['both'] == pytest.approx({'semseg/mIoU': 44.0, 'depth/rmse': 0.475, 'delta_m': 7.5})
    assert written['meta']['delta_m'] == {
        'baseline': baseline,
        'better': 'higher',
        'unit': 'percent',
        'metrics': {'semseg/mIoU': 'higher', 'depth/rmse': 'lower'},
    }


def test_another_metric_of_depth_and_a_single_task(run_tool: Run, files: dict[str, str]) -> None:
    single = (files['semseg'], files['depth'])
    table = rows(run_tool(TOOL, CONFIG, f'a={files["both"]}', '--baseline', *single, *ABS_ERR))
    assert table[-1] == ['a', '44', '0.5', '-7.50']
    table = rows(run_tool(TOOL, CONFIG, files['both'], '--tasks', 'depth', '--baseline', *single, *ABS_ERR))
    assert table[-1] == [files['both'], '0.5', '-25.00']


def test_beside_a_published_table(run_tool: Run, files: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / 'table.md'
    printed = run_tool(TOOL, CONFIG, f'ours={files["both"]}', 'sca_table1', '--baseline', 'sca_table1', '--out', out)

    table = rows(printed)
    assert table[1:3] == [['sca_table1', '35.04', '0.644', '+0.00'], ['ours', '44', '0.475', '+25.91']]
    assert [row[0] for row in table[3:]] == [
        f'sca_table1: {name}'
        for name in ('multi-task', 'PAD-Net', 'MTI-Net', 'ATRC', 'SCA-MTL student', 'SCA-MTL teacher')
    ]
    assert table[-1][1:] == ['41.33', '0.604', '+12.08']
    markdown = out.read_text().splitlines()
    assert markdown[1].replace(' ', '').startswith('|:--') and len(markdown) == len(table) + 1
    assert [row for row in rows(out.read_text()) if '--' not in row[1]] == table


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('both', '--baseline', 'semseg'), r"semseg\.json: .*baseline.*'depth/rmse'"),
        (('semseg', '--baseline', 'both'), r"semseg\.json: .*model.*'depth/rmse'"),
        (('both', 'both', '--baseline', 'both'), r'both\.json.*NAME='),
        (('nowhere', '--baseline', 'both'), 'nowhere: '),
        (('both', '--baseline', 'both', '--out', 'table.csv'), r'--out.*\.md.*\.json.*table\.csv'),
    ],
)
def test_what_cannot_be_compared(
    run_tool: Run, files: dict[str, str], arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit, match=message):
        run_tool(TOOL, CONFIG, *(files.get(argument, argument) for argument in arguments))
