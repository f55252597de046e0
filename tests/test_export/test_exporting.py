"""Export of models: what is written equals the model, and nothing is left of one that does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmmtl.apis import MultiTaskInferencer
from mmmtl.export import OnnxStream, export_model
from mmmtl.export.compare import Comparison, ProgramStream, TorchStream, compare
from mmmtl.export.exporting import Export, check_errors
from mmmtl.export.quantizing import quantize
from mmmtl.export.writing import OPSET
from mmmtl.models.segmentors import FixedInterval, FrameChange

from .conftest import IMAGE, SIZE, VIDEO, make, moving


def test_files_have_standard_operators_and_open_batches(exported: Path, video: MultiTaskInferencer) -> None:
    onnx = pytest.importorskip('onnx')
    # Another test imports the runner from there, which leaves a folder.
    files = {path.name for path in exported.iterdir() if path.is_file()}
    assert files == {'key.onnx', 'non_key.onnx', 'onnx_stream.py'}
    for kind in ('key', 'non_key'):
        proto = onnx.load(exported / f'{kind}.onnx')
        assert [(one.domain, one.version) for one in proto.opset_import if one.domain in ('', 'ai.onnx')] == [
            ('', OPSET)
        ]
        assert {node.domain for node in proto.graph.node} == {''}
        assert not any(node.doc_string or node.metadata_props for node in proto.graph.node)
        assert all(isinstance(one.type.tensor_type.shape.dim[0].dim_param, str) for one in proto.graph.input)
    # A batch equals its rows.
    stream = OnnxStream(exported)
    rows = [stream.prepare(frame)[0] for frame in moving(6)]
    batch, state = np.concatenate(rows[:3]), None
    alone: list[Any] = [None] * 3
    for _ in range(4):
        logits, _, state = stream.advance(batch, state)
        for row in range(3):
            own, _, alone[row] = stream.advance(rows[row], alone[row])
            for name, found in own.items():
                np.testing.assert_allclose(logits[name][row], found[0], atol=1e-4)


@pytest.mark.slow
def test_programs_run_like_the_model(video: MultiTaskInferencer, tmp_path: Path) -> None:
    export_model(video, tmp_path / 'out', moving(3), name='tiny', formats=['torch'])
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'key.pt2', 'non_key.pt2'}
    stream, state, theirs = ProgramStream(tmp_path / 'out'), None, None
    for frame in moving(5):
        maps, is_key, state = stream.step(frame, state)
        _, expected, right, theirs = video.step(frame[..., ::-1], theirs)
        assert is_key == right
        np.testing.assert_allclose(maps['depth'], expected['depth'], atol=1e-4)


@pytest.mark.slow
def test_an_image_model_of_any_size(tmp_path: Path) -> None:
    pytest.importorskip('onnxscript')
    inferencer = make(IMAGE, 'input')
    done = export_model(inferencer, tmp_path / 'out', moving(2, (30, 33)), name='tiny', dynamic_size=True)
    assert done.found['onnx'].error.keys() == {'disparity', 'edges'} and done.frames == 2
    assert 'disparity' in done.table() and {path.name for path in (tmp_path / 'out').iterdir()} == {
        'image.onnx',
        'onnx_stream.py',
    }
    stream = OnnxStream(tmp_path / 'out')
    for size in (SIZE, (60, 41), (16, 48)):
        frame = moving(1, size)[0]
        maps, is_key, _ = stream.step(frame)
        assert not is_key
        for name, expected in inferencer(frame[..., ::-1]).items():
            assert maps[name].shape == (1, *size)
            np.testing.assert_allclose(maps[name], expected, atol=2e-2 * np.abs(expected).max())


def test_nothing_is_left_of_a_model_that_differs(
    video: MultiTaskInferencer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('onnxscript')
    wide = moving(2, (20, 48))
    with (
        pytest.warns(UserWarning, match=r'tiny: .* \(32, 48\) get bars, .* \(20, 48\) \(--size 20 48\)'),
        pytest.raises(ValueError, match='tiny as torch: the largest error of task .* 1e-12'),
    ):
        export_model(make(IMAGE), tmp_path / 'out', wide, name='tiny', tolerance=1e-12, formats=['torch'])
    assert not list(tmp_path.iterdir())


def test_numbers_and_key_frames_that_differ_are_refused(video: MultiTaskInferencer) -> None:
    class Changed(TorchStream):
        def __init__(self, factor: float, *, other_key: bool) -> None:
            super().__init__(video.model)
            self.factor, self.other_key = factor, other_key

        def advance(self, inputs: np.ndarray, state: Any = None) -> Any:
            logits, is_key, state = super().advance(inputs, state)
            return {name: self.factor * one for name, one in logits.items()}, is_key != self.other_key, state

    frames = [np.random.default_rng(0).normal(size=(1, 3, *SIZE)).astype(np.float32)] * 2
    found = compare(video.model, {name: Changed(float(name), other_key=False) for name in ('3', 'nan')}, frames)
    assert set(found['PyTorch'].error.values()) == {0.0} and [*found['3'].error.values()] == pytest.approx([2.0, 2.0])
    with pytest.raises(ValueError, match='the largest error of task .* is nan'):
        check_errors(found['nan'], 1e9, 'it')
    with pytest.raises(ValueError, match='other does not treat frame 0 as a key frame, but PyTorch does'):
        compare(video.model, {'other': Changed(1.0, other_key=True)}, frames)


def test_a_folder_that_is_there_is_filled(tmp_path: Path) -> None:
    """It may be a mount point, which cannot be replaced."""
    before = tmp_path.stat().st_ino
    export_model(make(IMAGE), tmp_path, moving(2), name='tiny', formats=['torch'])
    assert [path.name for path in tmp_path.iterdir()] == ['image.pt2'] and tmp_path.stat().st_ino == before


class Own(FixedInterval):
    def rule(self) -> None:  # type: ignore[override]
        return None


def test_refusals_come_with_the_reason(
    video: MultiTaskInferencer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = moving(2)
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'file').touch()
    with pytest.raises(ValueError, match='full'):
        export_model(video, tmp_path / 'full', frames)
    with pytest.raises(ValueError, match=r"\['onnx', 'torch'\]"):
        export_model(video, tmp_path / 'out', frames, formats=['pickle'])  # type: ignore[list-item]
    for size in ((-4, 5), (64.0, 128.0), (64,)):
        with pytest.raises(ValueError, match=r'size must be \(height, width\)'):
            export_model(video, tmp_path / 'out', frames, size=size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"not the name 'room\.mp4'.*read_frames"):
        export_model(video, tmp_path / 'out', 'room.mp4')
    with pytest.raises(ValueError, match='uint8'):
        export_model(video, tmp_path / 'out', [np.zeros((*SIZE, 3))])
    monkeypatch.setattr(video.model, 'key_frame_policy', FrameChange(float('inf')))
    with pytest.raises(ValueError, match="tiny: .*'threshold': inf.*finite"):
        export_model(video, tmp_path / 'out', frames, name='tiny')
    inferencer = make(VIDEO, neck=dict(type='FlowWarpNeck', flow=dict(type='DISFlow')))
    with pytest.raises(ValueError, match='image'):
        export_model(inferencer, tmp_path / 'out', frames, name='flow')
    monkeypatch.setattr(video.model, 'key_frame_policy', Own(3))
    with pytest.raises(ValueError, match='tiny: Own'):
        export_model(video, tmp_path / 'out', frames, name='tiny')
    monkeypatch.undo()
    depth = video.model.tasks['depth']
    usual = depth.decode
    for decode in (lambda logits: logits.exp()), (lambda logits: usual(logits).repeat(1, 3, 1, 1)):
        monkeypatch.setattr(depth, 'decode', decode)
        with pytest.raises(ValueError, match=r"tiny: task 'depth': DepthEstimation\.decode returns other maps"):
            export_model(video, tmp_path / 'out', frames, name='tiny')
    monkeypatch.setattr(depth, 'decoding', lambda: None)
    with pytest.raises(ValueError, match=r"tiny: the tasks \['depth'\] .*Task\.decoding.*--tasks"):
        export_model(video, tmp_path / 'out', frames, name='tiny')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['full']


def test_frames_without_one_kind_do_not_calibrate(exported: Path, tmp_path: Path) -> None:
    """The run that makes a missing memory of the first frame counts for nothing."""
    frames = [OnnxStream(exported).prepare(frame)[0] for frame in moving(1)]
    with pytest.raises(ValueError, match="none of the 1 frames has the kind 'non_key'"):
        quantize(exported, tmp_path, frames)


def test_int8_takes_the_convolutions_behind_the_first_with_their_relus(exported: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip('onnx')
    frames = [OnnxStream(exported).prepare(frame)[0] for frame in moving(7)]
    quantize(exported, tmp_path, frames)
    for kind in ('key', 'non_key'):
        before, after = (onnx.load(folder / f'{kind}.onnx').graph.node for folder in (exported, tmp_path))
        levels = {node.output[0] for node in after if node.op_type == 'DequantizeLinear'}
        assert sum(node.op_type == 'Conv' and node.input[0] in levels for node in after) == 1
        assert not any('frames' in node.input for node in after if node.op_type == 'QuantizeLinear')
        assert sum(node.op_type == 'Clip' for node in before) == 1 + sum(node.op_type == 'Clip' for node in after)
    state, theirs = None, None
    large, small = OnnxStream(exported), OnnxStream(tmp_path)
    for inputs in frames:
        expected, _, theirs = large.advance(inputs, theirs)
        found, _, state = small.advance(inputs, state)
        for name, logits in expected.items():
            np.testing.assert_allclose(found[name], logits, atol=0.02 * np.abs(logits).max())


def test_graphs_without_such_convolutions_are_refused(exported: Path, tmp_path: Path) -> None:
    """An empty list of nodes would mean all of them."""
    onnx = pytest.importorskip('onnx')
    (tmp_path / 'small').mkdir()
    for kind in ('key', 'non_key'):
        proto = onnx.load(exported / f'{kind}.onnx')
        for one in proto.graph.initializer:
            one.name = one.name.replace('backbone.', 'head.')
        for node in proto.graph.node:
            node.input[:] = [name.replace('backbone.', 'head.') for name in node.input]
        onnx.save(proto, tmp_path / f'{kind}.onnx')
    frames = [OnnxStream(exported).prepare(frame)[0] for frame in moving(6)]
    with pytest.raises(ValueError, match=r'key\.onnx: .* int8'):
        quantize(tmp_path, tmp_path / 'small', frames)
    assert not list((tmp_path / 'small').iterdir())


def test_frames_stand_for_their_own_past_at_the_beginning(exported: Path, video: MultiTaskInferencer) -> None:
    """The first frame, and the first that is no key frame, lack memories that the graphs read."""
    stream, state, theirs = OnnxStream(exported), None, None
    for frame in moving(2):
        inputs, _ = stream.prepare(frame)
        logits, _, state = stream.advance(inputs, state)
        with torch.no_grad():
            expected = video.model.step(torch.from_numpy(inputs), theirs)
        theirs = expected.state
        full = torch.nn.functional.interpolate(expected.logits['depth'], SIZE, mode='bilinear')
        np.testing.assert_allclose(logits['depth'], full, atol=1e-4)


def test_tasks_of_one_metric_have_columns_of_their_own() -> None:
    found = Comparison({'near': 0.0, 'far': 0.0}, {'near': 1.0, 'far': 2.0}, {'image': 3.0})
    metrics = {'near': 'abs_err', 'far': 'abs_err'}
    table = Export(Path(), {'onnx': found}, 1, {'kinds': ['image']}, metrics).table()
    assert 'near: abs_err' in table and 'far: abs_err' in table
