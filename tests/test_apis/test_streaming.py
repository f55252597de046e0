"""Running streams: every frame once, in its place, whatever the sources and the sinks do."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmmtl.apis import MultiTaskInferencer, StreamRunner
from mmmtl.apis.streaming import MjpegPage, PanelSink, RawSink, StreamFrame, StreamInfo, StreamSink, VideoSink
from mmmtl.apis.streaming.records import StageTimes, StreamRecord, speed_report
from mmmtl.apis.streaming.source import Position, name_sources
from mmmtl.apis.streaming.states import SavedStream, load_streams, save_streams
from mmmtl.io import VideoReader, VideoWriter, read_image, write_png
from mmmtl.io.safetensors import read_safetensors, write_safetensors
from mmmtl.structures import StreamState

CONFIG = Path(__file__).parents[1] / 'configs' / 'tiny_video.py'
SIZE = (32, 64)
CELL = 8


def coded(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A frame that shows its number as eight black or white cells, which survive compression."""
    image = np.full((*size, 3), 90, np.uint8)
    for bit in range(8):
        image[:CELL, bit * CELL : (bit + 1) * CELL] = 255 * (number >> bit & 1)
    image[CELL:, : number % size[1]] = (20, 150, 220)
    return image


def number_of(image: np.ndarray) -> int:
    cells = image[2 : CELL - 2, : 8 * CELL].reshape(CELL - 4, 8, CELL, 3).mean(axis=(0, 2, 3))
    return sum(1 << bit for bit, value in enumerate(cells) if value > 127)


@pytest.fixture(scope='module')
def inferencer() -> MultiTaskInferencer:
    """A model whose maps are not flat, and depend on the frames before."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        built = MultiTaskInferencer(CONFIG, device='cpu')
    with torch.no_grad():
        for name, layers in built.model.decode_head.predict.items():
            layers[-1].weight *= 100
            layers[-1].bias += 2.0 if name == 'depth' else 0.0
    return built


class Collected:
    """What became of each stream."""

    def __init__(self) -> None:
        self.frames: dict[str, list[StreamFrame]] = defaultdict(list)

    def __call__(self, frame: StreamFrame) -> None:
        self.frames[frame.stream.name].append(frame)

    def shown(self, name: str) -> list[int]:
        return [number_of(frame.image) for frame in self.frames[name]]

    def times(self, name: str) -> list[float]:
        return [round(frame.time, 3) for frame in self.frames[name]]


def film(path: Path, count: int, times: list[float] | None = None) -> Path:
    with VideoWriter(path, 10) as writer:
        for number in range(count):
            writer.write(coded(number)[..., ::-1], None if times is None else times[number])
    return path


def folder(path: Path, numbers: range, size: tuple[int, int] = SIZE) -> Path:
    for number in numbers:
        write_png(path / f'{number:03d}.png', coded(number, size))
    return path


def assert_same(one: StreamFrame, two: StreamFrame, atol: float = 0.0) -> None:
    assert (one.number, one.since_key, one.time) == (two.number, two.since_key, two.time)
    for name, array in one.maps.items():
        np.testing.assert_allclose(array, two.maps[name], atol=atol, rtol=0, err_msg=f'{name} {one.number}')


# Every frame once


def test_a_file_is_the_stream_of_the_inferencer(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    path, found = film(tmp_path / 'drive.mp4', 12), Collected()
    records = StreamRunner(inferencer, path).run(found)

    assert found.shown('drive') == list(range(12))
    assert found.times('drive') == [round(0.1 * number, 3) for number in range(12)]
    assert [frame.since_key for frame in found.frames['drive']] == [number % 5 for number in range(12)]
    assert [frame.kind for frame in found.frames['drive'][:6]] == ['key', *['non_key'] * 4, 'key']
    for frame, (image, maps) in zip(found.frames['drive'], inferencer.stream(path), strict=True):
        np.testing.assert_array_equal(frame.image, image)
        for name, array in maps.items():
            np.testing.assert_array_equal(frame.maps[name], array)
    record = records['drive']
    assert (record.frames, record.dropped, record.restarts, record.stopped, record.error) == (12, 0, 0, False, '')
    assert {name: times.count for name, times in record.stages.items()} == dict.fromkeys(
        ('decode', 'wait', 'infer', 'write', 'latency'), 12
    )
    assert {kind: times.count for kind, times in record.model.items()} == {'key': 3, 'non_key': 9}


@pytest.fixture
def batches(inferencer: MultiTaskInferencer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that are predicted."""
    sizes, step = [], inferencer.step_fitted
    monkeypatch.setattr(inferencer, 'step_fitted', lambda f, s: (sizes.append(len(f)), step(f, s))[1])
    return sizes


def test_streams_of_different_lengths_share_batches(
    inferencer: MultiTaskInferencer, batches: list[int], tmp_path: Path
) -> None:
    sources = {'a': film(tmp_path / 'a.mp4', 9), 'b': folder(tmp_path / 'b', range(4)), 'c': map(coded, range(7))}
    found = Collected()
    records = StreamRunner(inferencer, sources).run(found)

    assert {name: found.shown(name) for name in sources} == {'a': [*range(9)], 'b': [*range(4)], 'c': [*range(7)]}
    assert sum(batches) == 20 and max(batches) > 1
    assert {name: record.frames for name, record in records.items()} == {'a': 9, 'b': 4, 'c': 7}
    alone = Collected()
    for name, source in {**sources, 'c': map(coded, range(7))}.items():
        StreamRunner(inferencer, {name: source}).run(alone)
    for name in sources:
        for one, two in zip(found.frames[name], alone.frames[name], strict=True):
            # The class at a border may flip with the rounding of another size of the batch.
            assert np.mean(one.maps['semseg'] != two.maps['semseg']) < 1e-3
            np.testing.assert_allclose(one.maps['depth'], two.maps['depth'], atol=1e-4)


def test_each_stream_of_a_batch_has_its_own_key_frames(inferencer: MultiTaskInferencer) -> None:
    found, lengths = Collected(), {'a': 3, 'b': 12, 'c': 12}
    sources = {name: map(coded, range(length)) for name, length in lengths.items()}
    StreamRunner(inferencer, sources, at_once=2).run(found)  # c begins when a has ended
    for name, length in lengths.items():
        assert [frame.since_key for frame in found.frames[name]] == [number % 5 for number in range(length)]


