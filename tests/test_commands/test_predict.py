"""`mmmtl predict` on generated images and videos."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from mmengine.structures import PixelData

from mmmtl import commands
from mmmtl._output import counted
from mmmtl.apis import MultiTaskInferencer, VideoReader
from mmmtl.apis.inferencer import ImagePrediction
from mmmtl.apis.streaming import PanelSink, StreamFrame, StreamInfo, StreamRecord, VideoSink
from mmmtl.commands.inputs import Input, find_inputs, why_left_out
from mmmtl.commands.predict import losses, summary
from mmmtl.commands.progress import ProgressSink
from mmmtl.commands.results import recording_of, write_panel
from mmmtl.commands.streams import add_stream_arguments, stream_options
from mmmtl.config import load_config
from mmmtl.datasets import ImageFolder, VideoFolder
from mmmtl.io import read_image

ROOT = Path(__file__).parents[2]
READ = [dict(type=f'mmmtl.{name}') for name in ('LoadFrames', 'LoadMaps', 'PackMultiTaskInputs')]
CONFIG = ROOT / 'configs' / 'mila' / 'mila_tiny-k5_1xb8-demo_synthetic-64x128.py'


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three good images, a broken one, and a text."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ('a.png', 'b.jpg', 'c.png'):
        cv2.imwrite(str(folder / name), rng.integers(0, 255, (32, 64, 3), np.uint8))
    (folder / 'broken.jpg').write_bytes((folder / 'b.jpg').read_bytes()[:40])
    (folder / 'notes.txt').write_text('not an image')
    return folder


@pytest.fixture
def predict(weights: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command and return what it prints; `fails` if it must exit with 1."""

    def run(*arguments: object, fails: bool = False) -> str:
        options = ['--model', CONFIG.stem, '--weights', weights, '--device', 'cpu']
        command = ['predict', *map(str, arguments), *map(str, options)]
        if fails:
            with pytest.raises(SystemExit) as exit_:
                commands.main(command)
            assert exit_.value.code == 1
        else:
            commands.main(command)
        return capsys.readouterr().out

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_and_a_video(predict: Callable[..., str], photos: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    last = predict(photos, video, '--out', out).splitlines()[-1]
    assert re.match(rf'10 frames in \d+\.\d s: {out}; left out 2: ', last)
    assert re.search(r'notes\.txt \(not an image', last) and re.search(r'broken\.jpg \(.*cut|broken\.jpg \(', last)
    assert names(out) == ['a.png', 'b.png', 'c.png', 'film.mp4']
    with VideoReader(out / 'film.mp4') as reader:
        assert [round(frame.time, 3) for frame in reader] == [round(0.1 * number, 3) for number in range(7)]


def test_results_are_not_overwritten(predict: Callable[..., str], photos: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    out.mkdir()
    for kind, name in (('panels', 'b.png'), ('video', 'film.mp4'), ('rerun', 'videos.rrd')):
        (out / name).write_text('mine')
        with pytest.raises(SystemExit, match=rf'{name}: is there already'):
            predict(photos, video, '--out', out, '--save', f'npy,{kind}')
        assert [path.read_text() for path in out.iterdir()] == ['mine']
        (out / name).unlink()


def test_secrets_of_addresses_are_not_printed(
    predict: Callable[..., str], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    addresses = ['rtsp://user:pa55@127.0.0.1:1/live?channel=1&token=pa55', 'http://user:pa55@127.0.0.1:1/x.jpg']
    with pytest.raises(SystemExit):
        predict(*addresses, photos / 'a.png', '--out', tmp_path / 'out', '--resume', tmp_path / 's.safetensors')
    out, err = capsys.readouterr()
    assert 'rtsp://127.0.0.1:1/live?channel=1&token=xxx' in out and 'http://127.0.0.1:1/x.jpg' in out
    assert 'pa55' not in out + err and not [path for path in tmp_path.rglob('*') if 'pa55' in path.name]


def test_panels_of_every_frame_are_those_of_the_video(predict: Callable[..., str], video: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    predict(video, '--out', out, '--save', 'panels,video', '--max-frames', 3)
    assert names(out) == ['film', 'film.mp4']
    assert names(out / 'film') == ['000000.png', '000001.png', '000002.png']
    with pytest.raises(SystemExit, match='film: is there already'):
        predict(video, '--out', out, '--save', 'panels')


def assert_read_back(found: PixelData, maps: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(found.get('semseg').numpy(), maps['semseg'])
    # Half a millimetre, and a hair for float32.
    np.testing.assert_allclose(found.get('depth').numpy(), maps['depth'], rtol=0, atol=0.501e-3)
    np.testing.assert_allclose(found.get('normals').numpy(), maps['normals'], rtol=0, atol=1 / 255)


def test_raw_maps_are_those_of_the_model(
    predict: Callable[..., str], weights: Path, photos: Path, video: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    predict(photos, video, '--out', out, '--save', 'raw,npy')
    tasks = dict(tasks=load_config(CONFIG).tasks)
    videos, images = (
        [sample['data_samples'].gt for sample in kind(str(out / 'raw' / folder), pipeline=READ, metainfo=tasks)]
        for kind, folder in ((VideoFolder, 'videos'), (ImageFolder, 'images'))
    )
    assert names(out) == ['npy', 'raw'], 'no drawing, no video'
    assert names(out / 'npy') == names(out / 'raw') == ['images', 'videos']
    inferencer = MultiTaskInferencer(CONFIG.stem, weights, device='cpu')
    for number, (_, maps) in enumerate(inferencer.stream(video)):
        stored = np.load(out / f'npy/videos/depth/film/{number:06d}.npy')
        np.testing.assert_array_equal(stored, maps['depth'][0])
        assert_read_back(videos[number], maps)
    assert names(out / 'npy/images/depth') == ['a.npy', 'b.npy', 'c.npy']
    maps = inferencer(photos / 'c.png')
    np.testing.assert_array_equal(np.load(out / 'npy/images/depth/c.npy'), maps['depth'][0])
    assert_read_back(images[2], maps)
    with pytest.raises(SystemExit, match='raw'):
        predict(photos, '--out', out, '--save', 'raw')


def test_the_images_of_a_folder_can_be_frames(predict: Callable[..., str], photos: Path, tmp_path: Path) -> None:
    printed = predict(photos, '--out', tmp_path / 'out', '--save', 'video', '--fps', 5)
    last = printed.splitlines()[-1]
    assert last.startswith('3 frames in') and f'; left out 1: parts of {photos} (1 of 4 frames; ' in last
    assert 'damaged spots left out: 1 (' in last and 'broken.jpg' in last
    with VideoReader(tmp_path / 'out' / 'photos.mp4') as reader:
        assert reader.fps == 5 and len(list(reader)) == 3


def test_several_videos_at_once_go_on_after_a_signal(
    predict: Callable[..., str], video: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, states = tmp_path / 'second.mp4', tmp_path / 'states.safetensors'
    shutil.copy(video, second)
    predict(photos, video, second, '--out', tmp_path / 'whole', '--save', 'panels,npy', '--at-once', 2)

    command = (photos, video, second, '--out', tmp_path / 'out', '--save', 'panels,npy', '--resume', states)
    write = PanelSink.write

    def killed(sink: PanelSink, frame: StreamFrame) -> None:
        write(sink, frame)
        # With four frames that wait, and one in the model, the seventh is not predicted yet.
        if (frame.stream.name, frame.number) == ('film', 0):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.5)

    with monkeypatch.context() as patch:
        patch.setattr(PanelSink, 'write', killed)
        assert re.search(
            r'left out 4: .*the rest of .*film\.mp4.*second\.mp4 \(stopped; the same', predict(*command, fails=True)
        )
    assert states.exists() and not (tmp_path / 'out' / 'second').exists()
    # What is done is kept; an image without results is predicted.
    (tmp_path / 'out' / 'npy' / 'images' / 'images' / 'b.png').unlink()
    done = tmp_path / 'out' / 'a.png'
    written = done.stat().st_mtime_ns
    printed = predict(*command)
    assert 'kept the results of 2 images' in printed
    assert done.stat().st_mtime_ns == written and 'broken.jpg' in printed.splitlines()[-1]
    assert not states.exists()
    files = sorted(path.relative_to(tmp_path / 'whole') for path in (tmp_path / 'whole').rglob('*') if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / 'out') for path in (tmp_path / 'out').rglob('*') if path.is_file()
    )
    for file in files:
        if file.suffix == '.npy':
            whole, out = np.load(tmp_path / 'whole' / file), np.load(tmp_path / 'out' / file)
            # Another size of the batch rounds in another way.
            np.testing.assert_allclose(whole, out, atol=1e-3)
        elif file.suffix == '.json':
            assert (tmp_path / 'whole' / file).read_text() == (tmp_path / 'out' / file).read_text()


def test_a_signal_stops_images(
    predict: Callable[..., str], photos: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def killed(*arguments: Any) -> None:
        write_panel(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr('mmmtl.commands.predict.write_panel', killed)
    printed = predict(photos, video, '--out', tmp_path / 'out', fails=True)
    last = printed.splitlines()[-1]
    assert last.startswith('1 frame in') and 'left out 3: ' in last
    assert last.endswith(f'the last 3 of 4 images (stopped), {video} (stopped)')
    assert names(tmp_path / 'out') == ['a.png']
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_that_goes_on_keeps_its_recordings(tmp_path: Path) -> None:
    expected = ['videos.rrd', 'videos-2.rrd', 'videos-3.rrd']
    for name in expected:
        assert recording_of(tmp_path, append=True).name == name
        assert recording_of(tmp_path, append=False).name == expected[0]
        (tmp_path / name).touch()


def test_nothing_is_left_to_do(predict: Callable[..., str], video: Path, tmp_path: Path) -> None:
    command = (video, '--out', tmp_path / 'out', '--resume', tmp_path / 's.safetensors', '--max-frames')
    write = VideoSink.write

    def stopped(sink: VideoSink, frame: StreamFrame) -> None:
        write(sink, frame)
        if frame.number == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.5)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoSink, 'write', stopped)
        printed = predict(*command, 7, fails=True)
    assert 'stopped' in printed
    with VideoReader(tmp_path / 'out' / 'film.mp4') as reader:
        predicted = counted(len(list(reader)), 'frame')  # one, if the signal came before the second was begun
    # The source is read ahead.
    read = re.search(rf'film\.mp4: predicted {predicted}; read (\d+) frames', printed)
    assert int(predicted.split()[0]) <= int(read[1])
    assert f'\n{predicted} in' in printed
    assert '0 frames in' in predict(*command, 1)
    assert not (tmp_path / 's.safetensors').exists()


def test_the_folder_where_one_is(
    predict: Callable[..., str], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    predict('.', '--out', tmp_path / 'out', '--save', 'video')
    assert names(tmp_path / 'out') == ['photos.mp4']


def test_what_is_refused(predict: Callable[..., str], photos: Path, video: Path, tmp_path: Path) -> None:
    before = names(photos)
    for wrong, message in (
        ([photos, '--out', photos], 'photos: an output'),
        ([photos / 'a.png', '--out', photos], 'photos: an output'),
        ([video, '--out', tmp_path, '--save', 'video'], r'film\.mp4: an output'),
        (
            [photos / 'a.png', '--out', tmp_path / 'out', '--save', 'video'],
            r'a\.png: --save video writes nothing for an image',
        ),
        ([photos, '--out', tmp_path / 'out', '--max-frames', 2], '--max-frames is for videos, but .* is an image'),
        ([photos / 'a.png', '--out', tmp_path / 'out', '--serve', 0], '--serve is for videos'),
        ([photos, '--out', tmp_path / 'out', '--at-once', 2], '--at-once is for videos'),
        (
            [video, '--out', tmp_path / 'out', '--host', '0.0.0.0'],
            r'--host 0\.0\.0\.0: only --serve opens a page; add --serve PORT, or leave out --host',
        ),
        ([photos, '--out', video], r'film\.mp4: is a file'),
        ([tmp_path / 'n*.png', '--out', tmp_path / 'out'], 'no image'),
        ([photos, '--out', tmp_path / 'out', '--fit', 'letterbox', '--size', 32, 64], '--size and --fit letterbox'),
        ([video, 'none.mp4', 'none.jpg', '--out', tmp_path / 'out'], r'^none\.mp4, none\.jpg: no such file'),
    ):
        with pytest.raises(SystemExit, match=message):
            predict(*wrong)
    assert names(photos) == before and not (tmp_path / 'out').exists()
    for wrong in (['--save', 'movie'], ['--fps', 0], ['--fps', -5], ['--fps', 'nan'], ['--fps', 'inf']):
        with pytest.raises(SystemExit) as exit_:
            predict(video, '--out', tmp_path / 'out', *wrong)
        assert exit_.value.code == 2


def test_what_cannot_be_run_is_refused_before_anything_is_written(
    predict: Callable[..., str], photos: Path, video: Path, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        with pytest.raises(SystemExit, match='cannot serve a page there'):
            predict(photos / 'a.png', video, '--out', tmp_path / 'out', '--serve', taken.getsockname()[1])
    assert not [*(tmp_path / 'out').rglob('*')]


@pytest.mark.skipif(sys.platform != 'linux', reason='other systems refuse such names')
def test_names_that_are_not_utf8(predict: Callable[..., str], video: Path, tmp_path: Path) -> None:
    film = Path(os.fsdecode(os.fsencode(tmp_path) + b'/r\xe9sum\xe9.mp4'))
    shutil.copy(video, film)
    assert 'r\ufffdsum\ufffd.mp4: predicted' in predict(film, '--out', tmp_path / 'out')
    assert names(tmp_path / 'out') == ['r\ufffdsum\ufffd.mp4']


def test_a_narrow_image_is_drawn(predict: Callable[..., str], tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'narrow.png'), np.zeros((600, 10, 3), np.uint8))
    predict(tmp_path / 'narrow.png', '--out', tmp_path / 'out')
    assert names(tmp_path / 'out') == ['narrow.png']


def test_untrained_models_keep_no_states(video: Path, tmp_path: Path) -> None:
    states, out = tmp_path / 'states.safetensors', tmp_path / 'out'
    with pytest.raises(SystemExit, match=r'--resume .*states\.safetensors'):
        commands.main(['predict', str(video), '--model', CONFIG.stem, '--out', str(out), '--resume', str(states)])
    assert not out.exists()


def test_nothing_predicted_is_an_error(
    predict: Callable[..., str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for broken in ('x.jpg', 'x.mp4'):
        (tmp_path / broken).write_bytes(b'x')
        with pytest.raises(SystemExit) as exit_:
            predict(tmp_path / broken, '--out', tmp_path / 'out')
        assert exit_.value.code == 1
        assert re.search(rf'0 frames in .*left out 1: .*{broken}', capsys.readouterr().out)


def test_inputs(photos: Path, video: Path) -> None:
    found, others = find_inputs(
        [str(photos), str(video), '0', 'rtsp://host/live', 'https://host/x.jpg?size=2', 'f_%04d.png'],
        folders_are_videos=False,
    )
    assert [one.source for one in found if not one.is_video] == [
        *(str(photos / name) for name in ('a.png', 'b.jpg', 'broken.jpg', 'c.png')),
        'https://host/x.jpg?size=2',
    ]
    assert [path.name for path in others] == ['notes.txt']
    assert len({one.name for one in found}) == len(found) == 9
    streams = ['rtsp://user:secret@host/live?file=a.jpg', 'rtsp://host/a.jpg', 'rtsp:/host/a.jpg', 'file:///x.jpg']
    assert all(one.is_video for one in find_inputs(streams, folders_are_videos=False)[0])
    assert not find_inputs(['HTTPS://host/x.jpg?size=2'], folders_are_videos=False)[0][0].is_video
    assert find_inputs([str(photos)], folders_are_videos=True) == ([Input(str(photos), 'photos', True)], [])


@pytest.mark.parametrize(
    ('name', 'why'),
    [('a.MP4', 'a video'), ('a.HEIC', 'has no reader'), ('a.txt', 'not an image'), ('a', 'not an image')],
)
def test_why_a_file_is_left_out(name: str, why: str) -> None:
    assert why_left_out(Path(name)).startswith(why)


def test_what_is_lost_of_a_video() -> None:
    video, lost = Input('drive.mp4', 'drive', True), StreamRecord(stopped=True, missing='1 of 4 frames', dropped=3)
    assert losses(video, StreamRecord(), None) == []
    assert losses(video, lost, None) == [
        'the rest of drive.mp4 (stopped)',
        'parts of drive.mp4 (1 of 4 frames)',
        '3 frames of drive.mp4 (newer ones had come)',
    ]
    assert losses(video, lost, Path('s.safetensors'))[0].endswith('(stopped; the same command goes on there)')
    assert losses(video, StreamRecord(failure=ValueError('gone'), dropped=3), None) == ['gone']


def test_the_last_line_names_ten_of_those_that_are_left_out() -> None:
    line = summary(1, 2.0, Path('out'), [f'<{number}>' for number in range(12)])
    assert line == f'1 frame in 2.0 s: out; left out 12: {", ".join(f"<{number}>" for number in range(10))}, and 2 more'


def test_options_of_streams() -> None:
    parser = argparse.ArgumentParser()
    add_stream_arguments(parser)
    assert stream_options(parser.parse_args([])) == dict(
        latest=None, on_resize='error', reconnect=5, max_frames=None, resume=None
    )
    given = ['--every-frame', '--on-resize=new_state', '--reconnect=0', '--max-frames=7', '--resume=s.safetensors']
    assert stream_options(parser.parse_args(given)) == dict(
        latest=False, on_resize='new_state', reconnect=0, max_frames=7, resume=Path('s.safetensors')
    )


@pytest.mark.parametrize(('name', 'title'), [('a/b.png', 'b.png'), ('https://host/b.png', 'https://host/b.png')])
def test_the_drawing_of_an_image(name: str, title: str, tmp_path: Path) -> None:
    titles: list[str] = []

    def panel(image: np.ndarray, maps: dict[str, np.ndarray], *, title: str) -> np.ndarray:
        titles.append(title)
        return np.full((4, 6, 3), (250, 20, 10), np.uint8)  # red

    result = ImagePrediction(name, np.zeros((4, 6, 3), np.uint8), {}, None)
    write_panel(tmp_path / 'b.png', SimpleNamespace(panel=panel), result)  # type: ignore[arg-type]
    assert titles == [title] and read_image(tmp_path / 'b.png')[0, 0].tolist() == [10, 20, 250], 'BGR'


@pytest.mark.parametrize(
    ('declared', 'limit', 'total'), [(7, None, 7), (7, 3, 3), (2, 3, 2), (None, 3, 3), (None, None, None)]
)
def test_the_bar_of_a_video(
    declared: int | None, limit: int | None, total: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[Any] = []
    monkeypatch.setattr(
        'mmmtl.commands.progress.Progress',
        lambda: SimpleNamespace(
            add_task=lambda text, total: bars.append((text, total)),
            update=lambda bar, completed: bars.append(completed),
        ),
    )
    sink, stream = ProgressSink(limit), StreamInfo('a', None, declared, False, 5)
    for number in (5, 6):  # of a run that goes on
        sink.write(SimpleNamespace(stream=stream, number=number))  # type: ignore[arg-type]
    assert bars == [('a', total), 6, 7]
