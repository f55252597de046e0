"""attention_maps.py: figures of a clip and of a frame of a video, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

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