def test_a_list_is_several_streams_or_the_frames_of_one(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    files = [film(tmp_path / 'a.mp4', 3), film(tmp_path / 'other' / 'a.mp4', 2), folder(tmp_path / 'b', range(4))]
    found = Collected()
    StreamRunner(inferencer, [str(files[0]), *files[1:]]).run(found)
    # Names are made as those of results.
    names = [f'{tmp_path.name}_a.mp4', 'other_a.mp4', 'b']
    assert {name: found.shown(name) for name in found.frames} == {
        name: list(range(count)) for name, count in zip(names, (3, 2, 4), strict=True)
    }
    for frames in (sorted(files[2].iterdir()), [coded(number) for number in range(4)]):
        found = Collected()
        StreamRunner(inferencer, frames).run(found)
        assert {name: found.shown(name) for name in found.frames} == {'frames': [0, 1, 2, 3]}


@pytest.mark.parametrize('addresses', [['rtsp://a/cam.jpg', 'rtsp://b/cam.jpg'], ['left_%04d.png', 'right_%04d.png']])
def test_names_of_images_may_be_videos(addresses: list[str]) -> None:
    assert list(name_sources(addresses).values()) == addresses


@pytest.mark.parametrize(('at_once', 'max_batch'), [(1, None), (2, 1), (3, 2)])
def test_limits_of_streams_and_batches(
    at_once: int, max_batch: int | None, inferencer: MultiTaskInferencer, batches: list[int]
) -> None:
    found = Collected()
    runner = StreamRunner(
        inferencer, {name: [coded(n) for n in range(6)] for name in 'abc'}, at_once=at_once, max_batch=max_batch
    )
    runner.run(found)
    assert {name: found.shown(name) for name in 'abc'} == dict.fromkeys('abc', [*range(6)])
    assert max(batches) <= min(at_once, max_batch or at_once)


def test_a_compiled_model_gets_no_batches(
    inferencer: MultiTaskInferencer, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inferencer, 'optimize', 'compile')
    StreamRunner(inferencer, {name: map(coded, range(4)) for name in 'ab'}).run()
    assert batches == [1] * 8


def test_streams_take_turns(inferencer: MultiTaskInferencer, monkeypatch: pytest.MonkeyPatch) -> None:
    predicted, step, read = [], inferencer.step_fitted, [threading.Event(), threading.Event()]

    def numbers(first: int, waiting: int, event: threading.Event) -> Iterator[np.ndarray]:
        for number in range(first, first + 8):
            if number == first + waiting:
                event.set()
            yield coded(number)

    def late(fitted: Any, state: Any) -> Any:
        assert all(event.wait(60) for event in read)
        predicted.extend(number_of(one.image) for one in fitted)
        return step(fitted, state)

    monkeypatch.setattr(inferencer, 'step_fitted', late)
    StreamRunner(inferencer, {'a': numbers(0, 4, read[0]), 'b': numbers(100, 2, read[1])}, max_batch=1).run()
    # Although four frames of a waited when the first was predicted, and two of b.
    assert sorted(predicted[:4]) == [0, 1, 100, 101]


def test_sizes_that_do_not_fit_into_one_batch(inferencer: MultiTaskInferencer) -> None:
    found = Collected()
    StreamRunner(inferencer, {'a': map(coded, range(8)), 'b': (coded(number, (48, 96)) for number in range(8))}).run(
        found
    )
    assert found.shown('a') == found.shown('b') == [*range(8)]


def test_damaged_variable_and_rotated_files(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    av = pytest.importorskip('av')
    variable = [0.0, 0.1, 0.2, 1.0, 1.1, 3.0]
    paths = {'variable': film(tmp_path / 'variable.mp4', 6, variable)}
    for name, rotation in (('turned', 180), ('damaged', None)):
        paths[name] = tmp_path / f'{name}.mp4'
        with av.open(str(paths[name]), 'w') as container:
            stream = container.add_stream('libx264', rate=10, options={'g': '5'})
            stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], 'yuv420p'
            if rotation is not None:
                stream.set_display_rotation(rotation)
            container.start_encoding()
            for number in range(40):
                image = coded(number)[:: -1 if rotation else 1, :: -1 if rotation else 1]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format='bgr24')))
            container.mux(stream.encode())
    content = bytearray(paths['damaged'].read_bytes())
    middle = (content.index(b'mdat') + len(content)) // 2
    content[middle : middle + 150] = bytes(range(150))
    paths['damaged'].write_bytes(content)
    with VideoReader(paths['damaged']) as reader:
        expected = [(number_of(frame.image), round(frame.time, 3)) for frame in reader]
        lost = reader.summary()

    found = Collected()
    records = StreamRunner(inferencer, paths).run(found, check=False)

    assert found.shown('variable') == [*range(6)] and found.times('variable') == variable
    assert found.shown('turned') == [*range(40)]
    assert list(zip(found.shown('damaged'), found.times('damaged'), strict=True)) == expected
    assert records['damaged'].summary == lost and not records['damaged'].whole
    assert records['damaged'].frames == len(expected) > 20
    with pytest.warns(UserWarning, match='damaged'):
        StreamRunner(inferencer, paths['damaged']).run()


def test_frames_that_share_their_memory(inferencer: MultiTaskInferencer) -> None:
    """As those of OpenCV's `read(image)`: each is written over the one before, which still waits for the model."""

    def frames() -> Iterator[np.ndarray]:
        memory = np.empty((*SIZE, 3), np.uint8)
        for number in range(12):
            memory[:] = coded(number)
            yield memory

    found, expected = Collected(), Collected()
    StreamRunner(inferencer, frames()).run(found, lambda frame: time.sleep(0.01))
    StreamRunner(inferencer, map(coded, range(12))).run(expected)
    assert found.shown('frames') == [*range(12)]
    for one, two in zip(found.frames['frames'], expected.frames['frames'], strict=True):
        assert_same(one, two)


def test_an_image_model_has_no_key_frames() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        images, found = MultiTaskInferencer(CONFIG.with_name('tiny_image.py'), device='cpu'), Collected()
    record = StreamRunner(images, map(coded, range(2))).run(found)['frames']
    assert [(frame.kind, frame.since_key) for frame in found.frames['frames']] == [('image', None)] * 2
    assert {kind: times.count for kind, times in record.model.items()} == {'image': 2}


# Stalls, live sources, connections


def test_a_source_that_stalls_does_not_stop_the_others(inferencer: MultiTaskInferencer) -> None:
    released, found = threading.Event(), Collected()

    def stalling() -> Iterator[np.ndarray]:
        yield coded(0)
        assert released.wait(60)
        yield coded(1)

    def release(frame: StreamFrame) -> None:
        if frame.stream.name == 'b' and frame.number == 24:
            released.set()

    StreamRunner(inferencer, {'a': stalling(), 'b': map(coded, range(25))}).run(found, release)
    assert found.shown('b') == [*range(25)] and found.shown('a') == [0, 1]


