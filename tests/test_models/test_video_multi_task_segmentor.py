"""The video model on clips: equivalences, losses, training and costs; streams are tested in test_stream.py."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmmtl.config import resolve
from mmmtl.models.necks import ILANeck
from mmmtl.registry import MODELS

CONFIGS = Path(__file__).parents[2] / 'configs'
MIXED = [0, 1, 2, 4]
LOSSES = ['semseg.loss_ce', 'depth.loss_l1', 'normals.loss_l1', 'align.loss_l1', 'align.loss_adversarial']


def no_grad_logits(model, clips, samples):
    with torch.no_grad():
        return model.logits(clips, samples)


def statistics(module):
    return {name: tensor.clone() for name, tensor in module.named_buffers()}


def gradients(model, losses):
    model.zero_grad()
    model.parse_losses(losses)[0].backward()
    return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


# --- equivalences ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('offset', 'encoder'), [(0, 'backbone'), (3, 'fast_backbone')])
def test_without_propagation_it_is_the_image_model(tiny, offset, encoder):
    video = tiny.video_model(neck=dict(type='NoPropagationNeck', task_specific=True, reduction=2))
    image = tiny.image_model(backbone=dict(type=tiny.TinyNet, hidden=6 if offset == 0 else 4))
    weights = {}
    for name, tensor in video.state_dict().items():
        if name.startswith(f'{encoder}.'):
            weights[name.replace(encoder, 'backbone', 1)] = tensor
        elif name.startswith('decode_head.fuse'):
            weights[name] = tensor[:, : tiny.CHANNELS]
        elif name.startswith(('neck.excite', 'decode_head.predict')):
            weights[name] = tensor
    image.load_state_dict(weights)
    clips, samples = tiny.clips(3), tiny.clip_samples([offset] * 3)
    expected = image(clips[:, 2])
    tiny.assert_same(video.logits(clips, samples), expected)
    shown = [image(clips[:, 2], samples, mode=mode) for mode in ('loss', 'predict')]
    losses = video(clips, samples, mode='loss')
    tiny.assert_same({name: losses[name] for name in shown[0]}, shown[0])
    for got, wanted in zip(video(clips, samples, mode='predict'), shown[1], strict=True):
        assert torch.equal(got.pred.depth, wanted.pred.depth)


class OffsetNeck(ILANeck):
    """A neck with slots that are not zero where the memory is zero."""

    def propagate(self, *args: Any) -> dict[str, Tensor]:
        return {branch: slot + 1 for branch, slot in super().propagate(*args).items()}


def test_zeros_for_missing_slots_equal_skipped_slots(tiny, neck):
    """The path of training, for a model whose batch norms are in eval mode, gives the numbers of the other path."""
    check_that_zeros_equal_skipped_slots(tiny.video_model(neck=neck), tiny)


def test_what_a_neck_makes_of_nothing_is_set_to_zero(tiny):
    check_that_zeros_equal_skipped_slots(tiny.video_model(neck=dict(type=OffsetNeck)), tiny)


def check_that_zeros_equal_skipped_slots(model, tiny):
    clips, samples = tiny.clips(5), tiny.clip_samples([0, 0, 1, 2, 4])
    skipped, skipped_losses = model.logits(clips, samples), model.loss(clips, samples)
    model.training = True  # of the segmentor alone
    assert not model.decode_head.training
    filled, filled_losses = model.logits(clips, samples), model.loss(clips, samples)
    tiny.assert_same(filled, skipped)
    tiny.assert_same(filled_losses, skipped_losses)
    ours, theirs = gradients(model, filled_losses), gradients(model, skipped_losses)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], msg=lambda m, n=name: f'{n}: {m}')


def test_a_batch_equals_its_rows(tiny, neck):
    model = tiny.video_model(neck=neck)
    clips, samples = tiny.clips(5), tiny.clip_samples([0, 1, 2, 4, 0])
    rows = [no_grad_logits(model, clips[row : row + 1], samples[row : row + 1]) for row in range(5)]
    together = no_grad_logits(model, clips, samples)
    tiny.assert_same(together, {name: torch.cat([row[name] for row in rows]) for name in rows[0]})


def test_one_task_equals_the_multi_task_model_with_that_task(tiny):
    full = tiny.video_model()
    clips, samples = tiny.clips(4), tiny.clip_samples(MIXED)
    logits, losses = full.logits(clips, samples), full(clips, samples, mode='loss')
    for name in tiny.TASKS:
        single = tiny.video_model({name: tiny.TASKS[name]})
        assert single.load_state_dict(full.state_dict(), strict=False).missing_keys == []
        tiny.assert_same(single.logits(clips, samples), {name: logits[name]}, rtol=0, atol=0)
        own = {key: value for key, value in losses.items() if key.startswith((name, 'align'))}
        tiny.assert_same(single(clips, samples, mode='loss'), own, rtol=0, atol=0)


@pytest.mark.parametrize('neck', [{}, dict(task_specific=False)])
def test_permuted_tasks_permute_the_outputs(tiny, neck):
    model = tiny.video_model(neck=neck)
    clips, samples = tiny.clips(4), tiny.clip_samples(MIXED)
    logits = model.logits(clips, samples)
    order = ['normals', 'semseg', 'depth']
    other = tiny.video_model({name: tiny.TASKS[name] for name in order}, neck=neck)
    other.load_state_dict(model.state_dict())
    tiny.assert_same(other.logits(clips, samples), logits, rtol=0, atol=0)


def test_the_encoders_of_the_slots(tiny):
    """Slow on key frames, fast on the others: each slot's features are those of the right network."""
    model = tiny.video_model()
    clips = tiny.clips(2)
    samples = tiny.clip_samples([0, 2])
    neck, fuse = model.neck, lambda slots: model.decode_head(slots).logits
    with torch.no_grad():
        slow, fast = (lambda x: model.backbone(x)[-1]), (lambda x: model.fast_backbone(x)[-1])
        key_row = neck(neck.remember(slow(clips[:1, 2]), None), None, neck.remember(fast(clips[:1, 1]), None))
        other_row = neck(*(neck.remember(f(clips[1:, i]), None) for f, i in ((fast, 2), (slow, 0), (fast, 1))))
        expected = {name: torch.cat([fuse(key_row)[name], fuse(other_row)[name]]) for name in sorted(tiny.TASKS)}
    tiny.assert_same(no_grad_logits(model, clips, samples), expected)


