"""Every program that writes where the user says refuses to write over what it reads, before it works."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import ROOT

TINY = ROOT / 'tests' / 'configs' / 'tiny_video.py'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config of its own with a base, and data folders that hold a file."""
    shutil.copy(TINY, tmp_path / 'base.py')
    data = tmp_path / 'data' / 'frames'
    data.mkdir(parents=True)
    (data / '000001.png').write_bytes(b'mine')
    (tmp_path / 'config.py').write_text(
        "_base_ = 'base.py'\n"
        f'for_data = dict(data_root={str(tmp_path / "data")!r})\n'
        f'test_dataloader = dict(dataset=dict(data_root={str(tmp_path / "data")!r}))\n'
        f'train_dataloader = dict(dataset=dict(data_root={str(tmp_path / "data")!r}))\n'
    )
    (tmp_path / 'weights.pth').write_bytes(b'mine')
    for name in ('m.json', 'b.json', 'm.svg'):
        (tmp_path / name).write_text(json.dumps({'semseg/mIoU': 1.0, 'offset_0/semseg/mIoU': 1.0, 'stream/GMAC': 1.0}))
    return tmp_path / 'config.py'


COMMANDS = {
    'tools/test.py': [
        ('config.py', 'weights.pth', '--out', 'weights.pth'),
        ('config.py', 'weights.pth', '--out', 'config.py'),
        ('config.py', 'weights.pth', '--out', 'data/frames/000001.png'),
        ('config.py', 'weights.pth', '--show-dir', 'data/frames'),
    ],
    'tools/misc/print_config.py': [
        ('config.py', '--save-path', 'config.py'),
        ('config.py', '--save-path', 'base.py'),
    ],
    'tools/analysis_tools/attention_maps.py': [('config.py', 'weights.pth', '--out-dir', 'data/frames')],
    'tools/analysis_tools/browse_dataset.py': [('config.py', '--output-dir', 'data/frames')],
    'tools/analysis_tools/get_flops.py': [('config.py', '--json', 'config.py')],
    'tools/analysis_tools/benchmark.py': [('config.py', 'weights.pth', '--shape', '32', '64', '--json', 'weights.pth')],
    'tools/analysis_tools/trivial_baseline.py': [('config.py', '--out', 'base.py')],
    'tools/analysis_tools/delta_m.py': [
        ('config.py', 'm.json', '--baseline', 'b.json', '--out', 'm.json'),
        ('config.py', 'x=m.json', '--baseline', 'b.json', '--out', 'b.json'),
    ],
    'tools/analysis_tools/cost_curve.py': [('x=m.svg', '--out', 'm.svg')],
    'tools/analysis_tools/offset_curve.py': [('m.svg', '--out', 'm.svg')],
    'tools/analysis_tools/aggregate.py': [('x=b.json', '--out', 'b.json')],
    'tools/analysis_tools/confusion_matrix.py': [('m.svg', '--out', 'm.svg')],
    'tools/analysis_tools/dataset_statistics.py': [('config.py', '--out', 'base.py')],
    'tools/misc/publish_model.py': [
        ('weights.pth', '--name', 'n', '--licence', 'l', '--data', 'd', '--out-dir', 'weights.pth')
    ],
    'demo/image_demo.py': [
        ('data/frames/000001.png', 'config.py', '--out-dir', 'data/frames'),
        ('data/frames', 'config.py', '--out-dir', 'data/frames'),
    ],
    'demo/video_demo.py': [('m.svg', 'config.py', '--out', 'm.svg'), ('data', 'config.py', '--out', 'config.py')],
}


@pytest.mark.parametrize('script', COMMANDS)
@pytest.mark.parametrize('linked', [False, True])
def test_an_input_is_not_overwritten(script: str, linked: bool, config: Path, run_tool: Callable[..., str]) -> None:
    folder = config.parent
    before = {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}
    (folder / 'linked').symlink_to(folder)
    for command in COMMANDS[script]:
        arguments = [folder / part if (folder / part).exists() else part for part in command]
        arguments = [f'x={folder}/{part[2:]}' if str(part).startswith('x=') else part for part in arguments]
        if linked:
            arguments[-1] = folder / 'linked' / command[-1]
        with pytest.raises(SystemExit) as refusal:
            run_tool(script, *arguments)
        assert Path(command[-1]).name in str(refusal.value), command
        assert any(word in str(refusal.value) for word in ('output', 'data folder')), refusal.value
    assert {path: path.read_bytes() for path in before} == before


def test_every_program_that_writes_is_here() -> None:
    options = ("'--out'", "'--out-dir'", "'--json'", "'--save-path'", "'--show-dir'", "'--output-dir'")
    programs = [*ROOT.glob('demo/*_demo.py'), *ROOT.glob('tools/*.py'), *ROOT.glob('tools/*_tools/*.py'),
                *ROOT.glob('tools/misc/*.py')]  # fmt: skip
    writers = {
        path.relative_to(ROOT).as_posix()
        for path in programs
        if any(option in (text := path.read_text()) for option in options) or 'parse_curve_arguments' in text
    }
    # One makes a folder of its own; the figure of the other cannot have the name of a log.
    assert writers - {'demo/run_demo.py', 'tools/analysis_tools/analyze_logs.py'} == set(COMMANDS)
