"""The image model: its losses, predictions and equivalences."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.decode_heads import DecodeHead, HeadOutput, TaskConvHead
from mmmtl.registry import MODELS

LOSSES = ['semseg.loss_ce', 'depth.loss_l1', 'normals.loss_l1']


class DeeplySupervisedHead(TaskConvHead):
    """The plain head with preliminary predictions of two tasks."""

    has_preliminary = True

    def __init__(self, *, tasks: Mapping[str, Any], in_channels: Sequence[int], **kwargs: Any) -> None:
        super().__init__(tasks=tasks, in_channels=in_channels, **kwargs)
        chosen = {name: tasks[name].out_channels for name in ('semseg', 'depth')}
        self.early = nn.ModuleDict({name: nn.Conv2d(in_channels[-1], width, 1) for name, width in chosen.items()})

    def forward(self, features: Any) -> HeadOutput:
        early = {name: layer(features[name][0]) for name, layer in self.early.items()}
        return dataclasses.replace(super().forward(features), preliminary=[early])


class FixedHead(DecodeHead):
    """Logits that do not depend on the image."""

    logits: Mapping[str, Tensor]

    def __init__(self, tasks: Mapping[str, Any]) -> None:
        super().__init__()

    def forward(self, features: Any) -> HeadOutput:
        return HeadOutput(dict(self.logits))


def supervised(tiny, **changes: Any) -> MultiTaskSegmentor:
    head = dict(type=DeeplySupervisedHead, in_channels=(tiny.CHANNELS,), channels=(10, 6))
    return tiny.image_model(decode_head=head, **changes)


def batch(tiny, count: int = 3) -> tuple[Tensor, Sequence[Any]]:
    return tiny.pixels(count, 3, *tiny.SIZE), [tiny.sample(seed=seed) for seed in range(count)]


def no_grad_logits(model, images):
    with torch.no_grad():
        return model(images)


# --- equivalences ------------------------------------------------------------------------------------------------


def test_one_task_equals_the_multi_task_model_with_that_task(tiny):
    full = tiny.image_model()
    images, samples = batch(tiny)
    logits, losses = full(images), full(images, samples, mode='loss')
    for name in tiny.TASKS:
        single = tiny.image_model({name: tiny.TASKS[name]})
        left_out = single.load_state_dict(full.state_dict(), strict=False)
        assert left_out.missing_keys == []
        others = [task for task in tiny.TASKS if task != name]
        assert left_out.unexpected_keys
        assert all(any(f'.{task}.' in key for task in others) for key in left_out.unexpected_keys)
        tiny.assert_same(single(images), {name: logits[name]}, rtol=0, atol=0)
        own = {key: value for key, value in losses.items() if key.startswith(name)}
        tiny.assert_same(single(images, samples, mode='loss'), own, rtol=0, atol=0)


def test_permuted_tasks_permute_the_outputs(tiny):
    images, samples = batch(tiny)
    model = tiny.image_model()
    logits, losses = model(images), model(images, samples, mode='loss')
    for order in (['normals', 'semseg', 'depth'], ['depth', 'normals', 'semseg']):
        other = tiny.image_model({name: tiny.TASKS[name] for name in order})
        other.load_state_dict(model.state_dict())
        tiny.assert_same(other(images), logits, rtol=0, atol=0)
        got = other(images, samples, mode='loss')
        assert [key.split('.')[0] for key in got] == order
        assert got == {key: losses[key] for key in got}


def test_a_batch_equals_its_rows(tiny):
    model = supervised(tiny)
    images, _ = batch(tiny, 4)
    rows = [no_grad_logits(model, image[None]) for image in images]
    tiny.assert_same(no_grad_logits(model, images), {n: torch.cat([row[n] for row in rows]) for n in rows[0]})


def test_a_state_dict_round_trip(tiny, tmp_path):
    model, images = tiny.image_model(), batch(tiny)[0]
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    other = tiny.scramble(tiny.image_model(), seed=1)
    expected = no_grad_logits(model, images)
    assert not torch.allclose(no_grad_logits(other, images)['depth'], expected['depth'])
    other.load_state_dict(torch.load(tmp_path / 'weights.pth', weights_only=True))
    tiny.assert_same(no_grad_logits(other, images), expected, rtol=0, atol=0)
    assert not any(name.startswith('data_preprocessor') for name in model.state_dict())


def test_training_is_deterministic(tiny):
    images, samples = batch(tiny)
    runs = []
    for _ in range(2):
        model = tiny.image_model().train()
        total, _ = model.parse_losses(model(images, samples, mode='loss'))
        total.backward()
        runs.append({name: parameter.grad for name, parameter in model.named_parameters()})
    tiny.assert_same(runs[0], runs[1], rtol=0, atol=0)


def test_every_parameter_gets_a_gradient(tiny):
    model = supervised(tiny).train()
    images, samples = batch(tiny)
    model.parse_losses(model(images, samples, mode='loss'))[0].backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert gradients
    bad = [name for name, grad in gradients.items() if grad is None or not grad.isfinite().all() or not grad.any()]
    assert bad == []


# --- losses ------------------------------------------------------------------------------------------------------


def test_the_names_of_the_losses(tiny):
    images, samples = batch(tiny)
    assert list(tiny.image_model()(images, samples, mode='loss')) == LOSSES
    early = ['preliminary.0.semseg.loss_ce', 'preliminary.0.depth.loss_l1']
    assert list(supervised(tiny)(images, samples, mode='loss')) == LOSSES + early


def test_preliminary_predictions_are_numbered_from_the_finest(tiny):
    final, fine, coarse = ({'depth': tiny.pixels(1, 1, side, side)} for side in (8, 4, 2))
    assert HeadOutput(final, preliminary=[fine, coarse]).predictions() == {
        '': final, 'preliminary.0.': fine, 'preliminary.1.': coarse
    }  # fmt: skip


def test_each_loss_changes_the_total(tiny):
    images, samples = batch(tiny)
    model = supervised(tiny)
    losses = model(images, samples, mode='loss')
    total = model.parse_losses(losses)[0].item()
    assert len(losses) == 5
    for key, value in losses.items():
        changed = model.parse_losses({**losses, key: value + 1})[0].item()
        assert changed == pytest.approx(total + 1), key


def test_losses_are_those_of_the_resized_logits(tiny):
    model = supervised(tiny)
    images, samples = batch(tiny)
    output, losses = model.decode_head(model.features(images)), model(images, samples, mode='loss')
    predictions = {f'{prefix}{n}': value for prefix, maps in output.predictions().items() for n, value in maps.items()}
    assert len(losses) == len(predictions)
    for key, value in losses.items():
        prediction, _, _ = key.rpartition('.')
        name = prediction.rpartition('.')[2]
        target = torch.stack([sample.gt.get(name) for sample in samples])
        full = F.interpolate(predictions[prediction], tiny.SIZE, mode='bilinear')
        if name == 'semseg':
            expected = F.cross_entropy(full, target[:, 0])
        elif name == 'depth':
            expected = (full - target).abs().mean()
        else:
            expected = (full / full.norm(dim=1, keepdim=True) - target).abs().sum(1).mean()
        torch.testing.assert_close(value, expected, msg=key)


def test_half_precision_ends_before_the_logits_are_resized(tiny):
    model, samples = tiny.image_model(), [tiny.sample(seed=seed) for seed in range(2)]
    half = {name: tiny.pixels(2, task.out_channels, 6, 8).bfloat16() for name, task in model.tasks.items()}
    full = {name: value.float() for name, value in half.items()}
    losses = model.head_losses(HeadOutput(half), samples)
    assert {value.dtype for value in losses.values()} == {torch.float32}
    tiny.assert_same(losses, model.head_losses(HeadOutput(full), samples), rtol=0, atol=0)
    for found, expected in zip(model.decode(half, tiny.SIZE), model.decode(full, tiny.SIZE), strict=True):
        tiny.assert_same(dict(found.items()), dict(expected.items()), rtol=0, atol=0)


def test_loss_weights_scale_final_and_preliminary_losses(tiny):
    images, samples = batch(tiny)
    model = supervised(tiny)
    losses = model(images, samples, mode='loss')
    for name in tiny.TASKS:
        model.tasks[name].loss_weight = 2.5
        for key, value in model(images, samples, mode='loss').items():
            factor = 2.5 if name in key else 1.0
            torch.testing.assert_close(value, factor * losses[key], msg=key)
        model.tasks[name].loss_weight = 1.0


@pytest.mark.parametrize('weight', [0, 0.4])
def test_preliminary_losses_have_a_weight_of_their_own(tiny, weight):
    images, samples = batch(tiny)
    model = supervised(tiny)
    other = supervised(tiny, preliminary_weight=weight)
    other.load_state_dict(model.state_dict())
    losses = model(images, samples, mode='loss')
    found = other(images, samples, mode='loss')
    assert list(found) == list(losses)
    for key, value in found.items():
        torch.testing.assert_close(value, (weight if key.startswith('preliminary.') else 1) * losses[key], msg=key)
        assert value.requires_grad
    logged = other.parse_losses(found)[1]
    assert list(logged) == ['loss', *(key for key in losses if weight or not key.startswith('preliminary.'))]


@pytest.mark.parametrize('weight', [-0.1, float('nan'), float('inf'), '0.4'])
def test_a_weight_of_preliminary_losses_is_not_negative(tiny, weight):
    with pytest.raises(ValueError, match='model.preliminary_weight must be a finite number of at least 0, not'):
        supervised(tiny, preliminary_weight=weight)


def test_a_weight_needs_preliminary_predictions(tiny):
    with pytest.raises(ValueError, match='preliminary_weight=0.4: a TaskConvHead has no preliminary predictions'):
        tiny.image_model(preliminary_weight=0.4)


def test_a_task_without_labels_gives_a_zero_tied_to_the_graph(tiny):
    model = supervised(tiny).train()
    images, _ = batch(tiny)
    samples = [tiny.sample(seed=seed, tasks=['normals']) for seed in range(3)]
    losses = model(images, samples, mode='loss')
    assert list(losses) == [*LOSSES, 'preliminary.0.semseg.loss_ce', 'preliminary.0.depth.loss_l1']
    for key, value in losses.items():
        assert (value.item() == 0) == ('normals' not in key)
        gradients = torch.autograd.grad(value, list(model.backbone.parameters()), retain_graph=True)
        assert all(gradient.any() == ('normals' in key) for gradient in gradients)


def test_a_task_without_labels_is_not_logged(tiny):
    model = supervised(tiny).train()
    for tasks in (['semseg', 'normals'], []):
        losses = model(batch(tiny)[0], [tiny.sample(seed=seed, tasks=tasks) for seed in range(3)], mode='loss')
        total, logged = model.parse_losses({**losses, 'search.loss_entropy': torch.zeros(())})
        expected = [name for name in losses if any(task in name for task in tasks)]
        assert list(logged) == ['loss', *expected, 'search.loss_entropy']
        torch.testing.assert_close(total, sum(losses.values()))


def test_no_labels_at_all(tiny):
    model = tiny.image_model().train()
    samples = [tiny.sample(seed=seed, tasks=[]) for seed in range(3)]
    losses = model(batch(tiny)[0], samples, mode='loss')
    assert [value.item() for value in losses.values()] == [0.0, 0.0, 0.0]
    sum(losses.values()).backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in model.parameters())


def test_partial_labels_count_where_they_are(tiny):
    """The loss of a task covers the rows with its label."""
    model = tiny.image_model()
    images, samples = batch(tiny, 4)
    present = {'semseg': [0, 2], 'depth': [1, 2, 3], 'normals': [3]}
    for name, rows in present.items():
        for row in set(range(4)) - set(rows):
            samples[row].gt.pop(name)
    losses = model(images, samples, mode='loss')
    for key, value in losses.items():
        rows = present[key.split('.')[0]]
        alone = model(images[rows], [samples[row] for row in rows], mode='loss')
        torch.testing.assert_close(value, alone[key])
        assert value > 0


def test_padding_does_not_count(tiny):
    """Images of two sizes in one batch: the loss is the mean over the labelled pixels of both."""
    model = tiny.image_model()
    inputs = [
        torch.randint(0, 256, (3, 24, 32), dtype=torch.uint8),
        torch.randint(0, 256, (3, 16, 20), dtype=torch.uint8),
    ]
    samples = [tiny.sample(size=image.shape[1:], seed=seed) for seed, image in enumerate(inputs)]
    model.float()
    data = model.data_preprocessor(dict(inputs=inputs, data_samples=samples), True)
    assert data['inputs'].shape == (2, 3, 24, 32)
    losses = model(**data, mode='loss')
    logits = model(data['inputs'])
    errors = []
    for row, sample in enumerate(samples):
        full = F.interpolate(logits['depth'][row : row + 1], (24, 32), mode='bilinear')[0]
        height, width = sample.img_shape
        errors.append((full[:, :height, :width] - sample.gt.depth).abs().flatten())
    torch.testing.assert_close(losses['depth.loss_l1'], torch.cat(errors).mean())


@pytest.mark.parametrize('size', [(48, 64), (12, 16), (24, 31)])
def test_labels_of_another_size_than_the_picture_are_refused(tiny, size):
    images, samples = batch(tiny, 2)
    samples[1].gt = PixelData(depth=torch.ones(1, *size))
    with pytest.raises(ValueError, match=rf"1\.png: .*'depth'.*\({size[0]}, {size[1]}\)"):
        tiny.image_model()(images, samples, mode='loss')


# --- errors ------------------------------------------------------------------------------------------------------


def test_a_logit_that_is_not_finite_is_named(tiny):
    model = tiny.image_model().train()
    images, samples = batch(tiny)
    with torch.no_grad():
        model.decode_head.predict['depth'][-1].bias.fill_(float('nan'))
    with pytest.raises(FloatingPointError) as error:
        model(images, samples, mode='loss')
    message = str(error.value)
    assert 'decode_head.predict.depth' in message
    assert 'depth.loss_l1' in message
    assert 'semseg' not in message
    assert 'normals' not in message


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_label_that_is_not_finite_is_named(tiny, value):
    images, samples = batch(tiny)
    samples[1].gt.normals[0, 2, 3] = value
    with pytest.raises(FloatingPointError, match=r"^normals.loss_l1 is not finite; the batch was \['0.png', '1.png'"):
        tiny.image_model()(images, samples, mode='loss')


def test_several_losses_that_are_not_finite(tiny):
    images, samples = batch(tiny)
    with pytest.raises(FloatingPointError, match='^semseg.loss_ce, depth.loss_l1, normals.loss_l1 is not finite'):
        tiny.image_model()(images * float('inf'), samples, mode='loss')


def test_a_step_with_a_loss_that_is_not_finite_changes_no_weight(tiny):
    from mmengine.optim import OptimWrapper

    model = tiny.image_model().float().train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    samples = [tiny.sample(seed=seed) for seed in range(2)]
    samples[0].gt.normals[0, 0, 0] = float('nan')
    data = dict(inputs=[torch.zeros(3, *tiny.SIZE, dtype=torch.uint8)] * 2, data_samples=samples)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0))
    with pytest.raises(FloatingPointError, match='normals.loss_l1'):
        model.train_step(data, wrapper)
    tiny.assert_same(dict(model.named_parameters()), before, rtol=0, atol=0)


def test_wrong_modes_and_missing_samples(tiny):
    model, (images, samples) = tiny.image_model(), batch(tiny)
    with pytest.raises(ValueError, match="mode must be 'tensor', 'loss' or 'predict', not 'train'"):
        model(images, samples, mode='train')
    for mode in ('loss', 'predict'):
        with pytest.raises(ValueError, match=f"mode '{mode}' needs the data_samples"):
            model(images, mode=mode)


def test_a_model_without_tasks_names_the_call(tiny):
    for tasks in (None, {}):
        with pytest.raises(ValueError, match='MultiTaskSegmentor.*tasks.*resolve'):
            tiny.image_model(tasks)


# --- predictions -------------------------------------------------------------------------------------------------


def fixed(tiny, logits: Mapping[str, Tensor], **preprocessor: Any) -> MultiTaskSegmentor:
    model = tiny.image_model(decode_head=dict(type=FixedHead), data_preprocessor=preprocessor).float()
    model.decode_head.logits = logits
    return model


def ramp(size: Sequence[int], wanted: Sequence[int], scale: float) -> Tensor:
    """x of an image's pixels, in pixels of the logits, which are `scale` times as large: (1, *wanted)."""
    x = (torch.arange(wanted[1]) + 0.5) / scale - 0.5
    return x.clamp(0, size[1] - 1).expand(1, *wanted)