def test_a_frame_stands_for_its_own_past_at_the_beginning(tiny):
    """The first frame reads its own fast features, the second the first one's slow and its own fast ones."""
    model = tiny.video_model()
    neck, video = model.neck, tiny.pixels(2, 1, 3, *tiny.SIZE)
    with torch.no_grad():
        slow, fast = (neck.remember(network(video[0])[-1], None) for network in (model.backbone, model.fast_backbone))
        second = neck.remember(model.fast_backbone(video[1])[-1], None)
        expected = [model.decode_head(neck(*read)).logits for read in ((slow, None, fast), (second, slow, second))]
        first = model.step(video[0])
        found = [first.logits, model.step(video[1], first.state).logits]
    for got, wanted in zip(found, expected, strict=True):
        tiny.assert_same(got, wanted)


@pytest.mark.parametrize(
    ('neck', 'offset', 'read'),
    [
        ({}, 0, {1, 2}),
        ({}, 2, {0, 1, 2}),
        (dict(multi_frame=False), 0, {2}),
        (dict(multi_frame=False), 2, {0, 2}),
        (dict(type='FlowWarpNeck', flow=dict(type='DISFlow')), 0, {2}),
        (dict(type='FlowWarpNeck', flow=dict(type='DISFlow')), 2, {0, 2}),
        (dict(type='SVCNeck', multi_frame=True), 0, {1, 2}),
        (dict(type='ConcatNeck'), 2, {0, 2}),
        (dict(type='NoPropagationNeck'), 2, {2}),
    ],
)
def test_which_frames_of_a_clip_are_read(tiny, neck, offset, read):
    """This also holds in training."""
    model = tiny.video_model(neck=neck)
    clips, samples = tiny.clips(2), tiny.clip_samples([offset] * 2)
    for training in (False, True):
        model.train(training)
        reference = no_grad_logits(model, clips, samples)
        for slot in range(3):
            other = clips.clone()
            other[:, slot] += 1
            logits = no_grad_logits(model, other, samples)
            changed = any(not torch.equal(logits[name], reference[name]) for name in tiny.TASKS)
            assert changed == (slot in read), (training, slot)


