"""get_flops.py: the costs of the paper's models, the table, the file and where the size comes from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

TOOL = 'tools/analysis_tools/get_flops.py'

# GMAC with everything counted: key frame, other frame, average over K = 5 (configs/mila/README.md, Costs).
PAPER = {
    'mila_d101-d18-k5_1xb4-50e_cityscapes-256x512.py': (114.8, 58.1, 69.4),
    'mila_d101-d18-k5_1xb4-50e_nyuv2-288x384.py': (105.6, 61.7, 70.5),
}

# GMAC in the paper's convention (configs/mila/README.md, Costs), and what tables 1 and 2 print.
TABLES = {
    'baselines/multi-task_d101_1xb4-50e_cityscapes-256x512.py': (94.3, 93),
    'baselines/multi-task_d101_1xb4-50e_nyuv2-288x384.py': (79.6, 79),
    'multinet_pp/multinet-pp_d101-d18-k5_1xb4-50e_cityscapes-256x512.py': (48.8, 47),
    'multinet_pp/multinet-pp_d101-d18-k5_1xb4-50e_nyuv2-288x384.py': (41.2, 40),
    'mila/mila-no-mf-ts_d101-d18-k5_1xb4-50e_cityscapes-256x512.py': (49.1, 48),
    'mila/mila-no-mf-ts_d101-d18-k5_1xb4-50e_nyuv2-288x384.py': (41.4, 41),
    'mila/mila-no-ts_d101-d18-k5_1xb4-50e_cityscapes-256x512.py': (55.2, 55),
    'mila/mila-no-ts_d101-d18-k5_1xb4-50e_nyuv2-288x384.py': (46.6, 46),
    'mila/mila_d101-d18-k5_1xb4-50e_cityscapes-256x512.py': (69.3, 70),
    'mila/mila_d101-d18-k5_1xb4-50e_nyuv2-288x384.py': (70.3, 70),
}
SINGLE_TASK = {
    'cityscapes-256x512': (('semseg', 'disparity'), 188.6, 187),
    'nyuv2-288x384': (('semseg', 'depth', 'normals'), 238.7, 236),
}


def paper_gmac(run_tool: Callable[..., str], config: Path, file: Path, *options: str) -> float:
    printed = run_tool(TOOL, config, '--paper-convention', '--json', file, *options)
    macs = json.loads(file.read_text())['paper_convention']
    found = macs.get('average', macs.get('image')) / 1e9
    assert f"in the paper's convention, GMAC: {'key' if 'key' in macs else 'image'}" in printed
    assert f' {found:.1f}\n' in printed
    return found


@pytest.mark.parametrize('config', TABLES)
def test_costs_in_the_convention_of_the_paper(
    run_tool: Callable[..., str], root: Path, tmp_path: Path, config: str
) -> None:
    counted, printed = TABLES[config]
    found = paper_gmac(run_tool, root / 'configs' / config, tmp_path / 'cost.json')
    assert found == pytest.approx(counted, abs=0.051)
    assert found == pytest.approx(printed, rel=0.04 if 'multinet' in config else 0.023)


@pytest.mark.parametrize('data', SINGLE_TASK)
def test_single_tasks_in_the_convention_of_the_paper(
    run_tool: Callable[..., str], root: Path, tmp_path: Path, data: str
) -> None:
    tasks, counted, printed = SINGLE_TASK[data]
    config = root / 'configs' / 'baselines' / f'multi-task_d101_1xb4-50e_{data}.py'
    found = sum(paper_gmac(run_tool, config, tmp_path / 'cost.json', '--tasks', task) for task in tasks)
    assert found == pytest.approx(counted, abs=0.051)
    assert found == pytest.approx(printed, rel=0.013)


@pytest.mark.parametrize('config', PAPER)
def test_costs_of_the_paper(run_tool: Callable[..., str], root: Path, tmp_path: Path, config: str) -> None:
    file = tmp_path / 'new' / 'cost.json'
    printed = run_tool(TOOL, root / 'configs' / 'mila' / config, '--json', file)
    cost = json.loads(file.read_text())
    counted = [cost['macs'][kind] / 1e9 for kind in ('key', 'non_key', 'average')]
    assert counted == pytest.approx(PAPER[config], rel=0.01)
    (total,) = (line for line in printed.splitlines() if line.startswith('| total'))
    assert [float(cell) for cell in total.split('|')[3:6]] == pytest.approx(counted, abs=5e-4)
    assert 'align_loss (training only)' in printed
    assert f'{file}' in printed


def test_the_size_can_be_said(run_tool: Callable[..., str], root: Path, tmp_path: Path) -> None:
    config = root / 'configs' / 'baselines' / 'multi-task_d101_1xb4-50e_cityscapes-256x512.py'
    macs = {}
    for height, width in ((256, 512), (128, 256)):
        run_tool(TOOL, config, '--shape', height, width, '--json', tmp_path / 'c.json', '--tasks', 'disparity')
        cost = json.loads((tmp_path / 'c.json').read_text())
        assert cost['shape'] == [height, width]
        assert {part['task'] for part in cost['parts']} == {'', 'disparity'}
        macs[height] = cost['macs']['image']
    assert macs[256] == 4 * macs[128]


def test_no_size_is_an_error_that_names_the_flag(run_tool: Callable[..., str], root: Path) -> None:
    with pytest.raises(SystemExit, match=r'tiny_video\.py: .*--shape H W'):
        run_tool(TOOL, root / 'tests' / 'configs' / 'tiny_video.py')


def test_no_weight_file_is_needed(run_tool: Callable[..., str], root: Path) -> None:
    config = root / 'configs' / 'baselines' / 'multi-task_r50_1xb4-2k_house-256x384.py'
    missing = 'model.backbone.backbone.init_cfg.checkpoint=/nowhere/weights.pth'
    assert 'total' in run_tool(TOOL, config, '--shape', 64, 96, '--cfg-options', missing)


def test_missing_config(run_tool: Callable[..., str]) -> None:
    with pytest.raises(SystemExit, match=r'nothing\.py: '):
        run_tool(TOOL, 'nothing.py')