def test_decoding_by_hand(tiny):
    """Logits equal to the x coordinate stay equal to it when enlarged; padding is cut off, not squeezed in."""
    x = torch.arange(8.0).expand(1, 6, 8)
    logits = {'depth': x + 1, 'semseg': torch.stack([0 * x[0], x[0] - 3.4, -x[0], -x[0]]), 'normals': x.expand(3, 6, 8)}
    model = fixed(tiny, {})
    logits = {name: value[None] for name, value in logits.items()}
    (maps,) = model.decode(logits, (24, 32))
    torch.testing.assert_close(maps.depth, (ramp((6, 8), (24, 32), 4) + 1).clamp(max=10.0))
    assert maps.semseg.dtype == torch.int64
    torch.testing.assert_close(maps.semseg, (ramp((6, 8), (24, 32), 4) > 3.4).long())
    torch.testing.assert_close(maps.normals.norm(dim=0)[:, 3:], torch.ones(24, 29))

    (cut,) = model.decode(logits, (24, 32), [(20, 28)])
    for name in tiny.TASKS:
        torch.testing.assert_close(cut.get(name), maps.get(name)[..., :20, :28])

    # 20 x 28 of 24 x 32, shown at twice the size: x runs at the same pace to the end, 1 / 8 per pixel.
    twice = model.decode(logits, (24, 32), [(20, 28)], [(40, 56)])[0].depth
    inner = slice(8, -8)  # two interpolations smooth the ends
    torch.testing.assert_close(twice[..., inner], (ramp((6, 8), (40, 56), 8) + 1)[..., inner])


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_predictions_that_are_not_finite_are_refused(tiny, value):
    """One logit of one image is named, by images and by streams, before decoding hides it."""
    logits = {'depth': torch.ones(2, 1, 6, 8), 'semseg': torch.ones(2, 4, 6, 8), 'normals': torch.ones(2, 3, 6, 8)}
    logits['semseg'][1, 2, 3, 4] = value
    model = fixed(tiny, logits)
    samples = [tiny.sample(seed=seed) for seed in range(2)]
    with pytest.raises(FloatingPointError, match=r"of semseg are .*\['1\.png'\]"):
        model.complete(logits, tiny.SIZE, samples)
    with pytest.raises(FloatingPointError, match=r"of semseg are .*\['row 1'\]"):
        model.decode(model.step(torch.zeros(2, 3, *tiny.SIZE)).logits, tiny.SIZE)
    assert len(model.decode({name: maps[:1] for name, maps in logits.items()}, tiny.SIZE)) == 1


