"""Times of the kinds of frames: what runs, in which order, and what the numbers become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mmmtl.apis import MultiTaskInferencer
from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.segmentors.frame_kinds import frame_runs
from mmmtl.profiling.latency import (
    Latency,
    average_milliseconds,
    latency_table,
    measure_latency,
    prediction_steps,
    report,
)
from mmmtl.structures import FrameResult

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
SIZE = (32, 64)


def build(name: str, **options: Any) -> MultiTaskSegmentor:
    from mmengine.config import Config

    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.merge_from_dict(options)
    return MultiTaskInferencer(cfg, device='cpu').model


@pytest.fixture(scope='module')
def video() -> MultiTaskSegmentor:
    return build('tiny_video')


def test_what_each_kind_of_frame_reads(video: Any) -> None:
    with torch.no_grad():
        memories = video.steady_memories(torch.zeros(2, 3, *SIZE))
        kinds = frame_runs(video, torch.zeros(2, 3, *SIZE))
        assert {kind: [m is not None for m in read] for kind, read in memories.items()} == {
            'key': [False, True],
            'non_key': [True, True],
        }
        logits, remembered = kinds['non_key']()
        assert logits['depth'].shape == (2, 1, 4, 8)
        assert set(remembered) == set(memories['non_key'][0])
        every_frame, image = build('tiny_video', key_frame_interval=1), build('tiny_image')
        for model, names in ((video, ('key', 'non_key')), (every_frame, ('key',)), (image, ('image',))):
            assert tuple(frame_runs(model, torch.zeros(1, 3, *SIZE))) == model.frame_kinds == names


@pytest.mark.parametrize(('mode', 'batch'), [('stream', 1), ('stream', 2), ('clip', 2)])
def test_steps_end_with_decoded_maps(video: MultiTaskSegmentor, mode: Any, batch: int) -> None:
    steps = prediction_steps(video, SIZE, batch=batch, mode=mode)
    assert list(steps) == ['key', 'non_key']
    for step in steps.values():
        maps = step()
        assert [tuple(row.depth.shape) for row in maps] == [(1, *SIZE)] * batch
        assert maps[0].semseg.dtype == torch.int64
    key, other = (step()[0].normals for step in steps.values())  # an untrained depth may be all at its least
    assert not torch.equal(key, other)


def test_kinds_run_the_networks_that_are_theirs(video: Any) -> None:
    ran: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in (('slow', video.backbone), ('fast', video.fast_backbone))
    ]
    streams, clips = (prediction_steps(video, SIZE, mode=mode) for mode in ('stream', 'clip'))
    ran.clear()
    runs = {}
    for name, step in {**streams, **{f'clip {kind}': step for kind, step in clips.items()}}.items():
        step()
        runs[name] = ran.copy()
        ran.clear()
    for handle in handles:
        handle.remove()
    both = ['slow', 'fast']
    assert runs == {'key': ['slow'], 'non_key': ['fast'], 'clip key': both, 'clip non_key': both}


@pytest.mark.parametrize('interval', [1, 2, 5])
def test_streams_are_timed_with_their_policy_and_state(monkeypatch: pytest.MonkeyPatch, interval: int) -> None:
    video = build('tiny_video', key_frame_interval=interval)
    results: list[FrameResult] = []
    run = video.step
    monkeypatch.setattr(video, 'step', lambda *args: results.append(run(*args)) or results[-1])
    steps = prediction_steps(video, SIZE, batch=2)
    assert tuple(steps) == video.frame_kinds
    results.clear()
    for _ in range(2):
        for step in steps.values():
            step()
    expected = [('key', interval + 1)] if interval == 1 else [('key', interval + 1), ('non_key', interval + 2)]
    found = [('key' if all(r.is_key) else 'non_key', int(r.state.frames[0])) for r in results]
    assert found == expected * 2
    assert all(len(r.state) == 2 and all(r.state.has_non_key) == (interval > 1) for r in results)


def test_a_policy_without_an_interval_has_both_kinds() -> None:
    video = build('tiny_video', **{'model.key_frame_policy': dict(type='FrameChange', threshold=0.5)})
    assert video.key_frame_interval is None
    steps = prediction_steps(video, SIZE)
    assert list(steps) == ['key', 'non_key']
    assert all(step()[0].depth.shape == (1, *SIZE) for step in steps.values())


def test_images_are_timed_with_their_step(monkeypatch: pytest.MonkeyPatch) -> None:
    image = build('tiny_image')
    calls: list[int] = []
    run = image.step
    monkeypatch.setattr(image, 'step', lambda *args: calls.append(1) or run(*args))
    steps = prediction_steps(image, SIZE)
    calls.clear()
    assert [len(step()) for step in steps.values()] == [1]
    assert calls == [1]


def test_images_are_padded_as_in_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    image = build('tiny_image', **{'model.data_preprocessor': dict(size_divisor=32)})
    seen: list[tuple[int, ...]] = []
    run = image.step
    monkeypatch.setattr(image, 'step', lambda inputs, *args: seen.append(tuple(inputs.shape)) or run(inputs, *args))
    (step,) = prediction_steps(image, (33, 65)).values()
    assert tuple(step()[0].depth.shape) == (1, 33, 65)
    assert set(seen) == {(1, 3, 64, 96)}


def test_a_mode_that_does_not_suit_is_refused(video: MultiTaskSegmentor) -> None:
    with pytest.raises(ValueError, match="'image'.*VideoMultiTaskSegmentor.*'stream'"):
        prediction_steps(video, SIZE, mode='image')
    with pytest.raises(ValueError, match="'clip'.*MultiTaskSegmentor.*'image'"):
        prediction_steps(build('tiny_image'), SIZE, mode='clip')


def test_steps_take_turns_and_only_rounds_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmmtl.profiling.latency.peak_memory', lambda *_: None)
    now, ran = [0.0], []

    def step(name: str, seconds: float) -> None:
        ran.append(name)
        now[0] += seconds * (100 if len(ran) <= 4 else 1)  # the warm-up is slow

    found = measure_latency(
        {'key': lambda: step('key', 3.0), 'non_key': lambda: step('non_key', 1.0)},
        device='cpu',
        batch=4,
        rounds=3,
        warmup=2,
        clock=lambda: now[0],
    )
    assert ran == ['key', 'non_key'] * 5
    assert found == {'key': Latency((3.0,) * 3, 4), 'non_key': Latency((1.0,) * 3, 4)}
    assert found['key'].throughput == pytest.approx(4 / 3)


def test_the_peak_is_none_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        'mmmtl.profiling.latency.peak_memory', lambda *_: Path('/nowhere/self/clear_refs').write_text('5')
    )
    found = measure_latency({'image': lambda: None}, device='cpu', rounds=2, warmup=0)
    assert found['image'].peak is None
    assert len(found['image'].seconds) == 2


@pytest.mark.parametrize('device', ['mps', 'xpu:1'])
def test_other_accelerators_are_waited_for_and_have_no_peak(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    done: list[str] = []
    monkeypatch.setattr('torch.accelerator.synchronize', lambda which: done.append(f'waited for {which}'))
    found = measure_latency({'image': lambda: done.append('ran')}, device=device, rounds=2, warmup=0)
    assert done == [f'waited for {device}', 'ran', f'waited for {device}'] * 2
    assert found['image'].peak is None


def test_numbers_by_hand(video: MultiTaskSegmentor) -> None:
    found = {
        'key': Latency(tuple(i / 1000 for i in range(101)), peak=3_000_000),  # 0 to 100 ms
        'non_key': Latency((0.010, 0.020, 0.030)),
    }
    assert [found['key'].milliseconds(percent) for percent in (50, 95, 99)] == pytest.approx([50, 95, 99])
    assert average_milliseconds(found, 5) == pytest.approx((50 + 4 * 20) / 5)
    assert average_milliseconds(found, None) is None
    assert average_milliseconds({'key': found['key']}, 1) == pytest.approx(50)
    assert average_milliseconds({'image': found['key']}, None) is None
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in latency_table(found, 5).splitlines()[3:-1]]
    assert rows == [
        ['key', '50.00', '95.00', '99.00', '20.00', '3.0'],
        ['non-key', '20.00', '29.00', '29.80', '50.00', ''],
        ['average (K = 5)', '26.00', '', '', '38.46', ''],
    ]
    doubled = latency_table({kind: Latency(one.seconds, batch=2) for kind, one in found.items()}, 5).splitlines()[3:-1]
    assert [line.split('|')[5].strip() for line in doubled] == ['40.00', '100.00', '76.92']
    written = report(found, video)
    assert (written['key_frame_interval'], written['average_ms']) == (5, pytest.approx(26))
    assert written['frames']['non_key']['seconds'] == [0.010, 0.020, 0.030]
    key = written['frames']['key']
    assert [key[name] for name in ('median_ms', 'p95_ms', 'p99_ms', 'frames_per_second', 'peak_bytes')] == (
        pytest.approx([50, 95, 99, 20, 3_000_000])
    )
