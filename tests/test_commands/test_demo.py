"""`mmmtl demo`: what its page shows of a video, a picture and a camera."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import cv2
import numpy as np
import pytest
import torch

from mmmtl import commands
from mmmtl.apis import StreamRunner, VideoReader, list_models
from mmmtl.apis.streaming.sinks import CallbackSink
from mmmtl.commands import demo
from mmmtl.commands.browser.models import Models
from mmmtl.commands.browser.predicting import predict_camera, predict_picture, predict_video
from mmmtl.commands.browser.time_line import SHOWN, TimeLine
from mmmtl.commands.browser.watching import watch
from mmmtl.config import load_config, resolve
from mmmtl.profiling import build_on_meta, count_cost
from mmmtl.registry import MODELS
from mmmtl.visualization.text import BLUE

CONFIG = 'mila_tiny-k5_1xb8-demo_synthetic-64x128'
TASKS = ['semseg', 'depth', 'normals']


@pytest.fixture(scope='module')
def models(weights: Path) -> Models:
    return Models({CONFIG: weights}, device='cpu')


def test_bars_and_averages_of_the_time_line() -> None:
    line = TimeLine({'key': 2.0, 'non_key': 0.5})
    assert line.html() == ''
    for kind, seconds in (('key', 0.5), ('non_key', 0.3), ('non_key', 0.02), ('key', 0.04)):
        line.add(kind, seconds)
    html = line.html()
    heights = [float(height) for height in re.findall(r'<rect [^>]*height="([\d.]+)"', html)]
    assert heights == pytest.approx([68, 40.8, 2.7, 5.4], abs=0.05)
    assert 'frame 3: key frame, 40 ms' in html
    # The first frame of each kind is left out of the averages, not of the cost: (2 + 0.5 + 0.5 + 2) / 4.
    assert '2 key frames, 40 ms each' in html and '2 non-key frames, 20 ms each' in html
    assert '1.25 GMAC a frame, 62% of key frames alone' in html


def test_a_cost_that_is_not_known_of_every_frame_is_not_shown() -> None:
    for gmac in ({}, {'key': 2.0}):
        line = TimeLine(gmac)
        line.add('key', 0.5)
        line.add('non_key', 0.3)
        assert 'GMAC' not in line.html()


def test_the_time_line_does_not_grow() -> None:
    line = TimeLine({'image': 2.0})
    for _ in range(SHOWN + 50):
        line.add('image', 0.1)
    html = line.html()
    assert html.count('<rect') == SHOWN
    assert f'{SHOWN + 50} frames, 100 ms each' in html and '>frame 50<' in html and '2 GMAC a frame' in html


def test_a_video_is_drawn_while_it_runs_and_then_offered(models: Models, video: Path) -> None:
    found = predict_video(models, str(video), CONFIG, TASKS)
    films = []
    assert next(found)[0] is None
    for panel, html, film in found:
        assert panel.dtype == np.uint8 and '<svg' in html
        films.append(film)
        if film:
            with VideoReader(film) as reader:
                assert len(list(reader)) == 7
            last = html
    assert films[-1] and not any(films[:-1])
    assert not Path(films[-1]).parent.exists()
    assert '2 key frames' in last and '5 non-key frames' in last


def test_a_visitor_stops_a_video(models: Models, video: Path) -> None:
    found = predict_video(models, str(video), CONFIG, TASKS)
    assert next(found)[0] is None
    assert next(found)[0] is not None
    found.close()
    assert not [thread for thread in threading.enumerate() if thread.name == 'run of the page']


def test_a_video_stops_where_nobody_watches(models: Models) -> None:
    seen: list[int] = []
    runner = StreamRunner(models.load(CONFIG, TASKS).inferencer, [np.zeros((32, 64, 3), np.uint8)] * 200)
    found = watch(runner, CallbackSink(lambda frame: None), lambda frame: seen.append(frame.number))
    next(found)
    found.close()
    assert 0 < len(seen) < 100


def test_the_cost_of_a_picture_is_that_of_an_image_model(models: Models, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'room.png'), np.full((32, 64, 3), 90, np.uint8))
    loaded = models.load(CONFIG, TASKS)._replace(gmac={'image': 1.5})
    _, html = predict_picture(SimpleNamespace(load=lambda *_: loaded), str(tmp_path / 'room.png'), CONFIG, TASKS)  # type: ignore[arg-type]
    assert re.fullmatch(r'<p>\d+ ms, 1\.5 GMAC</p>', html)


def test_a_visitor_stops_before_the_model_is_loaded(models: Models, video: Path) -> None:
    """gradio closes only iterators that have yielded something."""
    found = predict_video(models, str(video), 'no model', TASKS)
    assert next(found)[0] is None
    found.close()


def test_a_broken_video_and_none_at_all(models: Models, tmp_path: Path) -> None:
    (tmp_path / 'film.mp4').write_bytes(b'no video')
    with pytest.raises(ValueError, match=r'film\.mp4'):
        list(predict_video(models, str(tmp_path / 'film.mp4'), CONFIG, TASKS))
    with pytest.raises(ValueError, match='choose a video'):
        next(predict_video(models, None, CONFIG, TASKS))


def test_only_the_chosen_tasks_are_computed(models: Models, tmp_path: Path) -> None:
    path = tmp_path / 'room.png'
    cv2.imwrite(str(path), np.full((32, 64, 3), 90, np.uint8))
    wide, html = predict_picture(models, str(path), CONFIG, TASKS)
    assert re.fullmatch(r'<p>\d+ ms</p>', html)
    whole = models.load(CONFIG, TASKS).gmac['key']
    assert whole == count_cost(build_on_meta(load_config(CONFIG)), (64, 128)).total().macs['key'] / 1e9
    narrow, _ = predict_picture(models, str(path), CONFIG, ['depth'])
    assert narrow.size < wide.size
    assert list(models.load(CONFIG, ['depth']).inferencer.tasks) == ['depth']
    assert models.load(CONFIG, ['depth']).gmac['key'] < whole
    with pytest.raises(ValueError, match='at least one task'):
        models.load(CONFIG, [])
    with pytest.raises(ValueError, match='other'):
        models.load('other', TASKS)


def test_a_model_in_memory_is_not_read_again(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each frame of a camera asks for it."""
    loaded = models.load(CONFIG, TASKS)
    monkeypatch.setattr('mmmtl.commands.browser.models.load_config', None)
    assert models.load(CONFIG, TASKS) is loaded