@pytest.mark.parametrize('neck', [{}, dict(multi_frame=False)])
def test_what_is_not_read_is_not_looked_at(tiny, neck):
    """NaN there harms neither predictions nor training, the running statistics included."""
    model = tiny.video_model(neck=neck)
    offsets = [0, 0, 2, 4]
    clips, samples = tiny.clips(4), tiny.clip_samples(offsets)
    for row, offset in enumerate(offsets):
        reads = (model.neck.reads_key(offset == 0), model.neck.reads_non_key(offset == 0))
        for slot in range(2):
            if not reads[slot]:
                clips[row, slot] = float('nan')
    assert clips.isnan().any()
    assert all(value.isfinite().all() for value in no_grad_logits(model, clips, samples).values())
    found = gradients(model.train(), model(clips, samples, mode='loss'))
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert all(buffer.isfinite().all() for buffer in model.buffers())


def test_a_state_dict_round_trip(tiny, tmp_path):
    model = tiny.video_model()
    clips, samples = tiny.clips(4), tiny.clip_samples(MIXED)
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    other = tiny.scramble(tiny.video_model(), seed=1)
    other.load_state_dict(torch.load(tmp_path / 'weights.pth', weights_only=True))
    expected = no_grad_logits(model, clips, samples)
    tiny.assert_same(no_grad_logits(other, clips, samples), expected, rtol=0, atol=0)


# --- losses and training -----------------------------------------------------------------------------------------


def test_the_names_of_the_losses_and_what_they_change(tiny):
    clips, samples = tiny.clips(4), tiny.clip_samples(MIXED)
    for mode, more in {'grl': [], 'alternating': ['align.loss_discriminator']}.items():
        model = tiny.video_model(align=dict(mode=mode)).train()
        losses = model(clips, samples, mode='loss')
        assert set(losses) == {*LOSSES, *more, 'align.discriminator_accuracy'}
        total = model.parse_losses(losses)[0].item()
        for key, value in losses.items():
            changed = model.parse_losses({**losses, key: value + 1})[0].item()
            assert changed == pytest.approx(total + (0 if key == 'align.discriminator_accuracy' else 1)), key
    without = tiny.video_model(align_loss=None).train()
    assert list(without(clips, samples, mode='loss')) == LOSSES[:3]


def test_the_align_loss_compares_the_networks_on_current_frames_that_are_no_key_frames(tiny):
    model = tiny.video_model()
    clips, samples = tiny.clips(4), tiny.clip_samples([2, 0, 4, 1])
    with torch.no_grad():
        losses = model(clips, samples, mode='loss')
        frames = clips[[0, 2, 3], 2]
        slow, fast = model.backbone(frames)[-1], model.fast_backbone(frames)[-1]
        torch.testing.assert_close(losses['align.loss_l1'], (slow - fast).abs().mean())
        expected = model.align_loss(slow, fast).named('align.')
    tiny.assert_same({name: losses[name] for name in expected}, expected)


def test_every_parameter_gets_a_gradient(tiny, neck):
    model = tiny.video_model(neck=neck).train()
    found = gradients(model, model(tiny.clips(4), tiny.clip_samples(MIXED), mode='loss'))
    assert len(found) > 20
    bad = [
        n for n, gradient in found.items() if gradient is None or not gradient.isfinite().all() or not gradient.any()
    ]
    assert bad == []


def test_the_configured_tiny_model_trains(tiny):
    """Two ResNet-18 of mmseg, as `make demo` trains them."""
    cfg = resolve(Config.fromfile(CONFIGS / 'mila' / 'mila_tiny-k5_1xb8-demo_synthetic-64x128.py'))
    cfg.model.tasks = tiny.TASKS
    model = MODELS.build(cfg.model).train()
    inputs = list(torch.randint(0, 256, (3, 3, 3, 64, 64), dtype=torch.uint8))
    data = dict(inputs=inputs, data_samples=tiny.clip_samples([0, 1, 3], size=(64, 64)))
    data = model.data_preprocessor(data, True)
    found = gradients(model, model(**data, mode='loss'))
    bad = [name for name, gradient in found.items() if gradient is None or not gradient.isfinite().all()]
    assert bad == []


@pytest.mark.parametrize('offsets', [[0, 0, 0], [1, 2, 4], [0], [3]])
def test_batches_of_one_kind_train(tiny, neck, offsets):
    """A network that no frame needs is not run, which batch norm would refuse; the rest gets its gradient."""
    model = tiny.video_model(neck=neck).train()
    losses = model(tiny.clips(len(offsets)), tiny.clip_samples(offsets), mode='loss')
    assert set(LOSSES) <= set(losses)
    assert ('align.discriminator_accuracy' in losses) == any(offsets)
    if not any(offsets):
        assert [losses[name].item() for name in LOSSES[3:]] == [0.0, 0.0]
    found = gradients(model, losses)
    unused = {name.split('.')[0] for name, gradient in found.items() if gradient is None}
    expected = {'backbone'} if any(offsets) and not model.neck.reads_key(False) else set()
    if not any(offsets) and not model.neck.reads_non_key(True):
        expected = {'fast_backbone'}
    assert unused == expected
    assert all(gradient.isfinite().all() for gradient in found.values() if gradient is not None)