def test_huge_logits_whose_sum_overflows_are_decoded(tiny):
    logits = {
        'depth': torch.full((1, 1, 6, 8), 3e38),
        'semseg': torch.ones(1, 4, 6, 8),
        'normals': torch.ones(1, 3, 6, 8),
    }
    (maps,) = fixed(tiny, {}).decode(logits, (6, 8))
    assert maps.depth.unique().tolist() == [10.0]


def test_predictions_come_without_the_padding(tiny):
    """An image padded to a multiple of 16 has the map of its own pixels."""
    x = torch.arange(8.0).expand(2, 1, 8, 8) + 1
    zeros = torch.zeros(2, 4, 8, 8)
    model = fixed(tiny, {'depth': x, 'semseg': zeros, 'normals': zeros[:, :3]}, size_divisor=16)
    sizes = [(20, 27), (30, 19)]
    data = dict(
        inputs=[torch.zeros(3, *size, dtype=torch.uint8) for size in sizes],
        data_samples=[tiny.sample(size=size) for size in sizes],
    )
    predicted = model.val_step(copy.deepcopy(data))
    assert [sample.padded_shape for sample in predicted] == [(32, 32)] * 2
    for size, sample in zip(sizes, predicted, strict=True):
        assert sample.pred.shape == size
        torch.testing.assert_close(sample.pred.depth, ramp((8, 8), size, 4) + 1)
        assert 'gt' in sample

    # Without labels, the size of the original image counts.
    for sample, shape in zip(data['data_samples'], [(40, 54), (10, 7)], strict=True):
        del sample.gt
        sample.set_metainfo({'ori_shape': shape})
    assert [sample.pred.shape for sample in model.test_step(data)] == [(40, 54), (10, 7)]


