"""Streaming: frame by frame with a state that the caller keeps, the same numbers as whole clips."""

from __future__ import annotations

import io

import pytest
import torch

from mmmtl.models.segmentors.frame_kinds import frame_kind
from mmmtl.structures import StreamState

FRAMES = 13


@pytest.fixture(autouse=True)
def _no_gradient():
    with torch.no_grad():
        yield


def run(model, video, state=None):
    """Logits of every frame of streams (T, N, 3, H, W), and the state after them."""
    outputs = []
    for frames in video:
        logits, _, state = model.step(frames, state)
        outputs.append(logits)
    return outputs, state


def row(logits, index):
    return {name: value[index : index + 1] for name, value in logits.items()}


@pytest.mark.parametrize('interval', [1, 2, 5])
def test_a_stream_equals_its_clips(tiny, interval, neck):
    model = tiny.video_model(interval=interval, neck=neck)
    video = tiny.pixels(FRAMES, 1, 3, *tiny.SIZE)
    outputs, _ = run(model, video)
    seen = set()
    for time, logits in enumerate(outputs):
        clip, sample = tiny.clip_at(video[:, 0], time, interval)
        tiny.assert_same(logits, model.logits(clip[None], [sample]))
        seen.add((sample.offset, sample.slots))
    assert {offset for offset, _ in seen} == set(range(interval))
    # This includes the beginning, where frames stand for their own past.
    assert len(seen) == {1: 1, 2: 4, 5: 7}[interval]


@pytest.mark.parametrize('interval', [1, 2, 5])
def test_a_stream_equals_its_clips_in_one_batch(tiny, interval):
    model = tiny.video_model(interval=interval)
    video = tiny.pixels(FRAMES, 1, 3, *tiny.SIZE)
    outputs, _ = run(model, video)
    made = [tiny.clip_at(video[:, 0], time, interval) for time in range(FRAMES)]
    batch = model.logits(torch.stack([clip for clip, _ in made]), [sample for _, sample in made])
    streamed = {name: torch.cat([logits[name] for logits in outputs]) for name in outputs[0]}
    tiny.assert_same(streamed, batch)


def test_what_was_seen_matters_to_the_right_frames(tiny):
    """Propagation is not an accident of equal numbers: a frame changes those that read it, and no others."""
    model = tiny.video_model(interval=5)
    video = tiny.pixels(FRAMES, 1, 3, *tiny.SIZE)
    reference, _ = run(model, video)
    for changed, readers in {5: {6, 7, 8, 9}, 7: {8}, 9: {10, 11}}.items():
        other = video.clone()
        other[changed] += 1
        outputs, _ = run(model, other)
        differs = {t for t in range(FRAMES) if not torch.equal(outputs[t]['depth'], reference[t]['depth'])}
        assert differs == {changed} | readers


def test_streams_at_different_phases_equal_each_alone(tiny, neck):
    model = tiny.video_model(interval=3, neck=neck)
    video = tiny.pixels(10, 3, 3, *tiny.SIZE)
    # Row 1 begins anew at frame 2, row 2 at frame 4.
    _, state = run(model, video[:2])
    first, state = run(model, video[2:4], state.reset([1]))
    second, state = run(model, video[4:], state.reset(torch.tensor([False, False, True])))
    together = [*first, *second]
    assert state.frames.tolist() == [10, 8, 6]
    phases = {tuple((2 + t - start) % 3 for start in (0, 2, 4)) for t in range(2, 8)}
    assert any(len(set(phase)) > 1 for phase in phases)
    alone, _ = run(model, video[:, :1])
    for t, logits in enumerate(together):
        tiny.assert_same(row(logits, 0), alone[2 + t])
    alone, _ = run(model, video[2:, 1:2])
    for t, logits in enumerate(together):
        tiny.assert_same(row(logits, 1), alone[t])
    alone, _ = run(model, video[4:, 2:])
    for t, logits in enumerate(second):
        tiny.assert_same(row(logits, 2), alone[t])


