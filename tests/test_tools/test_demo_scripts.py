"""demo/image_demo.py and demo/video_demo.py on generated images."""

from __future__ import annotations

import itertools
import re
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from mmmtl.apis import MultiTaskInferencer
from mmmtl.io import read_image
from mmmtl.visualization import grid

SIZE = (48, 96)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """A folder of eight frames, twice as large as the model will see them."""
    folder = tmp_path / 'frames'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(8):
        cv2.imwrite(str(folder / f'{number:06d}.png'), rng.integers(0, 255, (96, 192, 3), dtype=np.uint8))
    (folder / 'notes.txt').write_text('not a frame')
    return folder


@pytest.fixture
def video_demo(root: Path) -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(root / 'demo' / 'video_demo.py')))


def test_pictures(run_tool: Callable[..., str], tiny: tuple[str, list[str]], frames: Path, tmp_path: Path) -> None:
    out = tmp_path / 'new' / 'out'
    printed = run_tool('demo/image_demo.py', frames, tiny[0], '--out-dir', out, '--size', *SIZE, '--device', 'cpu')
    assert f'8 drawings: {out}' in printed
    assert sorted(path.stem for path in out.iterdir()) == [f'{number:06d}' for number in range(8)]
    panel = cv2.imread(str(out / '000003.png'))
    # The unchanged image, beside three maps enlarged to its size.
    assert panel.shape == (96 + 20, 4 * 192, 3)
    assert np.array_equal(panel[20:, :192], cv2.imread(str(frames / '000003.png')))


def test_a_folder_without_pictures(run_tool: Callable[..., str], tiny: tuple[str, list[str]], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=re.escape(str(tmp_path))):
        run_tool('demo/image_demo.py', tmp_path, tiny[0], '--out-dir', tmp_path)


def test_video(run_tool: Callable[..., str], tiny: tuple[str, list[str]], frames: Path, tmp_path: Path) -> None:
    out = tmp_path / 'new' / 'out.mp4'
    arguments = (frames, tiny[0], '--out', out, '--size', *SIZE, '--device', 'cpu', '--fps', 5, '--max-frames', 7)
    printed = run_tool('demo/video_demo.py', *arguments, '--tasks', 'semseg,depth')
    # With K = 5 frames 0 and 5 of the seven are key frames.
    assert 'key frames: 2, ' in printed
    assert 'non-key frames: 5, ' in printed
    assert 'all frames: 7, ' in printed
    video = cv2.VideoCapture(str(out))
    assert video.get(cv2.CAP_PROP_FPS) == 5
    read = [video.read()[1] for _ in range(8)]
    assert [frame is not None for frame in read] == [True] * 7 + [False]
    assert read[0].shape == grid([3 * [('', np.zeros((*SIZE, 3), np.uint8))]]).shape


def test_frames_per_second_leave_out_the_first_frame(video_demo: SimpleNamespace) -> None:
    assert video_demo.report({'frames': [3.5, 0.5, 0.5, 0.5, 0.5]}) == 'frames: 5, 2.0 frames/s'


def test_frames_per_second_are_those_of_the_model(
    run_tool: Callable[..., str], root: Path, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time passes in steps: 1 s to read a frame, 0.5 s to predict it, 10 s to draw it; the first takes 3 s more."""
    now = 0.0

    def taking(seconds: Iterator[float], function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            nonlocal now
            now += next(seconds)
            return function(*args)

        return run

    step = itertools.chain([3.5], itertools.repeat(0.5))
    monkeypatch.setattr('time.perf_counter', lambda: now)
    monkeypatch.setattr('mmmtl.io.video.read_image', taking(itertools.repeat(1.0), read_image))
    monkeypatch.setattr(MultiTaskInferencer, 'step', taking(step, MultiTaskInferencer.step))
    monkeypatch.setattr(MultiTaskInferencer, 'panel', taking(itertools.repeat(10.0), MultiTaskInferencer.panel))
    config = root / 'tests' / 'configs' / 'tiny_image.py'
    arguments = (frames, config, '--out', tmp_path / 'out.mp4', '--size', *SIZE, '--device', 'cpu')
    printed = run_tool('demo/video_demo.py', *arguments)
    assert 'frames: 8, 2.0 frames/s' in printed


def test_average_of_key_and_other_frames(video_demo: SimpleNamespace) -> None:
    printed = video_demo.report({'key frames': [9.0, 2.0], 'non-key frames': [9.0] + 3 * [0.25]})
    # 2 frames of 2 s and 4 frames of 0.25 s.
    assert printed.splitlines()[-1] == 'all frames: 6, 1.2 frames/s'


def test_what_a_video_can_be(
    video_demo: SimpleNamespace, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert video_demo.open_video('0') == (0, None, 15.0)
    assert video_demo.open_video('rtsp://camera/1') == ('rtsp://camera/1', None, 15.0)
    assert video_demo.open_video(str(frames)) == (str(frames), 8, 15.0)
    Path('3').touch()  # a file that is named like a camera
    assert video_demo.open_video('3') == ('3', None, 15.0)
