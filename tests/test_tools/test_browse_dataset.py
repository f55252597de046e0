"""browse_dataset.py: the samples of a training run, drawn."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from PIL import ImageDraw

from mmmtl.config import resolve
from mmmtl.structures import MultiTaskDataSample
from mmmtl.tasks import build_tasks
from mmmtl.tasks.colour import hatch
from mmmtl.visualization import panels
from mmmtl.visualization.panels import GAP

TOOL = 'tools/analysis_tools/browse_dataset.py'
LINE = 18
"""Height of a caption."""


@pytest.fixture
def tool(root: Path) -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(root / TOOL)))


def test_samples_are_those_of_a_training_run(tool: SimpleNamespace, tiny: tuple[str, list[str]]) -> None:
    cfg = Config.fromfile(tiny[0])
    cfg.merge_from_dict({key: DictAction._parse_iterable(value) for key, value in (o.split('=') for o in tiny[1])})
    cfg = resolve(cfg)
    init_default_scope('mmmtl')
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=7)
    batch = next(iter(loader))
    dataset, order = tool.draw_samples(cfg.train_dataloader, 7)
    for row, image in enumerate(batch['inputs']):
        item = dataset[next(order)]
        assert torch.equal(item['inputs'], image)
        assert item['data_samples'].offset == batch['data_samples'][row].offset
        assert torch.equal(item['data_samples'].gt.depth, batch['data_samples'][row].gt.depth)


def test_pictures_of_clips(run_tool: Callable[..., str], tiny: tuple[str, list[str]], tmp_path: Path) -> None:
    folder = tmp_path / 'new' / 'panels'
    printed = run_tool(TOOL, tiny[0], '--number', 3, '--output-dir', folder, '--cfg-options', *tiny[1])
    assert f'3 panels: {folder}' in printed
    names = sorted(path.name for path in folder.iterdir())
    assert [name[:11] for name in names] == ['train_0000_', 'train_0001_', 'train_0002_']
    for name in names:
        # Three frames, and three tasks, beside each other; or rows of two, and the rest. All are enlarged by four.
        assert cv2.imread(str(folder / name)).shape[1] in [n * 4 * 64 + (n - 1) * GAP for n in (2, 3)]


@pytest.mark.parametrize(('clip', 'number'), [('clip=None', 4), ('clip.single=True', 3)])
def test_pictures_of_single_images(
    run_tool: Callable[..., str], tiny: tuple[str, list[str]], tmp_path: Path, clip: str, number: int
) -> None:
    # Frames 0, 5, 10 and 15, and of clips all but the first.
    options = [*tiny[1], f'val_dataloader.dataset.{clip}', 'model.key_frame_policy=None']
    arguments = ('--split', 'val', '--number', 1000, '--tasks', 'depth', '--output-dir', tmp_path)
    assert f'{number} panels' in run_tool(TOOL, tiny[0], *arguments, '--cfg-options', *options)
    # The test pipeline resizes to 64 x 128, and the panel enlarges by two. Keys may differ by a line.
    shapes = {cv2.imread(str(path)).shape for path in tmp_path.iterdir()}
    assert {width for _, width, _ in shapes} <= {256, 2 * 256 + GAP}


def test_empty_slots_are_grey_and_frames_have_their_colours(tool: SimpleNamespace) -> None:
    tasks = build_tasks({'depth': {'type': 'DepthEstimation', 'max_depth': 10.0}}, 'the test')
    frames = np.zeros((3, 3, 150, 240), dtype=np.uint8)
    frames[:, 0] = np.array([50, 100, 150])[:, None, None]  # blue comes first
    sample = MultiTaskDataSample(metainfo=dict(offset=0, slots=(None, -1, 0)), gt=PixelData())
    panel = tool.sample_panel(frames, sample, tasks)
    assert panel.shape[1] == 3 * 240 + 2 * GAP
    tiles = panel[2 * LINE : 2 * LINE + 150]
    for column, colour in enumerate((128, (0, 0, 100), (0, 0, 150))):
        assert (tiles[:, column * (240 + GAP) :][:, :240] == colour).all()
    # The second row is the unlabelled task, hatched, and white beside it.
    labels = panel[3 * LINE + 150 :][:150]
    assert (labels[:, :240] == hatch(frames[2].transpose(1, 2, 0)[..., ::-1])).all()
    assert (labels[:, 240:] == 255).all()


def test_captions_name_the_times_of_the_clips(
    run_tool: Callable[..., str], tiny: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = []
    original = panels.write

    def remember(canvas: ImageDraw.ImageDraw, place: tuple[int, int], text: str, *arguments: Any) -> None:
        captions.append(text)
        original(canvas, place, text, *arguments)

    monkeypatch.setattr(panels, 'write', remember)
    # The data set has an interval of its own where the config declares none for all.
    dataset = 'test_dataloader.dataset'
    options = ['key_frame_interval=None', 'model.key_frame_policy.interval=3', f'{dataset}.clip.interval=3']
    arguments = ('--split', 'test', '--number', 3, '--tasks', 'depth', '--output-dir', tmp_path)
    run_tool(TOOL, tiny[0], *arguments, '--cfg-options', *tiny[1], *options)
    slots = [text for text in captions if 'last' in text or text == 'current']
    assert slots == [
        *('last key: none', 'last non-key t-1', 'current'),
        *('last key t-1', 'last non-key t-2', 'current'),
        *('last key t-2', 'last non-key t-1', 'current'),
    ]
    titles = [text for text in captions if 'frame' in text]
    assert [title.split(', ', 2)[2] for title in titles] == ['key frame', 'key frame + 1', 'key frame + 2']


def test_panels_of_another_call_are_not_joined(
    run_tool: Callable[..., str], tiny: tuple[str, list[str]], tmp_path: Path
) -> None:
    (tmp_path / 'train_0000_x.png').touch()
    with pytest.raises((SystemExit, ValueError), match='choose a new one'):
        run_tool(TOOL, tiny[0], '--output-dir', tmp_path, '--cfg-options', *tiny[1])


def test_the_seed_and_the_colours_of_panels(
    run_tool: Callable[..., str], tiny: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mmmtl.visualization.grid', lambda *_, **__: np.full((4, 4, 3), (250, 20, 10), np.uint8))
    names = []
    for seed in (1, 2):
        folder, options = tmp_path / str(seed), [*tiny[1], f'randomness.seed={seed}']
        run_tool(TOOL, tiny[0], '--number', 3, '--output-dir', folder, '--cfg-options', *options)
        names.append(sorted(path.name for path in folder.iterdir()))
    assert names[0] != names[1], 'other samples, as in training runs of these seeds'
    assert cv2.imread(str(folder / names[1][0]))[0, 0].tolist() == [10, 20, 250], 'the drawing is RGB, OpenCV BGR'


def test_bad_number(
    run_tool: Callable[..., str], tiny: tuple[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_tool(TOOL, tiny[0], '--number', 0)
    assert re.search('--number.*0', capsys.readouterr().err)


def test_config_without_the_split(run_tool: Callable[..., str], tiny: tuple[str, list[str]]) -> None:
    with pytest.raises(SystemExit, match='test_dataloader'):
        run_tool(TOOL, tiny[0], '--split', 'test', '--cfg-options', 'test_dataloader=None')


def test_no_window_without_a_display(run_tool: Callable[..., str], tiny: tuple[str, list[str]]) -> None:
    with pytest.raises(SystemExit, match='--output-dir'):
        run_tool(TOOL, tiny[0], '--show', '--number', 1)
