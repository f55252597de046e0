"""Streams that stop, by a call or a signal, and go on from saved states."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmmtl.apis import MultiTaskInferencer, StreamRunner
from mmmtl.apis.streaming import RawSink, StreamFrame, VideoSink
from mmmtl.apis.streaming.source import Position
from mmmtl.apis.streaming.states import SavedStream, load_streams, save_streams
from mmmtl.io import VideoReader
from mmmtl.io.safetensors import read_safetensors, write_safetensors
from mmmtl.structures import StreamState

from .conftest import Camera, Collected, assert_same, coded, film, folder


@pytest.mark.parametrize('on_resize', ['error', 'new_state'])
def test_a_source_that_has_another_size_after_a_stop(
    on_resize: Any,
    inferencer: MultiTaskInferencer,
    camera: type[Camera],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # More frames than can wait, or the camera would be opened again before the stop.
    camera.connections = [range(100), range(20, 23), None]
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


def test_a_place_where_no_states_can_be_written(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match=r's\.safetensors.*file'):
        StreamRunner(inferencer, [coded(0)], resume=tmp_path / 'file' / 's.safetensors')


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