def test_a_source_stuck_in_a_read_does_not_hold_up_a_stop(
    inferencer: MultiTaskInferencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mmmtl.apis.streaming.runner.PATIENCE', 0.1)
    released = threading.Event()

    def stuck() -> Iterator[np.ndarray]:
        yield coded(0)
        released.wait(60)

    runner = StreamRunner(inferencer, stuck())
    start = time.perf_counter()
    records = runner.run(lambda frame: runner.stop())
    assert time.perf_counter() - start < 30
    assert records['frames'].stopped and records['frames'].frames == 1
    released.set()


def test_a_slow_sink_of_one_stream_does_not_stop_the_others(inferencer: MultiTaskInferencer) -> None:
    released = threading.Event()

    class Slow(StreamSink):
        def write(self, frame: StreamFrame) -> None:
            if frame.stream.name == 'a':
                assert released.wait(60)
            elif frame.number == 24:
                released.set()

    records = StreamRunner(inferencer, {'a': map(coded, range(25)), 'b': map(coded, range(25))}).run(Slow())
    assert [record.frames for record in records.values()] == [25, 25]


def test_live_sources_drop_what_is_late_and_count_it(inferencer: MultiTaskInferencer) -> None:
    found = Collected()

    def camera() -> Iterator[np.ndarray]:
        for number in range(60):
            time.sleep(0.002)
            yield coded(number)

    records = StreamRunner(inferencer, camera(), latest=True).run(found, lambda frame: time.sleep(0.02))
    shown, frames = found.shown('frames'), found.frames['frames']
    assert shown == sorted(set(shown)) and shown[-1] == 59, 'in order, and the newest at the end'
    assert records['frames'].dropped == 60 - len(shown) > 0
    assert [frame.number + frame.dropped for frame in frames] == shown
    assert [frame.number for frame in frames] == [*range(len(frames))]
    assert found.times('frames') == [round(number / 15, 3) for number in shown], 'the times of the frames that are left'


class Camera:
    """A reader of a live source that breaks off after some frames; None cannot be opened."""

    name, fps, declared, delivered, live, is_whole = 'camera', 10.0, None, 0, True, True
    connections: list[range | None]
    sizes: dict[int, tuple[int, int]] = {}

    def __init__(self, video: object) -> None:
        self.frames = Camera.connections.pop(0)
        if self.frames is None:
            raise ValueError('camera: cannot be opened')

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        from mmmtl.io.video import VideoFrame

        for position, number in enumerate(self.frames or ()):
            yield VideoFrame(coded(number, Camera.sizes.get(number, SIZE)), position / 10)

    def summary(self) -> str:
        return ''

    def missing(self) -> str:
        return ''


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> type[Camera]:
    monkeypatch.setattr('mmmtl.apis.streaming.source.VideoReader', Camera)
    monkeypatch.setattr('mmmtl.apis.streaming.source.PAUSE', 0.001)
    return Camera


def test_a_stop_is_the_end_of_a_camera(inferencer: MultiTaskInferencer, camera: type[Camera]) -> None:
    camera.connections = [range(50)]
    runner = StreamRunner(inferencer, 'rtsp://camera', latest=False)
    (record,) = runner.run(lambda frame: runner.stop()).values()
    assert record.frames >= 1 and not record.stopped


def test_a_live_source_is_opened_again(inferencer: MultiTaskInferencer, camera: type[Camera]) -> None:
    camera.connections = [range(3), None, range(10, 13), None, None, range(20, 22), None, None, None]
    found = Collected()
    runner = StreamRunner(inferencer, 0, latest=False, reconnect=3)
    records = runner.run(found, check=False)

    assert found.shown('camera_0') == [0, 1, 2, 10, 11, 12, 20, 21]
    assert [frame.since_key for frame in found.frames['camera_0']] == [0, 1, 2, 0, 1, 2, 0, 1], 'new states'
    times = found.times('camera_0')
    assert times == sorted(set(times))
    record = records['camera_0']
    assert (record.reconnects, record.restarts) == (8, 2) and 'lost after 3 tries' in record.error


def test_the_clock_goes_on_while_a_live_source_is_away(
    inferencer: MultiTaskInferencer, camera: type[Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mmmtl.apis.streaming.source.PAUSE', 0.4)
    camera.connections, found = [range(2), range(10, 12)], Collected()
    StreamRunner(inferencer, 0, latest=False, reconnect=1, max_frames=4).run(found)
    first, second, third, fourth = found.times('camera_0')
    assert (first, second, round(fourth - third, 3)) == (0.0, 0.1, 0.1) and third >= 0.4


def test_a_new_connection_drops_what_waits_of_the_one_before(
    inferencer: MultiTaskInferencer, camera: type[Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    camera.connections = [range(3), range(10, 13), None]
    step, found = inferencer.step_fitted, Collected()

    def late(fitted: Any, state: Any) -> Any:
        while camera.connections:
            time.sleep(0.001)
        return step(fitted, state)

    monkeypatch.setattr(inferencer, 'step_fitted', late)
    record = StreamRunner(inferencer, 0, reconnect=1).run(found, check=False)['camera_0']
    assert record.frames + record.dropped == 6
    assert found.shown('camera_0')[-1] == 12 and found.frames['camera_0'][-1].since_key == 0
    numbers = [frame.number + frame.dropped for frame in found.frames['camera_0']]
    assert [[0, 1, 2, 10, 11, 12][number] for number in numbers] == found.shown('camera_0')


@pytest.mark.parametrize('on_resize', ['error', 'new_state'])
def test_a_live_source_that_changes_its_size(
    on_resize: Any, inferencer: MultiTaskInferencer, camera: type[Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    for connections in ([range(3), range(3, 7), None], [range(7), None]):
        camera.connections = connections
        monkeypatch.setattr(camera, 'sizes', dict.fromkeys(range(3, 9), (48, 96)))
        found = Collected()
        runner = StreamRunner(inferencer, 0, latest=False, reconnect=1, on_resize=on_resize)
        record = runner.run(found, check=False)['camera_0']
        assert found.shown('camera_0') == [*range(3 if on_resize == 'error' else 7)]
        assert ('(48, 96)' if on_resize == 'error' else 'lost after 1 tries') in record.error


@pytest.mark.parametrize('on_resize', ['error', 'new_state'])
def test_a_source_that_has_another_size_after_a_stop(
    on_resize: Any,
    inferencer: MultiTaskInferencer,
    camera: type[Camera],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    camera.connections = [range(9), range(20, 23), None]
    resume, found = tmp_path / 's.safetensors', Collected()
    first = StreamRunner(inferencer, 0, latest=False, resume=resume)
    first.run(found, lambda frame: first.stop() if frame.number == 2 else None)
    count = len(found.frames['camera_0'])
    monkeypatch.setattr(camera, 'sizes', dict.fromkeys(range(20, 23), (48, 96)))
    runner = StreamRunner(inferencer, 0, latest=False, reconnect=1, on_resize=on_resize, resume=resume)
    record = runner.run(found, check=False)['camera_0']
    shown, since_key = found.shown('camera_0'), [frame.since_key for frame in found.frames['camera_0']]
    if on_resize == 'error':
        assert shown == [*range(count)] and record.restarts == 0
        assert all(part in record.error for part in ('camera_0', '(48, 96)', '(32, 64)', "on_resize='new_state'"))
        assert resume.exists(), 'another try goes on there'
    else:
        assert shown == [*range(count), 20, 21, 22] and record.restarts == 1
        assert since_key[count:] == [0, 1, 2]
        assert found.times('camera_0') == [round(number / 10, 3) for number in range(count + 3)]
        assert [frame.number for frame in found.frames['camera_0']] == [*range(count + 3)]


def test_a_folder_that_has_another_size_after_a_stop(
    stopped: tuple[Path, Path], inferencer: MultiTaskInferencer
) -> None:
    path, resume = stopped
    folder(path, range(12), (48, 96))
    with pytest.raises(ValueError, match=r'drive.*\(48, 96\).*\(32, 64\)'):
        StreamRunner(inferencer, path, resume=resume).run()
    found = Collected()
    record = StreamRunner(inferencer, path, on_resize='new_state', resume=resume).run(found)['drive']
    assert found.shown('drive')[-1] == 11 and record.restarts == 1


def test_a_live_source_that_is_away_for_hours(
    inferencer: MultiTaskInferencer, camera: type[Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mmmtl.apis.streaming.source.MAX_PAUSE', 1e-4)
    camera.connections = [range(3), *[None] * 1100, range(3, 5), None, None]
    found = Collected()
    StreamRunner(inferencer, 0, latest=False, reconnect=2000, max_frames=5).run(found)
    assert found.shown('camera_0') == [*range(5)]


def test_a_live_source_that_never_opens_is_an_error_at_once(
    inferencer: MultiTaskInferencer, camera: type[Camera]
) -> None:
    camera.connections = [None]
    with pytest.raises(ValueError, match='cannot be opened'):
        StreamRunner(inferencer, 0).run()


# Sizes and errors


@pytest.fixture
def video_times(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[float | None]]:
    """The times of the frames that are written to each video, None where its rate is fixed."""
    times, write = defaultdict(list), VideoWriter.write

    def note(self: VideoWriter, panel: np.ndarray, time: float | None) -> None:
        times[self.path.name].append(time if time is None else round(time, 3))
        write(self, panel, time)

    monkeypatch.setattr(VideoWriter, 'write', note)
    return times


# Frames in memory have the default rate of 15 a second.
TWO_FRAMES = pytest.mark.parametrize(('fps', 'times'), [(None, [0.0, 0.067]), (10.0, [None, None])])


@TWO_FRAMES
def test_a_later_video_begins_at_its_first_frame(
    fps: float | None, times: list[Any], inferencer: MultiTaskInferencer, tmp_path: Path, video_times: dict[str, Any]
) -> None:
    others = [tmp_path / 'a-000002.mp4', tmp_path / 'a-000002-2.mp4']
    for path in others:
        path.write_bytes(b'mine')
    frames = [coded(number, size) for size in (SIZE, (48, 96)) for number in range(2)]
    with VideoSink(tmp_path, fps=fps) as films:
        StreamRunner(inferencer, {'a': frames}, on_resize='new_state').run(films)
    assert films.files == [tmp_path / 'a.mp4', tmp_path / 'a-000002-3.mp4']
    assert video_times == {'a.mp4': times, 'a-000002-3.mp4': times}
    assert [path.read_bytes() for path in others] == [b'mine'] * 2


@TWO_FRAMES
def test_a_pause_too_long_for_the_encoder_begins_another_video(
    fps: float | None,
    times: list[Any],
    inferencer: MultiTaskInferencer,
    tmp_path: Path,
    video_times: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(VideoWriter, 'reaches', lambda self, time: time < 0.1)
    with VideoSink(tmp_path, fps=fps) as films:
        StreamRunner(inferencer, {'b': map(coded, range(4))}).run(films)
    assert video_times == ({'b.mp4': 2 * times} if fps else {'b.mp4': times, 'b-000002.mp4': times})


@pytest.mark.parametrize('on_resize', ['error', 'new_state'])
def test_frames_that_change_their_size(on_resize: Any, inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    folder(tmp_path / 'in', range(7))
    folder(tmp_path / 'in', range(7, 12), (48, 96))
    found, runner = Collected(), StreamRunner(inferencer, tmp_path / 'in', on_resize=on_resize)
    with VideoSink(tmp_path / 'out.mp4') as video:
        if on_resize == 'error':
            with pytest.raises(ValueError, match=r'in: .*\(48, 96\).*\(32, 64\)'):
                runner.run(found, video)
        else:
            assert runner.run(found, video)['in'].restarts == 1
    count = 7 if on_resize == 'error' else 12
    assert found.shown('in') == [*range(count)]
    assert [frame.since_key for frame in found.frames['in']] == [0, 1, 2, 3, 4, 0, 1, 0, 1, 2, 3, 4][:count]
    files = sorted(path.name for path in tmp_path.glob('out*'))
    assert files == ['out-000007.mp4', 'out.mp4'][-1 if on_resize == 'error' else 0 :]


def test_one_bad_stream_does_not_end_the_others(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield coded(0)
        raise RuntimeError('the driver is gone')

    def leaving() -> Iterator[np.ndarray]:
        yield coded(0)
        raise SystemExit('bye')

    sources: dict[str, Any] = {'none': tmp_path / 'none.mp4', 'bad': failing(), 'good': map(coded, range(5))}
    sources |= {'left': leaving(), 'none at all': [None], 'images': [Image.fromarray(coded(0))]}
    found = Collected()
    records = StreamRunner(inferencer, dict(sources)).run(found, check=False)
    assert found.shown('good') == [*range(5)] and found.shown('bad') == [0]
    assert 'none.mp4' in records['none'].error and records['bad'].error == 'RuntimeError: the driver is gone'
    assert records['left'].error == 'SystemExit: bye' and 'not NoneType' in records['none at all'].error
    assert records['images'].frames == 1
    resume = tmp_path / 's.safetensors'
    with pytest.raises(FileNotFoundError, match=r'none\.mp4'):
        StreamRunner(inferencer, {'none': tmp_path / 'none.mp4', 'good': map(coded, range(5))}, resume=resume).run()
    assert not resume.exists(), 'nothing is left to do'
    with pytest.raises(ValueError, match=r'none\.mp4.*\n.*gone\.mp4'):
        StreamRunner(inferencer, {name: tmp_path / f'{name}.mp4' for name in ('none', 'gone')}).run()


def test_maps_that_are_not_finite_name_the_stream(
    inferencer: MultiTaskInferencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, count = inferencer.model.step, 0

    def broken(*args: Any) -> Any:
        nonlocal count
        count += 1
        found = step(*args)
        if count == 3:
            found.logits['depth'][-1] = torch.inf
        return found

    monkeypatch.setattr(inferencer.model, 'step', broken)
    runner = StreamRunner(inferencer, {name: map(coded, range(5)) for name in ('one', 'other')}, max_batch=1)
    with pytest.raises(FloatingPointError, match=r"depth are not finite.*\['row 0'\].*0: frame \d of (one|other)"):
        runner.run()


def test_an_error_of_a_sink_ends_the_run(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    def full(frame: StreamFrame) -> None:
        if frame.number == 3:
            raise OSError('disk full')

    resume = tmp_path / 's.safetensors'
    runner = StreamRunner(inferencer, map(coded, range(10_000)), resume=resume)
    with pytest.raises(OSError, match='disk full'), VideoSink(tmp_path / 'out.mp4') as video:
        runner.run(full, video)
    assert [path.name for path in tmp_path.iterdir()] == ['out.mp4'], 'no states past frames that were not written'
    assert sum(1 for _ in VideoReader(tmp_path / 'out.mp4')) >= 3


def test_a_video_that_cannot_be_written_does_not_take_others_along(
    inferencer: MultiTaskInferencer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = VideoWriter.write

    def full(self: VideoWriter, *frame: Any) -> None:
        if self.path.stem == 'b' and (tmp_path / 'enough').exists():
            raise OSError('disk full')
        write(self, *frame)

    def note(frame: StreamFrame) -> None:
        if frame.stream.name == 'a' and frame.number == 5:
            (tmp_path / 'enough').touch()

    monkeypatch.setattr(VideoWriter, 'write', full)
    runner = StreamRunner(inferencer, {name: map(coded, range(10_000)) for name in 'ab'})
    with pytest.raises(OSError, match='disk full'), VideoSink(tmp_path / 'out') as videos:
        runner.run(videos, note)
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['a.mp4']
    assert sum(1 for _ in VideoReader(tmp_path / 'out' / 'a.mp4')) >= 5


def test_an_error_of_a_sink_ends_the_run_without_the_frames_that_wait(inferencer: MultiTaskInferencer) -> None:
    failed, written = threading.Event(), []

    class Full(StreamSink):
        def write(self, frame: StreamFrame) -> None:
            if frame.stream.name == 'a' and frame.number == 2:
                failed.set()
                raise OSError('disk full')
            if frame.stream.name == 'b':
                assert failed.wait(60)
                time.sleep(0.3)
                written.append(frame.number)

    runner = StreamRunner(inferencer, {name: map(coded, range(10_000)) for name in 'ab'})
    with pytest.raises(OSError, match='disk full'):
        runner.run(Full())
    assert written == [0]


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(at_once=0), 'at_once'),
        (dict(buffer=0), 'buffer'),
        (dict(reconnect=-1), 'reconnect'),
        (dict(on_resize='ignore'), 'on_resize'),
        (dict(resume='states.pth'), r'states\.pth'),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str, inferencer: MultiTaskInferencer) -> None:
    with pytest.raises(ValueError, match=message):
        StreamRunner(inferencer, [coded(0)], **settings)


@pytest.mark.parametrize('name', ['', '..', 'a/b', 'a\\b'])
def test_names_must_be_those_of_files(name: str, inferencer: MultiTaskInferencer) -> None:
    with pytest.raises(ValueError, match='cannot name a stream'):
        StreamRunner(inferencer, {name: [coded(0)]})
    with pytest.raises(ValueError, match='no source'):
        StreamRunner(inferencer, {})


@pytest.mark.parametrize('names', [('Cam', 'cam'), ('\u00e9', 'e\u0301')])
def test_two_streams_are_two_files(names: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=re.escape(f'{names[0]!a} and {names[1]!a}')):
        name_sources(dict.fromkeys(names, 0))


def test_a_place_where_no_states_can_be_written(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match=r's\.safetensors.*file'):
        StreamRunner(inferencer, [coded(0)], resume=tmp_path / 'file' / 's.safetensors')


def test_a_pipeline_longer_than_a_file_name(inferencer: MultiTaskInferencer) -> None:
    pipeline = ' ! '.join(['videotestsrc', *['videoconvert'] * 30, 'nothing'])
    with pytest.raises(ValueError, match='videotestsrc'):
        StreamRunner(inferencer, {'a': pipeline}).run()


# Stop and go on


def test_a_stopped_run_goes_on_as_if_never_interrupted(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    path, resume = film(tmp_path / 'drive.mp4', 30), tmp_path / 'states.safetensors'
    whole, parts = Collected(), Collected()
    with RawSink(tmp_path / 'whole', inferencer.tasks) as raw:
        StreamRunner(inferencer, path, max_batch=1).run(whole, raw)
    for stop_at in (6, 7, 19, None):
        runner = StreamRunner(inferencer, path, resume=resume)

        def stop(frame: StreamFrame, runner: StreamRunner = runner, stop_at: int | None = stop_at) -> None:
            if stop_at is not None and frame.number >= stop_at:
                runner.stop()

        with RawSink(tmp_path / 'parts', inferencer.tasks, append=resume.exists()) as raw:
            record = runner.run(parts, stop, raw)['drive']
        assert record.stopped == resume.exists() == (stop_at is not None)
    assert parts.shown('drive') == [*range(30)]
    for one, two in zip(whole.frames['drive'], parts.frames['drive'], strict=True):
        assert_same(one, two)
    files = sorted(path.relative_to(tmp_path / 'whole') for path in (tmp_path / 'whole').rglob('*') if path.is_file())
    assert len(files) == 30 * 4 + 2
    for file in files:
        assert (tmp_path / 'parts' / file).read_bytes() == (tmp_path / 'whole' / file).read_bytes(), file


def test_frames_that_are_written_again_count_once(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    for append in (False, True):  # as after a kill, which left maps but no states
        with RawSink(tmp_path / 'raw', inferencer.tasks, append=append) as raw:
            StreamRunner(inferencer, {'drive': [coded(number) for number in range(3)]}).run(raw)
    assert json.loads((tmp_path / 'raw' / 'videos.json').read_text()) == {'drive': {'length': 3}}


@pytest.fixture
def heeded() -> Iterator[None]:
    """SIGINT as at a terminal; a shell starts programs in the background, such as these tests, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures('heeded')
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_a_run_in_good_order(
    number: int, inferencer: MultiTaskInferencer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, resume, found = folder(tmp_path / 'drive', range(15)), tmp_path / 's.safetensors', Collected()
    lines: list[str] = []
    monkeypatch.setattr('mmmtl.apis.streaming.sinks.print_log', lambda line, **_: lines.append(line))
    before = signal.getsignal(number)

    def kill(frame: StreamFrame) -> None:
        if frame.number == 4:
            os.kill(os.getpid(), number)
        # The model must not be at the end before the signal is there.
        time.sleep(0.02)

    with VideoSink(tmp_path / 'out.mp4') as video:
        record = StreamRunner(inferencer, path, buffer=1, resume=resume).run(found, kill, video)['drive']
    assert record.stopped and 5 <= record.frames < 15 and resume.exists()
    assert signal.getsignal(number) is before
    with VideoSink(tmp_path / 'out.mp4') as video:
        StreamRunner(inferencer, path, resume=resume).run(found, video)
    assert found.shown('drive') == [*range(15)]
    parts = [tmp_path / 'out.mp4', tmp_path / f'out-{record.frames:06d}.mp4']
    assert [len(list(VideoReader(part))) for part in parts] == [record.frames, 15 - record.frames]
    assert lines == [f"{parts[1]}: the video of 'drive' from frame {record.frames} on"]


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_is_ignored_stays_ignored(number: int, inferencer: MultiTaskInferencer) -> None:
    def kill(frame: StreamFrame) -> None:
        os.kill(os.getpid(), number)
        # Where a handler is installed, the run must not be at its end before it is called.
        time.sleep(0.02)

    before = signal.signal(number, signal.SIG_IGN)
    try:
        record = StreamRunner(inferencer, map(coded, range(5)), buffer=1).run(kill)['frames']
        assert (record.frames, record.stopped) == (5, False)
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.usefixtures('heeded')
@pytest.mark.parametrize('count', [100, 2])  # with frames that wait, and in the last one
def test_a_second_signal_ends_at_once(inferencer: MultiTaskInferencer, tmp_path: Path, count: int) -> None:
    class Slow(VideoSink):
        def write(self, frame: StreamFrame) -> None:
            if frame.number == 1:
                before = signal.getsignal(signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
                while signal.getsignal(signal.SIGINT) is before:
                    time.sleep(0.01)
                # The second one comes while the frames that were predicted are written.
                time.sleep(0.3)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.3)
            super().write(frame)

    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt), Slow(tmp_path / 'out') as videos:
        StreamRunner(inferencer, map(coded, range(count)), resume=tmp_path / 's.safetensors').run(videos)
    assert time.perf_counter() - start < 30
    time.sleep(0.5)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(('read', 'write'))]
    assert not list((tmp_path / 'out').iterdir()) and not (tmp_path / 's.safetensors').exists()


def test_several_streams_go_on(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    sources = {'short': folder(tmp_path / 'short', range(3)), 'long': folder(tmp_path / 'long', range(20))}
    sources['last'] = folder(tmp_path / 'last', range(4))
    resume, found = tmp_path / 's.safetensors', Collected()
    first = StreamRunner(inferencer, sources, at_once=2, resume=resume)
    # With 'last' waiting for an end, and 'short' perhaps done.
    first.run(found, lambda frame: first.stop() if frame.stream.name == 'long' and frame.number == 8 else None)
    assert resume.exists()
    records = StreamRunner(inferencer, sources, at_once=2, resume=resume).run(found)
    assert {name: found.shown(name) for name in sources} == {
        'short': [*range(3)],
        'long': [*range(20)],
        'last': [*range(4)],
    }
    assert [f.since_key for f in found.frames['long']] == [number % 5 for number in range(20)]
    assert not resume.exists() and not any(record.stopped for record in records.values())


@pytest.fixture
def stopped(inferencer: MultiTaskInferencer, tmp_path: Path) -> tuple[Path, Path]:
    """A video and the states of a run that was stopped in it."""
    path, resume = folder(tmp_path / 'drive', range(12)), tmp_path / 'states.safetensors'
    runner = StreamRunner(inferencer, path, resume=resume)
    runner.run(lambda frame: runner.stop() if frame.number == 3 else None)
    assert resume.exists()
    return path, resume


def test_states_of_other_sources_or_models_are_refused(
    stopped: tuple[Path, Path], inferencer: MultiTaskInferencer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, resume = stopped
    other = folder(tmp_path / 'other', range(2))
    with pytest.raises(ValueError, match=r'states\.safetensors.*drive.*other'):
        StreamRunner(inferencer, other, resume=resume)
    weight = next(inferencer.model.parameters())
    before = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.view(-1)[0] += 1
        with pytest.raises(ValueError, match=r'states\.safetensors.*weights'):
            StreamRunner(inferencer, path, resume=resume)
    finally:
        with torch.no_grad():
            weight.copy_(before)
    monkeypatch.setattr(inferencer.model.key_frame_policy, 'interval', 7)
    with pytest.raises(ValueError, match=r'states\.safetensors.*key-frame policy'):
        StreamRunner(inferencer, path, resume=resume)
    monkeypatch.undo()
    for attribute in ('size', 'model_size'):
        monkeypatch.setattr(inferencer, attribute, (16, 32))
        with pytest.raises(ValueError, match=r'states\.safetensors.*size'):
            StreamRunner(inferencer, path, resume=resume)
        monkeypatch.undo()
    StreamRunner(inferencer, path, resume=resume)


def test_states_hold_no_passwords(inferencer: MultiTaskInferencer, camera: type[Camera], tmp_path: Path) -> None:
    resume, found = tmp_path / 'states.safetensors', Collected()

    def run(address: str, stop_at: int) -> None:
        camera.connections = [range(9)]
        runner = StreamRunner(inferencer, address, latest=False, reconnect=0, resume=resume)
        runner.run(found, lambda frame: runner.stop() if frame.number >= stop_at else None)

    run('rtsp://user:secret@host/live?token=hidden', 2)
    content = resume.read_bytes()
    assert b'rtsp://host/live' in content and b'secret' not in content and b'hidden' not in content
    assert list(found.frames) == ['live?token=xxx']
    run('rtsp://user:changed@host/live?token=hidden', 4)
    with pytest.raises(ValueError, match=r'states\.safetensors.*rtsp://host/live\?token=xxx') as caught:
        run('rtsp://user:secret@host/live?token=another', 99)
    assert not any(word in str(caught.value) for word in ('secret', 'hidden', 'another'))


def test_a_file_that_changed_is_another_source(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    path, resume = film(tmp_path / 'drive.mp4', 12), tmp_path / 'states.safetensors'
    runner = StreamRunner(inferencer, path, resume=resume)
    runner.run(lambda frame: runner.stop() if frame.number == 3 else None)
    film(path, 13)
    with pytest.raises(ValueError, match='bytes'):
        StreamRunner(inferencer, path, resume=resume)


def test_a_source_that_became_shorter_is_an_error(
    stopped: tuple[Path, Path], inferencer: MultiTaskInferencer, tmp_path: Path
) -> None:
    path, resume = stopped
    path.rename(tmp_path / 'away')
    with pytest.raises(FileNotFoundError, match='drive'):
        StreamRunner(inferencer, path, resume=resume).run()
    folder(path, range(2))
    with pytest.raises(ValueError, match='drive: ended after 2 frames'):
        StreamRunner(inferencer, path, resume=resume).run()
    folder(path, range(12))
    found = Collected()
    StreamRunner(inferencer, path, resume=resume).run(found)
    assert found.shown('drive')[-1] == 11 and not resume.exists(), 'the states were kept'


def test_a_stream_that_failed_is_tried_again(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    sources = {'gone': tmp_path / 'gone', 'long': folder(tmp_path / 'long', range(60))}
    resume, found = tmp_path / 's.safetensors', Collected()
    runner = StreamRunner(inferencer, sources, resume=resume)
    runner.run(lambda frame: runner.stop() if frame.number == 5 else None, check=False)
    folder(sources['gone'], range(3))
    StreamRunner(inferencer, sources, resume=resume).run(found)
    assert found.shown('gone') == [0, 1, 2]


def test_dropped_frames_are_not_predicted_after_a_stop(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    resume, found = tmp_path / 's.safetensors', Collected()

    def frames() -> Iterator[np.ndarray]:
        for number in range(60):
            # Three for each that is predicted.
            while number >= 3 + 3 * len(found.frames['frames']):
                time.sleep(0.001)
            yield coded(number)

    for stop_at in (3, 6, None):
        runner = StreamRunner(inferencer, frames(), latest=True, buffer=1, resume=resume)

        def stop(frame: StreamFrame, runner: StreamRunner = runner, stop_at: int | None = stop_at) -> None:
            time.sleep(0.01)
            if stop_at is not None and frame.number >= stop_at:
                runner.stop()

        runner.run(found, stop)
    shown = found.shown('frames')
    assert shown == sorted(set(shown)) and shown[-1] == 59
    assert [frame.number + frame.dropped for frame in found.frames['frames']] == shown
    assert found.frames['frames'][-1].dropped > 0


def test_a_run_deletes_no_states_but_those_from_which_it_went_on(
    inferencer: MultiTaskInferencer, tmp_path: Path
) -> None:
    path, resume = folder(tmp_path / 'drive', range(12)), tmp_path / 's.safetensors'
    one, other = (StreamRunner(inferencer, path, resume=resume) for _ in range(2))
    one.run(lambda frame: one.stop() if frame.number == 3 else None)
    other.run()
    assert resume.exists()


def test_a_lower_limit_of_frames_after_a_stop(stopped: tuple[Path, Path], inferencer: MultiTaskInferencer) -> None:
    path, resume = stopped
    assert StreamRunner(inferencer, path, resume=resume, max_frames=2).run()['drive'].frames == 0


DAMAGE: dict[str, Callable[[dict[str, Any], dict[str, Any]], None]] = {
    'format': lambda meta, tensors: meta.update(format=9),
    'streams': lambda meta, tensors: meta.update(streams=[1]),
    'no stream': lambda meta, tensors: meta['streams'].update(drive=3),
    'number': lambda meta, tensors: meta['streams']['drive'].update(number='4'),
    'negative': lambda meta, tensors: meta['streams']['drive'].update(number=-4),
    'huge': lambda meta, tensors: meta['streams']['drive'].update(number=10**400),
    'nan': lambda meta, tensors: meta['streams']['drive'].update(time=float('nan')),
    'infinite': lambda meta, tensors: meta['streams']['drive'].update(time=float('inf')),
    'rows': lambda meta, tensors: tensors.update({key: torch.cat([t, t]) for key, t in tensors.items()}),
    'no state': lambda meta, tensors: tensors.clear(),
    'since_key': lambda meta, tensors: meta['streams']['drive'].update(since_key=None),
    'size': lambda meta, tensors: meta['streams']['drive'].update(size=[32, '64']),
    'no size': lambda meta, tensors: meta['streams']['drive'].pop('size'),
    'size of no frame': lambda meta, tensors: meta['streams']['drive'].update(size=None),
    'resolution': lambda meta, tensors: meta['streams']['drive'].update(resolution='big'),
    'frames': lambda meta, tensors: tensors.update({'0.frames': torch.tensor([1.5])}),
    'missing': lambda meta, tensors: tensors.pop('0.frames'),
    'more': lambda meta, tensors: tensors.update({'0.frames.x': torch.zeros(1)}),
}


@pytest.mark.parametrize('kind', DAMAGE)
def test_damaged_states_are_refused(kind: str, stopped: tuple[Path, Path], inferencer: MultiTaskInferencer) -> None:
    path, resume = stopped
    saved, _ = read_safetensors(resume, str(resume))
    meta, tensors = json.loads(json.dumps(saved['meta'])), dict(saved['state_dict'])
    DAMAGE[kind](meta, tensors)
    write_safetensors(resume, tensors, meta)
    with pytest.raises(ValueError, match=r'states\.safetensors'):
        StreamRunner(inferencer, path, resume=resume)
    resume.write_bytes(resume.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r'states\.safetensors'):
        StreamRunner(inferencer, path, resume=resume)


def test_states_of_many_streams_are_kept_apart(tmp_path: Path) -> None:
    def one(number: int) -> SavedStream:
        state = replace(StreamState.new(1), frames=torch.tensor([number]))
        return SavedStream(f'{number}.mp4', Position(number, 2, 0.5, 1, (4, 8)), number == 3, state)

    streams, path = {f'stream {number}': one(number) for number in range(1, 13)}, tmp_path / 's.safetensors'
    save_streams(path, streams, 'a model')
    found = load_streams(path, {name: saved.source for name, saved in streams.items()}, 'a model')
    assert [saved._replace(state=None) for saved in found.values()] == [
        saved._replace(state=None) for saved in streams.values()
    ]
    assert [int(saved.state.frames) for saved in found.values()] == [*range(1, 13)]


# Sinks


def test_a_sink_outside_its_block_is_refused(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    runner = StreamRunner(inferencer, [coded(0)])
    sinks = VideoSink(tmp_path / 'a.mp4'), RawSink(tmp_path / 'raw', inferencer.tasks), MjpegPage()
    for sink in sinks:
        with pytest.raises(ValueError, match=f'with {type(sink).__name__}'):
            runner.run(sink)
    with sinks[0]:
        pass
    with pytest.raises(ValueError, match='with VideoSink'):
        runner.run(sinks[0])
    # The runner has not run, and pictures need no block.
    runner.run(PanelSink(tmp_path / 'panels'))
    assert len(list((tmp_path / 'panels' / 'frames').iterdir())) == 1
    with pytest.raises(ValueError, match='has run; make a new one'):
        runner.run()


def test_a_sink_is_told_of_the_end_of_each_stream(inferencer: MultiTaskInferencer) -> None:
    ended = []

    class Ends(StreamSink):
        def write(self, frame: StreamFrame) -> None:
            pass

        def end(self, stream: StreamInfo) -> None:
            ended.append(stream.name)

    StreamRunner(inferencer, {'a': [coded(0)], 'b': [coded(0)] * 2}).run(Ends())
    assert sorted(ended) == ['a', 'b']


def test_a_function_never_runs_twice_at_the_same_time(inferencer: MultiTaskInferencer) -> None:
    busy = threading.Lock()

    def alone(frame: StreamFrame) -> None:
        assert busy.acquire(blocking=False)
        time.sleep(0.01)
        busy.release()

    StreamRunner(inferencer, {name: map(coded, range(4)) for name in 'abc'}).run(alone)


def test_sinks_share_one_drawing(
    inferencer: MultiTaskInferencer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, shown = [], {}
    panel = inferencer.panel
    monkeypatch.setattr(inferencer, 'panel', lambda *args, **kw: (drawn.append(kw['mark']), panel(*args, **kw))[1])
    sources = {'a': map(coded, range(3)), 'b': map(coded, range(3))}
    with VideoSink(tmp_path / 'films') as films, PanelSink(tmp_path / 'films') as panels:
        StreamRunner(inferencer, sources).run(
            films, panels, lambda frame: shown.update({f'{frame.stream.name}/{frame.number:06d}.png': frame.panel})
        )
    assert sorted(drawn) == [False] * 4 + [True] * 2, 'key frames are marked'
    assert len(shown) == 6
    for path, expected in shown.items():
        np.testing.assert_array_equal(read_image(tmp_path / 'films' / path)[..., ::-1], expected)
    assert sorted(path.name for path in (tmp_path / 'films').iterdir()) == ['a', 'a.mp4', 'b', 'b.mp4']
    with pytest.raises(ValueError, match=r'one\.mp4'), VideoSink(tmp_path / 'one.mp4') as film_:
        StreamRunner(inferencer, {'a': [coded(0)], 'b': [coded(0)]}).run(film_)


def test_sinks_cannot_change_what_the_others_get(inferencer: MultiTaskInferencer) -> None:
    arrays = []

    def draw(frame: StreamFrame) -> None:
        shared = (frame.image, frame.panel, *frame.maps.values())
        arrays.extend(shared)
        for array in shared:
            with pytest.raises(ValueError, match='read-only'):
                array[:] = 0
            array.copy()[:] = 0

    StreamRunner(inferencer, {'a': [coded(0)]}).run(draw)
    assert len(arrays) == 2 + len(inferencer.tasks)


def test_sources_are_not_overwritten(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    video = tmp_path / 'cams' / 'front.mp4'
    video.parent.mkdir()
    with VideoWriter(video, 10) as writer:
        writer.write(np.zeros((32, 64, 3), np.uint8))
    frames, before = folder(tmp_path / 'cams' / 'rear', range(3)), video.read_bytes()
    runner = StreamRunner(inferencer, [video, frames])
    for sink, what in ((VideoSink(video.parent), r'front\.mp4'), (PanelSink(video.parent), 'rear')):
        with sink, pytest.raises(ValueError, match=rf'{what}: an output that is the input'):
            runner.run(sink)
    numbered = StreamRunner(inferencer, {'rear': str(frames / '%03d.png')})
    with pytest.raises(ValueError, match='rear: an output that is the input'):
        numbered.run(PanelSink(video.parent))
    assert video.read_bytes() == before and len(list(frames.iterdir())) == 3
    with VideoSink(tmp_path / 'films') as films:  # the runner can still run
        runner.run(films)


def test_memory_does_not_grow(inferencer: MultiTaskInferencer) -> None:
    """However far the sinks are behind, few frames wait."""
    alive: set[int] = set()
    most = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal most
        for number in range(40):
            alive.add(number)
            most = max(most, len(alive))
            yield coded(number)

    def slow(frame: StreamFrame) -> None:
        time.sleep(0.01)
        alive.discard(frame.number)

    StreamRunner(inferencer, frames(), buffer=2).run(slow)
    # Read, two that wait, in the model, two that wait, in the sink.
    assert not alive and most <= 8


def test_videos_of_two_streams_have_files_of_their_own(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    """The second stream has the name under which the first one goes on where its frames change their size."""
    wide = [np.zeros((32, 96, 3), np.uint8)] * 2
    with VideoSink(tmp_path / 'films') as films:
        for name, frames in (('a', [*[np.zeros((32, 64, 3), np.uint8)] * 2, *wide]), ('a-000002', wide)):
            StreamRunner(inferencer, {name: frames}, on_resize='new_state').run(films.write)
            films.end(StreamInfo(name, 25.0, None, live=False, start=0))
    assert sorted(path.name for path in (tmp_path / 'films').iterdir()) == ['a-000002-2.mp4', 'a-000002.mp4', 'a.mp4']


def test_mean_and_quantiles_of_a_stage() -> None:
    times = StageTimes()
    assert (times.mean, times.quantile(0.5)) == (0.0, 0.0)
    for seconds in (9.0, 1.0, 4.0, 1.0):
        times.add(seconds)
    assert times.mean == 2.0  # without the first
    assert [times.quantile(share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 4.0, 9.0, 9.0]


def test_an_earlier_connection_that_lost_frames_counts() -> None:
    record = StreamRecord()
    record.add('10 frames', '', whole=True)
    record.add('9 frames, 3 damaged', 'some', whole=False)
    record.add('5 frames', '', whole=True)
    assert (record.summary, record.missing, record.whole) == ('9 frames, 3 damaged; 5 frames', 'some', False)


def test_times_of_the_stages(inferencer: MultiTaskInferencer, monkeypatch: pytest.MonkeyPatch) -> None:
    now, steps, step = 0.0, 0, inferencer.step_fitted

    def spend(seconds: float) -> None:
        nonlocal now
        now += seconds

    def slow(fitted: Any, state: Any) -> Any:
        nonlocal steps
        steps += 1
        spend(1.0)
        return step(fitted, state)

    clock = SimpleNamespace(perf_counter=lambda: now, monotonic=time.monotonic)
    for module in ('runner', 'source', 'writer'):
        monkeypatch.setattr(f'mmmtl.apis.streaming.{module}.time', clock)
    monkeypatch.setattr(inferencer, 'step_fitted', slow)
    record = StreamRunner(inferencer, [coded(0)]).run(lambda frame: spend(10.0))['frames']
    expected = dict(decode=0, wait=0, infer=1, write=10, latency=11)
    assert {name: times.total for name, times in record.stages.items()} == expected
    steps = 0
    records = StreamRunner(inferencer, {name: map(coded, range(4)) for name in 'abc'}).run()
    share = sum(record.stages['infer'].total for record in records.values())
    assert share == pytest.approx(steps), 'the streams of a batch share its time'


def test_the_speed_of_each_kind_of_frame() -> None:
    model = {'key': StageTimes(), 'non_key': StageTimes()}
    for kind, times in (('key', [9.0, 0.5, 0.5]), ('non_key', [9.0, *[0.25] * 4])):
        for seconds in times:
            model[kind].add(seconds)
    # 3 frames of 0.5 s and 5 of 0.25 s.
    assert re.findall(r'(\d+), ([\d.]+) frames/s', speed_report(model)) == [('3', '2.0'), ('5', '4.0'), ('8', '2.9')]
