"""demo/image_demo.py and demo/video_demo.py on generated images."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mmmtl.apis import MultiTaskInferencer
from mmmtl.apis.streaming import StageTimes, speed_report
from mmmtl.io import VideoReader, VideoWriter, read_frames, read_image
from mmmtl.visualization.panels import GAP
from mmmtl.visualization.text import PALE, RED

SIZE = (48, 96)
LINE = 18
"""Height of a caption."""


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


def test_pictures(run_tool: Callable[..., str], tiny: tuple[str, list[str]], frames: Path, tmp_path: Path) -> None:
    out = tmp_path / 'new' / 'out'
    with pytest.warns(UserWarning, match='untrained'):
        printed = run_tool('demo/image_demo.py', frames, tiny[0], '--out-dir', out, '--size', *SIZE, '--device', 'cpu')
    assert f'8 drawings: {out}' in printed
    assert 'notes.txt' in printed, 'what is left out is named'
    assert sorted(path.stem for path in out.iterdir()) == [f'{number:06d}' for number in range(8)]
    panel = cv2.imread(str(out / '000003.png'))
    # The image and three maps in two columns, three times as large. A red bar and the name of the image above.
    assert panel.shape[1] == 2 * 3 * 96 + GAP
    assert (panel[0] == RED[::-1]).all() and (panel[LINE] == PALE[::-1]).all()


def test_pictures_at_their_own_size(
    run_tool: Callable[..., str], tiny: tuple[str, list[str]], frames: Path, tmp_path: Path
) -> None:
    for fit in ('input', 'letterbox'):
        run_tool('demo/image_demo.py', frames / '000003.png', tiny[0], '--out-dir', tmp_path / fit, '--fit', fit)
        panel = cv2.imread(str(tmp_path / fit / '000003.png'))
        assert panel.shape[1] == 2 * 2 * 192 + GAP
        image = panel[3 * LINE :][: 2 * 96 : 2, : 2 * 192 : 2]
        assert np.array_equal(image, cv2.imread(str(frames / '000003.png')))


def md5s(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_pictures_are_not_overwritten(
    run_tool: Callable[..., str], tiny: tuple[str, list[str]], tmp_path: Path
) -> None:
    photos, out = tmp_path / 'photos', tmp_path / 'out'
    photos.mkdir()
    for name in ('a.png', 'b.png', 'b.jpg', 'C.JPG', 'c.bmp'):
        cv2.imwrite(str(photos / name), np.full((16, 32, 3), 90, np.uint8))
    (photos / 'cut.jpg').write_bytes((photos / 'b.jpg').read_bytes()[:40])
    (tmp_path / 'linked').symlink_to(photos)
    before = md5s(photos)

    for wrong in (photos, tmp_path / 'linked', photos / '..' / 'photos'):
        for given in (photos, photos / 'b.jpg', f'{photos}/*.jpg'):
            with pytest.raises(SystemExit, match='photos'):
                run_tool('demo/image_demo.py', given, tiny[0], '--out-dir', wrong)
    printed = run_tool('demo/image_demo.py', photos, tiny[0], '--out-dir', out, '--device', 'cpu')

    assert md5s(photos) == before
    assert sorted(path.name for path in out.iterdir()) == ['C.JPG.png', 'a.png', 'b.jpg.png', 'b.png.png', 'c.bmp.png']
    assert '5 drawings' in printed
    assert re.search(r'could not be read: 1\n.*cut\.jpg', printed)


def test_only_bad_pictures_are_an_error(
    run_tool: Callable[..., str], tiny: tuple[str, list[str]], tmp_path: Path
) -> None:
    (tmp_path / 'bad.jpg').write_bytes(b'no image')
    with pytest.raises(SystemExit) as exit_:
        run_tool('demo/image_demo.py', tmp_path / 'bad.jpg', tiny[0], '--out-dir', tmp_path / 'out')
    assert exit_.value.code == 1


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
    assert re.search(rf'video: {out}; predicted 7 frames; read 7 frames, 0\.5 s', printed)
    video = cv2.VideoCapture(str(out))
    assert video.get(cv2.CAP_PROP_FPS) == 5
    read = [video.read()[1] for _ in range(8)]
    assert [frame is not None for frame in read] == [True] * 7 + [False]
    assert read[0].shape[1] in [n * 3 * SIZE[1] + (n - 1) * GAP for n in (2, 3)]
    # The title of a key frame has a dark ground.
    dark = [frame[LINE + 2, -20].mean() < 128 for frame in read[:7]]
    assert dark == [True, False, False, False, False, True, False]


def test_a_video_keeps_its_times_and_is_not_overwritten(
    run_tool: Callable[..., str], tiny: tuple[str, list[str]], tmp_path: Path
) -> None:
    pytest.importorskip('av')
    times = [0.0, 0.1, 1.0, 1.1]
    source, out = tmp_path / 'mine.mp4', tmp_path / 'out.mp4'
    with VideoWriter(source, 10) as writer:
        for time in times:
            writer.write(np.full((32, 64, 3), 90, np.uint8), time)
    before = source.read_bytes()
    (tmp_path / 'link.mp4').symlink_to(source)

    for wrong in (source, tmp_path / 'link.mp4'):
        with pytest.raises(SystemExit, match=r'mine\.mp4'):
            run_tool('demo/video_demo.py', source, tiny[0], '--out', wrong)
    # A folder would get a video with its own name.
    for wrong in (tmp_path, tmp_path / 'new'):
        with pytest.raises(SystemExit, match=rf'--out {wrong}: give a file'):
            run_tool('demo/video_demo.py', source, tiny[0], '--out', wrong)
    run_tool('demo/video_demo.py', source, tiny[0], '--out', out, '--device', 'cpu')

    assert source.read_bytes() == before
    with VideoReader(out) as reader:
        assert [round(frame.time, 3) for frame in reader] == times


def test_a_damaged_video_is_named(
    run_tool: Callable[..., str], tiny: tuple[str, list[str]], frames: Path, tmp_path: Path
) -> None:
    (frames / '000003.png').write_bytes(b'no image')
    printed = run_tool('demo/video_demo.py', frames, tiny[0], '--out', tmp_path / 'out.mp4', '--device', 'cpu')
    assert re.search(r'7 of 8 declared frames.*000003\.png', printed)
    assert 'warning' in printed


def test_a_video_that_changes_its_size_ends_there(
    run_tool: Callable[..., str], tiny: tuple[str, list[str]], frames: Path, tmp_path: Path
) -> None:
    cv2.imwrite(str(frames / '000003.png'), np.zeros((40, 80, 3), np.uint8))
    with pytest.raises(SystemExit, match=r'\(40, 80\).*\(96, 192\)'):
        run_tool('demo/video_demo.py', frames, tiny[0], '--out', tmp_path / 'out.mp4', '--device', 'cpu')
    assert len(list(read_frames(tmp_path / 'out.mp4'))) == 3, 'what came before is written'


@pytest.mark.parametrize(('name', 'message'), [('none.mp4', 'no such video'), ('notes.txt', 'not a video')])
def test_what_is_no_video(
    name: str, message: str, run_tool: Callable[..., str], tiny: tuple[str, list[str]], frames: Path, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=f'{name}.*{message}'):
        run_tool('demo/video_demo.py', frames / name, tiny[0], '--out', tmp_path / 'out.mp4')
    with pytest.raises(SystemExit, match='must end in one of'):
        run_tool('demo/video_demo.py', frames, tiny[0], '--out', tmp_path / 'out.avi')


def stage(*seconds: float) -> StageTimes:
    times = StageTimes()
    for one in seconds:
        times.add(one)
    return times


def test_frames_per_second_leave_out_the_first_frame() -> None:
    assert speed_report({'image': stage(3.5, 0.5, 0.5, 0.5, 0.5)}) == 'frames: 5, 2.0 frames/s'


def test_frames_per_second_are_those_of_the_model(
    run_tool: Callable[..., str], root: Path, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read and to draw frames does not count, nor does the first step, which is slow."""

    def slowly(seconds: float, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **keywords: Any) -> Any:
            time.sleep(seconds)
            return function(*args, **keywords)

        return run

    original = MultiTaskInferencer.step_fitted
    steps: list[float] = []

    def step(*args: Any, **keywords: Any) -> Any:
        start = time.perf_counter()
        time.sleep(0.02 if steps else 0.22)
        found = original(*args, **keywords)
        steps.append(time.perf_counter() - start)
        return found

    monkeypatch.setattr('mmmtl.io.video.images.read_image', slowly(0.05, read_image))
    monkeypatch.setattr(MultiTaskInferencer, 'step_fitted', step)
    monkeypatch.setattr(MultiTaskInferencer, 'panel', slowly(0.1, MultiTaskInferencer.panel))
    config = root / 'tests' / 'configs' / 'tiny_image.py'
    arguments = (frames, config, '--out', tmp_path / 'out.mp4', '--size', *SIZE, '--device', 'cpu')
    printed = run_tool('demo/video_demo.py', *arguments)
    match = re.search(r'frames: 8, (\d+\.\d) frames/s', printed)
    assert match and len(steps) == 8
    assert float(match[1]) == pytest.approx(1 / statistics.mean(steps[1:]), rel=0.2)


def test_average_of_key_and_other_frames() -> None:
    printed = speed_report({'key': stage(9.0, 2.0), 'non_key': stage(9.0, 0.25, 0.25, 0.25)})
    # 2 frames of 2 s and 4 frames of 0.25 s.
    assert printed.splitlines()[-1] == 'all frames: 6, 1.2 frames/s'