def test_the_aligning_slow_pass_leaves_the_running_statistics_alone(tiny):
    model = tiny.video_model(neck=dict(type='NoPropagationNeck')).train()
    clips = tiny.clips(3)
    before = statistics(model.backbone)
    model(clips, tiny.clip_samples([1, 2, 4]), mode='loss')
    tiny.assert_same(statistics(model.backbone), before, rtol=0, atol=0)
    assert all(module.training for module in model.modules())

    # With key frames in the batch, only they count.
    plain = copy.deepcopy(model)
    plain.align_loss = None
    samples = tiny.clip_samples([0, 2, 4])
    for network in (model, plain):
        network(clips, samples, mode='loss')
    after = statistics(model.backbone)
    tiny.assert_same(after, statistics(plain.backbone), rtol=0, atol=0)
    assert int(after['layers.1.num_batches_tracked']) == int(before['layers.1.num_batches_tracked']) + 1
    assert not torch.equal(after['layers.1.running_mean'], before['layers.1.running_mean'])


@pytest.mark.parametrize('mode', ['grl', 'alternating'])
def test_the_slow_network_is_aligned_only_on_request(tiny, mode):
    """No key frame is read here, so the slow network can get a gradient from the alignment alone."""
    samples = tiny.clip_samples([1, 2])
    for detach_slow in (True, False):
        neck, align = dict(type='NoPropagationNeck'), dict(mode=mode, detach_slow=detach_slow)
        model = tiny.video_model(neck=neck, align=align).train()
        before = statistics(model.backbone)
        gradients(model, model(tiny.clips(2), samples, mode='loss'))
        reached = {
            parameter.grad is not None and bool(parameter.grad.any()) for parameter in model.backbone.parameters()
        }
        assert reached == {not detach_slow}
        tiny.assert_same(statistics(model.backbone), before, rtol=0, atol=0)