def test_an_auxiliary_task_is_computed_and_not_offered(tmp_path: Path) -> None:
    root, config = Path(__file__).parents[2], tmp_path / 'mine.py'
    config.write_text(
        f"_base_ = '{root}/tests/configs/tiny_image.py'\n"
        'tasks = dict(normals=dict(auxiliary=True))\n'
        "head = dict(_delete_=True, type='PADNetHead', channels=8, exchange=dict(type='SpatialAttention'))\n"
        'model = dict(decode_head=head)\n'
    )
    weights = tmp_path / 'w.pth'
    torch.save({'state_dict': MODELS.build(resolve(load_config(config)).model).state_dict()}, weights)
    mine = Models({str(config): weights}, device='cpu')
    assert mine.tasks(str(config)) == ['semseg', 'depth']
    inferencer = mine.load(str(config), ['semseg', 'depth']).inferencer
    assert list(inferencer.tasks) == ['semseg', 'depth'] and 'normals' in inferencer.model.tasks


def test_a_camera_keeps_its_state_until_its_frames_or_tasks_change(models: Models) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 32, 64, 3), np.uint8)
    inferencer = models.load(CONFIG, TASKS).inferencer
    camera, state, marked = None, None, []
    for frame in frames:
        panel, _, camera = predict_camera(models, frame, CONFIG, TASKS, camera)
        marked.append((panel[0] == BLUE).all())
        state = inferencer.step(np.ascontiguousarray(frame[..., ::-1]), state).state
    assert (camera.frames, camera.since_key) == (3, 2) and marked == [True, False, False]
    torch.testing.assert_close(camera.state.state_dict(), state.state_dict(), rtol=0, atol=0)
    _, html, camera = predict_camera(models, frames[0, :24], CONFIG, TASKS, camera)
    assert (camera.frames, camera.since_key) == (1, 0) and html.count('<rect') == 1
    _, _, camera = predict_camera(models, frames[0, :24], CONFIG, ['depth'], camera)
    assert (camera.frames, camera.since_key) == (1, 0)
    assert predict_camera(models, None, CONFIG, TASKS, camera) == (None, '', None)


def test_what_the_command_needs(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr('mmmtl.commands.browser.page.gr', None)
    with pytest.raises(SystemExit, match=r'pip install "mmmtl\[browser\]"'):
        commands.main(['demo', '--model', CONFIG, '--weights', str(weights)])
    with pytest.raises(SystemExit):
        commands.main(['demo', '--model', CONFIG])
    assert '--weights' in capsys.readouterr().err


def test_a_model_of_ones_own_is_shown_first(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(demo, 'Models', lambda weights, **options: given.update(options, weights=[*weights.items()]))
    monkeypatch.setattr(demo, 'serve', lambda models, **where: given.update(where))
    common = ['--device', 'cpu', '--host', '0.0.0.0', '--port', '7', '--open']
    demo.main(['--model', 'mine.py', '--weights', 'w.pth', *common])
    assert given['weights'][0] == ('mine.py', Path('w.pth'))
    assert [name for name, _ in given['weights'][1:]] == list_models(weights=True)
    assert (given['host'], given['port'], given['open_browser'], given['device']) == ('0.0.0.0', 7, True, 'cpu')


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmmtl.commands.browser import page

    def launch(**_: Any) -> None:
        raise OSError('Cannot find empty port in range: 7860-7860')

    monkeypatch.setattr(page, 'gr', MagicMock())
    monkeypatch.setattr(page, 'build_page', lambda models: SimpleNamespace(launch=launch))
    with pytest.raises(ValueError, match=r'127\.0\.0\.1:7860: .*--port'):
        page.serve(SimpleNamespace(), host='127.0.0.1', port=7860)


@pytest.mark.slow
def test_the_page_shows_what_is_refused(models: Models, tmp_path: Path) -> None:
    gradio = pytest.importorskip('gradio')
    from mmmtl.commands.browser.page import Actions, build_page

    page = build_page(models)
    assert {'predict', 'stop'} <= {block.value for block in page.blocks.values() if isinstance(block, gradio.Button)}
    with pytest.raises(gradio.Error, match='choose a picture'):
        Actions(models).picture(None, CONFIG, TASKS)
    (tmp_path / 'room.jpg').write_bytes(b'no picture')
    with pytest.raises(gradio.Error) as caught:
        Actions(models).picture(str(tmp_path / 'room.jpg'), CONFIG, TASKS)
    assert 'room.jpg' in caught.value.message and str(tmp_path) not in caught.value.message
