"""Sources of streams: files, folders, frames in memory, and cameras that come and go."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmmtl.apis import MultiTaskInferencer, StreamRunner
from mmmtl.apis.streaming import VideoSink
from mmmtl.apis.streaming.source import name_sources
from mmmtl.io import VideoReader

from .conftest import SIZE, Camera, Collected, assert_same, coded, film, folder, number_of


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


def test_a_pipeline_longer_than_a_file_name(inferencer: MultiTaskInferencer) -> None:
    pipeline = ' ! '.join(['videotestsrc', *['videoconvert'] * 30, 'nothing'])
    with pytest.raises(ValueError, match='videotestsrc'):
        StreamRunner(inferencer, {'a': pipeline}).run()