def test_a_checkpointed_slow_network_is_aligned_in_the_same_way(tiny):
    """Checkpointing runs it again in the backward pass, when its batch norm is in training mode again."""
    stage = dict(depth=18, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
    found = []
    for with_cp in (False, True):
        slow = dict(type='mmseg.ResNet', stem_channels=8, base_channels=8, with_cp=with_cp, **stage)
        model = tiny.video_model(align=dict(detach_slow=False), backbone=slow).train()
        found.append(gradients(model, model(tiny.clips(2), tiny.clip_samples([1, 2]), mode='loss')))
        assert [part.with_cp for part in model.backbone.modules() if hasattr(part, 'with_cp')] == 3 * [with_cp]
    tiny.assert_same(*found)


def test_training_is_deterministic(tiny):
    clips, samples = tiny.clips(4), tiny.clip_samples(MIXED)
    runs = []
    for _ in range(2):
        model = tiny.video_model().train()
        runs.append(gradients(model, model(clips, samples, mode='loss')))
    tiny.assert_same(runs[0], runs[1], rtol=0, atol=0)


def test_partial_labels_count_where_they_are(tiny):
    model = tiny.video_model(align_loss=None)
    clips, samples = tiny.clips(4), tiny.clip_samples(MIXED)
    for row in (0, 2):
        samples[row].gt.pop('depth')
    losses = model(clips, samples, mode='loss')
    alone = model(clips[[1, 3]], [samples[1], samples[3]], mode='loss')
    torch.testing.assert_close(losses['depth.loss_l1'], alone['depth.loss_l1'])


def test_mixed_precision_trains(tiny, neck):
    model = tiny.video_model(neck=neck).float().train()
    # Smaller ones become maps of one pixel in FlowNetS, for which the CPU's bfloat16 convolution leaves parts of the
    # weight gradient unwritten.
    size = (128, 128)
    with torch.autocast('cpu', torch.bfloat16):
        losses = model(tiny.clips(4, size=size).float(), tiny.clip_samples(MIXED, size=size), mode='loss')
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert all(gradient.isfinite().all() for gradient in gradients(model, losses).values())


def test_a_loss_that_is_not_finite_is_named(tiny):
    model = tiny.video_model().train()
    with torch.no_grad():
        model.align_loss.discriminator[-1].bias.fill_(float('nan'))
    with pytest.raises(FloatingPointError, match=r'align_loss.discriminator.*align.loss_adversarial'):
        model(tiny.clips(4), tiny.clip_samples(MIXED), mode='loss')


# --- predictions -------------------------------------------------------------------------------------------------


def test_predictions_of_padded_clips(tiny):
    model = tiny.video_model(data_preprocessor=dict(size_divisor=16)).float()
    sizes = [(20, 27), (30, 19)]
    inputs = [torch.randint(0, 256, (3, 3, *size), dtype=torch.uint8) for size in sizes]
    samples = [tiny.sample(size=size, seed=row, offset=row) for row, size in enumerate(sizes)]
    predicted = model.val_step(dict(inputs=inputs, data_samples=copy.deepcopy(samples)))
    data = model.data_preprocessor(dict(inputs=inputs, data_samples=samples))
    assert data['inputs'].shape == (2, 3, 3, 32, 32)
    logits = no_grad_logits(model, data['inputs'], samples)
    for row, (size, sample) in enumerate(zip(sizes, predicted, strict=True)):
        for name, task in model.tasks.items():
            full = F.interpolate(logits[name][row : row + 1], (32, 32), mode='bilinear')
            expected = task.decode(full[..., : size[0], : size[1]])[0]
            torch.testing.assert_close(sample.pred.get(name), expected)


# --- errors ------------------------------------------------------------------------------------------------------


def test_what_is_no_batch_of_clips_is_refused(tiny):
    model = tiny.video_model()
    samples = tiny.clip_samples([0, 1])
    wrong = [
        (tiny.clips(2), None),
        (tiny.clips(2), samples[:1]),
        (tiny.clips(2), [tiny.sample(), tiny.sample()]),
        (tiny.clips(2)[:, 0], samples),
        (tiny.clips(2)[:, :2], samples),
    ]
    for clips, given in wrong:
        with pytest.raises(ValueError, match=r'\(N, 3, 3, H, W\)'):
            model(clips, given)


def test_a_neck_that_cannot_propagate_is_refused(tiny):
    with pytest.raises(ValueError, match='must be a PropagatingNeck, such as ILANeck, not TaskSqueezeExcitation'):
        tiny.video_model(neck=dict(type='TaskSqueezeExcitation', in_channels=(tiny.CHANNELS,)))


# --- costs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'size', 'expected'),
    [
        ('cityscapes-256x512', (256, 512), (114.8, 58.1, 69.4)),
        pytest.param('nyuv2-288x384', (288, 384), (105.6, 61.7, 70.5), marks=pytest.mark.slow),
    ],
)
def test_the_costs_of_the_paper_s_models(name, size, expected):
    """GMAC of a key frame, of another frame and of the average frame, in the steady state."""
    cfg = resolve(Config.fromfile(CONFIGS / 'mila' / f'mila_d101-d18-k5_1xb4-50e_{name}.py'))
    with torch.device('meta'):
        model: nn.Module = MODELS.build(cfg.model).eval()
        frame = torch.empty(1, 3, *size)
    state, costs = None, []
    with torch.no_grad():
        for _ in range(8):
            with FlopCounterMode(display=False) as counter:
                state = model.step(frame, state).state
            costs.append(counter.get_total_flops() / 2e9)
    key, others = costs[5], costs[6:]
    assert others[0] == others[1]
    assert (key, others[0], (key + 4 * others[0]) / 5) == pytest.approx(expected, rel=0.002)
    # The first frame goes through both networks, and the next one reads itself.
    assert key < costs[0] < key + others[0]
    assert costs[1] == others[0]


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1)), r'fast_backbone \(ResNet\).*stride 16.*ResNet.*stride 8'),
        (dict(strides=(1, 1, 1, 1)), r'stride 4.*stride 8'),
    ],
)
def test_a_fast_network_of_another_stride_is_refused(change: dict[str, Any], words: str) -> None:
    cfg = resolve(Config.fromfile(Path(__file__).parents[1] / 'configs' / 'tiny_video.py'))
    cfg.model.fast_backbone.backbone.update(change)
    with pytest.raises(ValueError, match=words):
        MODELS.build(cfg.model)
    cfg.model.fast_backbone = dict(cfg.model.backbone.backbone)
    with pytest.raises(ValueError, match=r'fast_backbone \(ResNet\).*channels 32.*channels 8'):
        MODELS.build(cfg.model)
