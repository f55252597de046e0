"""Running streams: every frame once, in its place, whatever the others do."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmmtl.apis import MultiTaskInferencer, StreamRunner
from mmmtl.apis.streaming import StreamFrame, StreamSink

from .conftest import CONFIG, Collected, coded, film, folder, number_of


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


def test_an_image_model_has_no_key_frames() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        images, found = MultiTaskInferencer(CONFIG.with_name('tiny_image.py'), device='cpu'), Collected()
    record = StreamRunner(images, map(coded, range(2))).run(found)['frames']
    assert [(frame.kind, frame.since_key) for frame in found.frames['frames']] == [('image', None)] * 2
    assert {kind: times.count for kind, times in record.model.items()} == {'image': 2}


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