def test_a_reset_row_is_a_new_stream_and_the_others_go_on(tiny, neck):
    model = tiny.video_model(neck=neck)
    video = tiny.pixels(7, 2, 3, *tiny.SIZE)
    _, state = run(model, video[:3])
    fresh = state.reset([0])
    assert state.frames.tolist() == [3, 3], 'a state is never changed in place'
    assert fresh.frames.tolist() == [0, 3]
    outputs, _ = run(model, video[3:], fresh)
    went_on, _ = run(model, video[3:], state)
    anew, _ = run(model, video[3:, :1])
    for got, continued, new in zip(outputs, went_on, anew, strict=True):
        tiny.assert_same(row(got, 0), new)
        tiny.assert_same(row(got, 1), row(continued, 1))
    assert not torch.allclose(outputs[0]['depth'][0], went_on[0]['depth'][0])


def test_selected_rows_go_on_in_their_new_order(tiny):
    model = tiny.video_model(interval=2)
    video = tiny.pixels(7, 3, 3, *tiny.SIZE)
    _, state = run(model, video[:2])
    _, state = run(model, video[2:3], state.reset([1]))
    expected, _ = run(model, video[3:], state)
    order = [2, 0, 1, 2]
    outputs, after = run(model, video[3:, order], state.select(order))
    assert after.frames.tolist() == [7, 7, 5, 7]
    for got, full in zip(outputs, expected, strict=True):
        tiny.assert_same(got, {name: value[order] for name, value in full.items()})
    mask = torch.tensor([False, True, False])
    outputs, _ = run(model, video[3:, mask], state.select(mask))
    for got, full in zip(outputs, expected, strict=True):
        tiny.assert_same(got, row(full, 1))


@pytest.mark.parametrize('frames', [0, 1, 4])
def test_a_saved_state_goes_on_identically(tiny, neck, frames):
    model = tiny.video_model(interval=3, neck=neck)
    video = tiny.pixels(7, 2, 3, *tiny.SIZE)
    state = run(model, video[:frames])[1] if frames else StreamState.new(2)
    file = io.BytesIO()
    torch.save(state.state_dict(), file)
    file.seek(0)
    loaded = StreamState.from_state_dict(torch.load(file, weights_only=True))
    assert loaded.resolution == (tiny.SIZE if frames else None)
    expected, _ = run(model, video[frames:], state)
    outputs, _ = run(model, video[frames:], loaded)
    for got, wanted in zip(outputs, expected, strict=True):
        tiny.assert_same(got, wanted, rtol=0, atol=0)


def test_nothing_is_kept_on_the_model(tiny):
    model = tiny.video_model()
    video = tiny.pixels(4, 2, 3, *tiny.SIZE)
    expected, _ = run(model, video)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run(model, tiny.pixels(3, 5, 3, 16, 16, seed=1))
    again, _ = run(model, video)
    for got, wanted in zip(again, expected, strict=True):
        tiny.assert_same(got, wanted, rtol=0, atol=0)
    tiny.assert_same(model.state_dict(), before, rtol=0, atol=0)


def test_the_memory_of_the_paper(tiny):
    """Features after squeeze-excitation and h of them, for each task, of the last key and last non-key frame."""
    _, state = run(tiny.video_model(), tiny.pixels(3, 2, 3, *tiny.SIZE))
    shapes = {}
    for task in tiny.TASKS:
        shapes[f'{task}.features'] = (2, tiny.CHANNELS, 6, 8)
        shapes[f'{task}.embedding'] = (2, 4, 6, 8)
    for memory in (state.key, state.non_key):
        assert {name: tuple(tensor.shape) for name, tensor in memory.items()} == shapes


def test_predictions_are_decoded_logits_at_the_size_of_the_frames(tiny):
    model = tiny.video_model()
    video = tiny.pixels(3, 2, 3, *tiny.SIZE)
    state = None
    for frames in video:
        logits, _, state = model.step(frames, state)
        decoded = model.decode(logits, tiny.SIZE)
        assert len(decoded) == 2
        for row, maps in enumerate(decoded):
            assert {name: tuple(maps.get(name).shape) for name in maps.keys()} == {  # noqa: SIM118
                'semseg': (1, *tiny.SIZE),
                'depth': (1, *tiny.SIZE),
                'normals': (3, *tiny.SIZE),
            }
            for name, task in model.tasks.items():
                full = torch.nn.functional.interpolate(logits[name].float(), tiny.SIZE, mode='bilinear')
                torch.testing.assert_close(maps.get(name), task.decode(full)[row])
            assert maps.semseg.dtype == torch.int64
            torch.testing.assert_close(maps.normals.norm(dim=0), torch.ones(tiny.SIZE))