def test_predictions_have_the_size_of_their_labels(tiny):
    model = tiny.image_model().float()
    sample = tiny.sample(ori_size=None)
    sample.gt = tiny.labels((48, 64), ['depth'])
    images = tiny.pixels(1, 3, *tiny.SIZE).float()
    (predicted,) = model(images, [sample], mode='predict')
    assert {name: tuple(predicted.pred.get(name).shape) for name in tiny.TASKS} == {
        'semseg': (1, 48, 64),
        'depth': (1, 48, 64),
        'normals': (3, 48, 64),
    }


def test_samples_of_mps_are_returned_on_the_cpu(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test runs on MPS: a stand-in for logits says that it is there."""
    model, sample = tiny.image_model(), tiny.sample()
    maps = PixelData(depth=torch.ones(1, *tiny.SIZE))
    moved = []
    monkeypatch.setattr(model, 'decode', lambda *_: [maps])
    monkeypatch.setattr(type(sample), 'cpu', lambda one: moved.append(one) or 'on the CPU')
    for device, found in (('mps', 'on the CPU'), ('cpu', sample)):
        logits = {'depth': SimpleNamespace(device=torch.device(device))}
        assert model.complete(logits, tiny.SIZE, [sample]) == [found]
    assert moved == [sample]


def test_predictions_without_a_label_for_this_picture(tiny):
    """A sample whose `gt` is empty has the size of the original image."""
    sample = tiny.sample(tasks=[])
    sample.set_metainfo({'ori_shape': (30, 40)})
    (predicted,) = tiny.image_model()(tiny.pixels(1, 3, *tiny.SIZE), [sample], mode='predict')
    assert predicted.pred.shape == (30, 40)


def test_a_frame_without_labels_has_the_size_of_the_labelled_ones(tiny):
    model = tiny.image_model()
    labelled, unlabelled = tiny.sample(map_shape=tiny.SIZE), tiny.sample(tasks=[], map_shape=tiny.SIZE)
    for sample in (labelled, unlabelled):
        sample.set_metainfo({'ori_shape': (30, 40)})
    predicted = model(tiny.pixels(2, 3, *tiny.SIZE), [labelled, unlabelled], mode='predict')
    assert [sample.pred.shape for sample in predicted] == [tiny.SIZE, tiny.SIZE]


def test_predictions_are_decoded_logits(tiny):
    model = supervised(tiny).float()
    images, samples = batch(tiny)
    logits = no_grad_logits(model, images.float())
    for row, sample in enumerate(model(images.float(), samples, mode='predict')):
        assert sorted(sample.pred.keys()) == sorted(tiny.TASKS)
        for name, task in model.tasks.items():
            full = F.interpolate(logits[name][row : row + 1], tiny.SIZE, mode='bilinear')
            torch.testing.assert_close(sample.pred.get(name), task.decode(full)[0])


# --- how it is put together --------------------------------------------------------------------------------------


def test_without_a_neck_all_tasks_share_the_backbone_s_maps(tiny):
    model = tiny.image_model(neck=None)
    images, _ = batch(tiny)
    tiny.assert_same(no_grad_logits(model, images), model.decode_head(model.backbone(images)).logits)


def test_it_needs_no_default_scope(tiny, monkeypatch):
    monkeypatch.setattr(DefaultScope, '_instance_dict', {})
    assert DefaultScope.get_current_instance() is None
    model = tiny.image_model()
    assert type(model.data_preprocessor).__name__ == 'MultiTaskDataPreprocessor'
    assert model.data_preprocessor.tasks is model.tasks
    assert isinstance(MODELS.build(dict(type='mmmtl.TaskConvHead', tasks=model.tasks, in_channels=(4,))), TaskConvHead)


def test_a_head_is_held_to_its_contract(tiny):
    model = fixed(tiny, {})
    images, samples = tiny.pixels(1, 3, *tiny.SIZE).float(), [tiny.sample()]
    right = {name: torch.zeros(1, task.out_channels, 4, 4) for name, task in model.tasks.items()}
    model.decode_head.logits = right
    assert list(model.loss(images, samples)) == LOSSES
    model.decode_head.logits = {**right, 'depth': torch.zeros(1, 2, 4, 4)}
    with pytest.raises(ValueError, match=r"FixedHead\.forward returned 2 channels for 'depth'; DepthEstimation has 1"):
        model.loss(images, samples)
    model.decode_head.logits = {name: right[name] for name in ('semseg', 'normals')}
    with pytest.raises(ValueError, match=r'FixedHead\.forward returned no logits of depth'):
        model.loss(images, samples)
    for part, field in ('preliminary', [{'dpeth': right['depth']}]), ('label_space', {'dpeth': right['depth']}):
        with pytest.raises(ValueError, match=rf"FixedHead\.forward returned {part}.*\.dpeth,.*'depth'"):
            model.head_losses(HeadOutput(right, **{part: field}), samples)
    with pytest.raises(ValueError, match='must return a HeadOutput, not dict'):
        model.head_losses(right, samples)


def test_a_head_returns_as_many_rows_as_images(tiny):
    model = fixed(tiny, {})
    images, samples = tiny.pixels(2, 3, *tiny.SIZE).float(), [tiny.sample(), tiny.sample()]
    right = {name: torch.zeros(2, task.out_channels, 4, 4) for name, task in model.tasks.items()}
    for wrong in (1, 3):
        model.decode_head.logits = {**right, 'depth': torch.zeros(wrong, 1, 4, 4)}
        for run in (model.loss, model.predict):
            with pytest.raises(
                ValueError, match=rf"FixedHead\.forward returned \({wrong}, 1, 4, 4\) for 'depth'.* N is 2"
            ):
                run(images, samples)


def test_a_head_s_own_losses_have_names_of_their_own(tiny):
    model = fixed(tiny, {})
    right = {name: torch.zeros(1, task.out_channels, 4, 4) for name, task in model.tasks.items()}
    output = HeadOutput(right, losses={'depth.loss_l1': torch.zeros(()), 'loss_own': torch.ones(())})
    with pytest.raises(ValueError, match=r"FixedHead\.forward returned losses \['depth\.loss_l1'\]"):
        model.head_losses(output, [tiny.sample()])
    del output.losses['depth.loss_l1']
    assert list(model.head_losses(output, [tiny.sample()])) == [*LOSSES, 'loss_own']


@pytest.mark.parametrize('shape', [(1, 2, 24, 32), (1, 24, 32), (1, 1, 24, 30)])
def test_a_decoded_map_is_held_to_its_contract(tiny, monkeypatch, shape):
    model = tiny.image_model()
    monkeypatch.setattr(model.tasks['depth'], 'decode', lambda logits: torch.ones(shape))
    with pytest.raises(ValueError, match=r"DepthEstimation\.decode returned \(.*'depth'; .* here \(1, 1, 24, 32\)"):
        model.predict(tiny.pixels(1, 3, *tiny.SIZE), [tiny.sample()])


@pytest.mark.parametrize(
    ('losses', 'message'),
    [
        (lambda logits: {'l1': logits.mean()}, "returned 'l1'; the name must begin"),
        (lambda logits: {'loss_l1': logits[:, 0]}, r"returned a tensor \(1, 24, 32\) as 'loss_l1'"),
        (lambda logits: {'loss_l1': 1.0}, "returned float as 'loss_l1'"),
        (lambda logits: {'loss_l1': torch.tensor(logits.detach().numpy().max())}, "returned 'loss_l1' without a graph"),
        (lambda logits: logits.mean(), 'must return {name: loss}, not Tensor'),
    ],
)
def test_a_loss_is_held_to_its_contract(tiny, monkeypatch, losses, message):
    model = tiny.image_model()
    monkeypatch.setattr(model.tasks['depth'], 'loss', lambda logits, target: losses(logits))
    with pytest.raises(ValueError, match=rf'DepthEstimation\.loss {message}'):
        model.loss(tiny.pixels(1, 3, *tiny.SIZE), [tiny.sample()])


def test_a_loss_without_a_graph_may_be_zero_or_unused(tiny, monkeypatch):
    model = tiny.image_model()
    inputs, samples = tiny.pixels(1, 3, *tiny.SIZE), [tiny.sample()]
    for value in (0.0, 3.0):
        monkeypatch.setattr(model.tasks['depth'], 'loss', lambda *_, value=value: {'loss_l1': torch.tensor(value)})
        with torch.set_grad_enabled(value == 0):
            assert model.loss(inputs, samples)['depth.loss_l1'].item() == value
