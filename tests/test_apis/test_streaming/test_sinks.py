"""Sinks: what they are given, and what a failing one leaves."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmmtl.apis import MultiTaskInferencer, StreamRunner
from mmmtl.apis.streaming import MjpegPage, PanelSink, RawSink, StreamFrame, StreamInfo, StreamSink, VideoSink
from mmmtl.io import VideoReader, VideoWriter, read_image

from .conftest import SIZE, coded, folder


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


def test_frames_that_are_written_again_count_once(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    for append in (False, True):  # as after a kill, which left maps but no states
        with RawSink(tmp_path / 'raw', inferencer.tasks, append=append) as raw:
            StreamRunner(inferencer, {'drive': [coded(number) for number in range(3)]}).run(raw)
    assert json.loads((tmp_path / 'raw' / 'videos.json').read_text()) == {'drive': {'length': 3}}


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


def test_videos_of_two_streams_have_files_of_their_own(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    """The second stream has the name under which the first one goes on where its frames change their size."""
    wide = [np.zeros((32, 96, 3), np.uint8)] * 2
    with VideoSink(tmp_path / 'films') as films:
        for name, frames in (('a', [*[np.zeros((32, 64, 3), np.uint8)] * 2, *wide]), ('a-000002', wide)):
            StreamRunner(inferencer, {name: frames}, on_resize='new_state').run(films.write)
            films.end(StreamInfo(name, 25.0, None, live=False, start=0))
    assert sorted(path.name for path in (tmp_path / 'films').iterdir()) == ['a-000002-2.mp4', 'a-000002.mp4', 'a.mp4']
