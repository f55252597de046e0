"""attention_maps.py: figures of a clip and of a frame of a video, and what is refused."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmmtl.apis import MultiTaskInferencer

TOOL = 'tools/analysis_tools/attention_maps.py'

pytestmark = pytest.mark.filterwarnings('ignore:no checkpoint is given')


def test_a_clip(run_tool: Callable[..., str], tiny: tuple[str, list[str]], tmp_path: Path) -> None:
    config, options = tiny
    printed = run_tool(TOOL, config, '--out-dir', tmp_path, '--sample', 3, '--point', 63, 0, '--cfg-options', *options)
    assert f'{tmp_path}: ila.png, features.png' in printed and 'no attention' not in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ['features.png', 'ila.png']
    assert min(cv2.imread(str(tmp_path / 'ila.png')).shape[:2]) > 300
    with pytest.raises(SystemExit, match='--sample 9999'):
        run_tool(TOOL, config, '--out-dir', tmp_path, '--sample', 9999, '--cfg-options', *options)


def test_a_frame_and_an_image(run_tool: Callable[..., str], tiny: tuple[str, list[str]], tmp_path: Path) -> None:
    config, options = tiny
    frames = tmp_path / 'frames'
    frames.mkdir()
    for number in range(3):
        cv2.imwrite(str(frames / f'{number:03d}.png'), np.full((32, 64, 3), 60 * number, dtype=np.uint8))
    common = ('--out-dir', tmp_path / 'out', '--cfg-options', *options)
    assert 'ila.png' in run_tool(TOOL, config, '--video', frames, '--frame', 2, *common)
    # An image looks at itself; without multiple frames at nothing.
    assert 'ila.png' in run_tool(TOOL, config, '--image', frames / '000.png', *common)
    printed = run_tool(TOOL, config, '--image', frames / '000.png', *common, 'model.neck.multi_frame=False')
    assert 'features.png' in printed and 'ila.png' not in printed and 'no attention' in printed
    with pytest.raises(SystemExit, match='3 frames, so no --frame 3'):
        run_tool(TOOL, config, '--video', frames, '--frame', 3, *common)


def test_a_named_model_brings_its_weights(
    run_tool: Callable[..., str], recwarn: pytest.WarningsRecorder, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / 'room.png'), np.full((32, 48, 3), 60, dtype=np.uint8))
    run_tool(TOOL, 'mila-indoor', '--image', tmp_path / 'room.png', '--out-dir', tmp_path / 'out')
    assert not [warning for warning in recwarn if 'untrained' in str(warning.message)]


def test_a_video_is_read_up_to_the_frame(root: Path, tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f'{number}.png'), np.full((8, 8, 3), number, np.uint8))
    frames = runpy.run_path(str(root / TOOL))['read_until'](str(tmp_path), 1)
    assert [frame[0, 0, 0] for frame in frames] == [0, 1]


def test_the_frames_that_a_frame_looks_at(root: Path) -> None:
    watch = runpy.run_path(str(root / TOOL))['watch_frames']
    inferencer = MultiTaskInferencer(root / 'tests/configs/tiny_video.py', device='cpu')
    _, images, titles = watch(inferencer, [np.full((32, 64, 3), (0, 0, 10 * number), np.uint8) for number in range(4)])
    assert titles == {
        'last key frame': 'last key frame (0)',
        'last non-key frame': 'last non-key frame (2)',
        'current frame': 'current frame (3)',
    }
    assert {name: image[0, 0].tolist() for name, image in images.items()} == {
        'last key frame': [0, 0, 0],
        'last non-key frame': [20, 0, 0],
        'current frame': [30, 0, 0],
    }
