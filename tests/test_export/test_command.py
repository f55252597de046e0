"""The command `mmmtl export`, and what int8 graphs cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest
from mmengine.config import Config

from mmmtl import commands
from mmmtl.export import OnnxStream
from mmmtl.export.compare import ProgramStream
from mmmtl.export.exporting import PACKAGES

from .conftest import IMAGE, SIZE, VIDEO, moving


def write_config(path: Path, config: dict[str, Any] = VIDEO) -> Path:
    resize = dict(type='Resize', size=SIZE)
    Config({**config, 'test_dataloader': dict(dataset=dict(pipeline=[resize]))}).dump(path)
    return path


@pytest.mark.slow
def test_a_model_and_its_int8_graphs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip('onnxscript')
    frames = tmp_path / 'frames'
    frames.mkdir()
    for number, frame in enumerate(moving(8)):
        cv2.imwrite(str(frames / f'{number}.png'), frame)
    config = str(write_config(tmp_path / 'tiny.py'))
    with pytest.warns(UserWarning, match='untrained'):
        commands.main(['export', config, '--out', str(tmp_path / 'out'), '--frames', str(frames), '--int8'])
    shown = capsys.readouterr().out
    assert all(name in shown for name in ('PyTorch', 'onnx', 'onnx int8', 'PyTorch bfloat16', 'mIoU', '8 frames'))
    small = OnnxStream(tmp_path / 'out' / 'int8')
    assert small.spec['made'] == {**OnnxStream(tmp_path / 'out').spec['made'], 'numbers': 'int8'}
    assert small.step(moving(1)[0]).maps['depth'].shape == (1, *SIZE)
    onnx = pytest.importorskip('onnx')
    operators = {node.op_type for node in onnx.load(tmp_path / 'out' / 'int8' / 'key.onnx').graph.node}
    assert {'QuantizeLinear', 'DequantizeLinear', 'Conv'} <= operators


def test_outputs_that_are_inputs_are_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path / 'tiny.py')
    with pytest.raises(SystemExit, match='tiny.py'):
        commands.main(['export', str(config), '--out', str(config)])
    (tmp_path / 'frames').mkdir()
    with pytest.raises(SystemExit, match='frames: an output that is the input'):
        commands.main(['export', str(config), '--out', str(tmp_path / 'frames'), '--frames', str(tmp_path / 'frames')])


def test_a_full_folder_is_refused_before_the_model_is_built(tmp_path: Path) -> None:
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'mine.txt').touch()
    with pytest.raises(SystemExit, match=r'out: exists and is not an empty folder'):
        commands.main(['export', str(write_config(tmp_path / 'tiny.py')), '--out', str(tmp_path / 'out')])


def test_it_knows_its_packages() -> None:
    lines = (Path(__file__).parents[2] / 'requirements' / 'export.txt').read_text().splitlines()
    assert [line.partition('>=')[0] for line in lines if not line.startswith('#')] == [*PACKAGES]


def test_what_is_missing_is_said_before_the_model_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_config(tmp_path / 'tiny.py')
    command = ['export', str(config), '--out', str(tmp_path / 'out')]
    monkeypatch.setattr('mmmtl.commands.export.MultiTaskInferencer', None)
    monkeypatch.setattr('mmmtl.export.exporting.find_spec', lambda name: None)
    with pytest.raises(SystemExit, match=r'^none\.mp4: no such file'):
        commands.main([*command, '--frames', 'none.mp4'])
    with pytest.raises(SystemExit, match=r'onnx, onnxruntime, onnxscript: pip install "mmmtl\[export\]"'):
        commands.main(command)


@pytest.mark.parametrize('size', [SIZE, (48, 32)])
def test_synthetic_frames_have_no_bars(tmp_path: Path, size: tuple[int, int], recwarn: pytest.WarningsRecorder) -> None:
    config = write_config(tmp_path / 'tiny.py', IMAGE)
    chosen = [] if size == SIZE else ['--size', *map(str, size)]
    small = ['--max-frames', '1', '--formats', 'torch']
    commands.main(['export', str(config), '--out', str(tmp_path / 'out'), *chosen, *small])
    assert ProgramStream(tmp_path / 'out').spec['size'] == list(size)
    assert not [warning for warning in recwarn if 'bars' in str(warning.message)]
