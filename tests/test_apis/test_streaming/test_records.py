"""The record of a stream: the times of its stages, its speed, and the frames that it lost."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace
from typing import Any

import pytest

from mmmtl.apis import MultiTaskInferencer, StreamRunner
from mmmtl.apis.streaming.records import StageTimes, StreamRecord, speed_report

from .conftest import coded


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
