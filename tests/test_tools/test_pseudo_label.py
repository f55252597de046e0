"""pseudo_label.py: videos labelled by a model of ours and by ONNX models, read back by VideoFolder."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from mmmtl.apis import MultiTaskInferencer
from mmmtl.config import load_config
from mmmtl.datasets import VideoFolder
from mmmtl.io import MapWriter

TOOL = 'tools/dataset_converters/pseudo_label.py'
PIPELINE = [dict(type=f'mmmtl.{name}') for name in ('LoadFrames', 'LoadMaps', 'PackMultiTaskInputs')]
TASKS = """
tasks = dict(
    semseg=dict(type='SemanticSegmentation', classes=['dark', 'light']),
    depth=dict(type='DepthEstimation', max_depth=10.0),
    normals=dict(type='SurfaceNormals'),
    saliency=dict(type='SaliencyDetection'))
"""


class Brightness(nn.Module):
    """Logits of two classes by the red of a pixel, and ten metres times it, at half the size."""

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        bright = nn.functional.avg_pool2d(image[:, :1], 2)
        return torch.cat([0.5 - bright, bright - 0.5], dim=1), 10 * bright[:, 0]


@pytest.fixture
def videos(tmp_path: Path) -> list[Path]:
    """Two folders of frames, dark on the left and red on the right, as bright as their number says.

    They are larger than the images that the ONNX model takes.
    """
    folders = [tmp_path / 'north', tmp_path / 'south']
    for folder in folders:
        folder.mkdir()
        for number in range(3):
            image = np.full((48, 96, 3), 20, np.uint8)
            image[:, 48:, 2] = 180 + 20 * number
            cv2.imwrite(str(folder / f'{number:06d}.png'), image)
    return folders


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / 'tasks.py'
    path.write_text(TASKS)
    return path


def write_onnx(path: Path, model: nn.Module, outputs: list[str], **options: Any) -> Path:
    """Write a model of images of 32 x 64 pixels as an ONNX graph."""
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    names = dict(input_names=['image'], output_names=outputs)
    torch.onnx.export(model, (torch.zeros(1, 3, 32, 64),), str(path), dynamo=False, **names, **options)
    return path


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    return write_onnx(tmp_path / 'model.onnx', Brightness(), ['scores', 'metres'])


def read(folder: Path, tasks: dict[str, Any]) -> dict[tuple[str, int], Any]:
    dataset = VideoFolder(str(folder), pipeline=PIPELINE, metainfo=dict(tasks=tasks))
    return {(i['data_samples'].video, i['data_samples'].time): i['data_samples'].gt for i in dataset}


def test_an_onnx_model(
    run_tool: Callable[..., str], videos: list[Path], config: Path, onnx: Path, tmp_path: Path
) -> None:
    scale = ('--mean', 10, 0, 0, '--std', 245, 255, 255)
    printed = run_tool(
        TOOL, config, *videos, '--onnx', onnx, '--outputs', 'scores=semseg', 'metres=depth:map', *scale,
        '--out', tmp_path / 'out', '--max-frames', 2,
    )  # fmt: skip

    assert f'4 frames with semseg, depth: {tmp_path / "out"}' in printed
    tasks = load_config(config).tasks.to_dict()
    found = read(tmp_path / 'out', {name: tasks[name] for name in ('semseg', 'depth')})
    assert set(found) == {(video, time) for video in ('north', 'south') for time in (0, 1)}
    for (_, time), gt in found.items():
        assert (gt.semseg[0, :, :45] == 0).all() and (gt.semseg[0, :, 51:] == 1).all()
        assert gt.depth[0, :, 60:].numpy() == pytest.approx(10 * (170 + 20 * time) / 245, abs=1e-3)
        assert len(gt.depth.unique()) == 2, 'no values between those of the map'


@pytest.mark.parametrize(('size', 'rows'), [((), 48), (('--size', 16, 32), 16)])
def test_a_model_of_any_size_sees_the_one_that_is_given(
    run_tool: Callable[..., str], videos: list[Path], config: Path, tmp_path: Path, size: tuple[object, ...], rows: int
) -> None:
    class Rows(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            ones = torch.ones_like(image[:, 0])
            return ones * ones.sum(1, keepdim=True) / 10

    onnx = write_onnx(tmp_path / 'rows.onnx', Rows(), ['metres'], dynamic_axes={'image': {2: 'height', 3: 'width'}})
    model = ('--onnx', onnx, '--outputs', 'metres=depth:map', *size)
    run_tool(TOOL, config, videos[0], *model, '--out', tmp_path / 'out')
    for gt in read(tmp_path / 'out', {'depth': load_config(config).tasks.to_dict()['depth']}).values():
        assert gt.depth.shape == (1, 48, 96) and gt.depth.unique().tolist() == pytest.approx([rows / 10], abs=1e-3)


def test_a_damaged_video_is_named(
    run_tool: Callable[..., str], videos: list[Path], config: Path, onnx: Path, tmp_path: Path
) -> None:
    (videos[0] / '000001.png').write_bytes(b'damaged')
    command = (TOOL, config, *videos, '--onnx', onnx, '--outputs', 'scores=semseg', '--out')
    assert run_tool(*command, tmp_path / 'out').endswith('warning: damaged or incomplete: north\n')


def test_what_is_labelled_before_a_signal_can_be_read(
    run_tool: Callable[..., str], videos: list[Path], config: Path, onnx: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write = MapWriter.write

    def write_and_stop(writer: MapWriter, name: str, time: int, *rest: Any) -> None:
        write(writer, name, time, *rest)
        if time == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(MapWriter, 'write', write_and_stop)
    with pytest.raises(SystemExit, match='143'):
        run_tool(TOOL, config, *videos, '--onnx', onnx, '--outputs', 'scores=semseg', '--out', tmp_path / 'out')
    found = read(tmp_path / 'out', dict(semseg=load_config(config).tasks.to_dict()['semseg']))
    assert set(found) == {('north', 0), ('north', 1)}


@pytest.mark.parametrize(
    ('outputs', 'message'),
    [
        ([], r"nothing.*\['scores', 'metres'\].*semseg"),
        (['scores=edge'], 'scores=edge'),
        (['wrong=semseg'], 'wrong=semseg'),
        (['scores=semseg', 'metres=semseg'], 'once'),
        (['scores=normals'], r"'scores'.*\(1, 2, 16, 32\).*'normals'.*\(1, 3, h, w\)"),
        (['metres=semseg'], r"'metres'.*\(1, 16, 32\).*'semseg'.*\(1, 2, h, w\)"),
        (['metres=semseg:map'], r"'metres'.*'semseg'.*\[-\d.*0\.\.1"),
        (['metres=saliency:map'], r"'metres'.*'saliency' has values from -\d.* 0\.\.1"),
    ],
)
def test_outputs_that_do_not_fit(
    run_tool: Callable[..., str], videos: list[Path], config: Path, onnx: Path, tmp_path: Path,
    outputs: list[str], message: str,
) -> None:  # fmt: skip
    with pytest.raises(SystemExit, match=message):
        run_tool(TOOL, config, *videos, '--onnx', onnx, '--out', tmp_path / 'out', '--outputs', *(outputs or ['']))


def test_a_model_of_ours(
    run_tool: Callable[..., str], tiny: tuple[str, list[str]], videos: list[Path], tmp_path: Path
) -> None:
    cfg = load_config(tiny[0], tasks=['depth', 'semseg'])
    with pytest.warns(UserWarning, match='untrained'):
        inferencer = MultiTaskInferencer(cfg, device='cpu')
    torch.save(inferencer.model.state_dict(), tmp_path / 'weights.pth')
    common = ('--weights', tmp_path / 'weights.pth', '--device', 'cpu', '--tasks', 'depth,semseg', '--npy')
    run_tool(TOOL, tiny[0], *videos, *common, '--out', tmp_path / 'out')

    found = read(tmp_path / 'out', cfg.tasks.to_dict())
    for video in videos:
        for time, (_, maps) in enumerate(inferencer.stream(video)):
            for name in ('depth', 'semseg'):
                np.testing.assert_array_equal(found[video.name, time].get(name).numpy(), maps[name])


def test_inputs_are_safe_and_onnxruntime_is_named(
    run_tool: Callable[..., str], videos: list[Path], config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (config, *videos, '--onnx', tmp_path / 'model.onnx', '--outputs', 'a=semseg')
    for out in (videos[0], tmp_path):
        with pytest.raises(SystemExit, match=str(out)):
            run_tool(TOOL, *arguments, '--out', out)
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(SystemExit, match='pip install onnxruntime'):
        run_tool(TOOL, *arguments, '--out', tmp_path / 'out')