def test_a_wrong_number_of_streams_is_refused(tiny):
    model = tiny.video_model()
    _, state = run(model, tiny.pixels(1, 2, 3, *tiny.SIZE))
    with pytest.raises(ValueError, match=r'\b3\b.*\b2\b'):
        model.step(tiny.pixels(3, 3, *tiny.SIZE), state)
    with pytest.raises(ValueError, match=r'\b2\b.*\b0\b'):
        model.step(tiny.pixels(2, 3, *tiny.SIZE), StreamState.new(0))


def test_a_change_of_resolution_is_refused(tiny, neck):
    model = tiny.video_model(neck=neck)
    _, state = run(model, tiny.pixels(1, 2, 3, 24, 32))
    with pytest.raises(ValueError, match=r'\(32, 24\).*\(24, 32\)'):
        model.step(tiny.pixels(2, 3, 32, 24), state)
    model.step(tiny.pixels(2, 3, 32, 24), None)


@pytest.mark.parametrize('shape', [(3, 24, 32), (1, 3, 3, 24, 32), (0, 3, 24, 32)])
def test_what_is_no_batch_of_frames_is_refused(tiny, shape):
    for model in (tiny.video_model(), tiny.image_model()):
        with pytest.raises(ValueError, match='frames must be'):
            model.step(tiny.pixels(*shape))


def test_each_row_says_whether_it_is_a_key_frame(tiny):
    model = tiny.video_model(interval=3)
    state, found = None, []
    for time, frames in enumerate(tiny.pixels(7, 2, 3, *tiny.SIZE)):
        if time == 2:
            state = state.reset([1])
        is_key, state = model.step(frames, state)[1:]
        assert (is_key.dtype, is_key.shape, is_key.device.type) == (torch.bool, (2,), 'cpu')
        found.append(is_key.tolist())
    assert [time for time, (first, _) in enumerate(found) if first] == [0, 3, 6]
    assert [time for time, (_, second) in enumerate(found) if second] == [0, 2, 5]
    assert state.key_frames.tolist() == [3, 2]


def test_each_frame_has_one_of_the_kinds_of_its_model(tiny):
    for interval, kinds in ((1, ['key'] * 3), (2, ['key', 'non_key', 'key'])):
        model, state, found = tiny.video_model(interval=interval), None, []
        for frames in tiny.pixels(3, 1, 3, *tiny.SIZE):
            _, is_key, state = model.step(frames, state)
            found.append(frame_kind(model, bool(is_key)))
        assert found == kinds and tuple(dict.fromkeys(found)) == model.frame_kinds
    model = tiny.image_model()
    assert (frame_kind(model, False),) == model.frame_kinds == ('image',)


def test_an_image_model_streams_each_frame_alone(tiny):
    """The same loop and state, but the state holds nothing of the past."""
    model = tiny.image_model()
    video = tiny.pixels(5, 3, 3, *tiny.SIZE)
    outputs, state = run(model, video[:3])
    more, state = run(model, video[3:], state.reset([1]).select([2, 1, 0]))
    for frames, logits in zip(video, [*outputs, *more], strict=True):
        tiny.assert_same(logits, model.logits(frames), rtol=0, atol=0)
    result = model.step(video[0], StreamState.from_state_dict(state.state_dict()))
    assert (result.is_key.dtype, result.is_key.tolist()) == (torch.bool, [False] * 3)
    assert result.state.frames.tolist() == [6, 3, 6]
    assert result.state.key_frames.tolist() == [0, 0, 0]
    assert result.state.key == result.state.non_key == result.state.policy == {}
    with pytest.raises(ValueError, match=r'\b2\b.*\b3\b'):
        model.step(video[0, :2], state)
    assert model.step(tiny.pixels(3, 3, 16, 16), state).state.resolution is None


def test_half_precision_streams(tiny):
    model = tiny.video_model().float()
    video = tiny.pixels(7, 2, 3, *tiny.SIZE).float()
    expected, _ = run(model, video)
    with torch.autocast('cpu', torch.bfloat16):
        outputs, _ = run(model, video)
    for got, wanted in zip(outputs, expected, strict=True):
        for name in wanted:
            assert (got[name].float() - wanted[name]).std() < 0.2 * wanted[name].std()
