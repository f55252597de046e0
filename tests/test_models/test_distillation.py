"""A student and its teacher: the loss by hand, who learns, and the teacher's absence from checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mmmtl.models import StudentSegmentor
from mmmtl.models.losses import DistillationLoss
from mmmtl.profiling import count_cost
from mmmtl.registry import MODELS

KEYS = [f'distill.{task}.loss_{kind}' for task in ('depth', 'normals', 'semseg') for kind in ('feature', 'prediction')]


def image_config(tiny, hidden: int, channels: tuple[int, int]) -> dict[str, Any]:
    return dict(
        backbone=dict(type=tiny.TinyNet, hidden=hidden),
        neck=dict(type='TaskSqueezeExcitation', in_channels=(tiny.CHANNELS,), reduction=2),
        decode_head=dict(type='TaskConvHead', in_channels=(tiny.CHANNELS,), channels=channels),
    )


def student_config(tiny, teacher: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return the config of a student that is narrower than its teacher."""
    model = dict(type='MultiTaskSegmentor', **image_config(tiny, 6, (12, 7)))
    student = dict(
        type='StudentSegmentor',
        tasks=tiny.TASKS,
        teacher=teacher or dict(model=model, checkpoint='unused.pth'),
        distillation=dict(type='DistillationLoss'),
        **image_config(tiny, 4, (10, 5)),
    )
    return {**student, **changes}


def make_student(tiny, *, with_teacher: bool = True, **changes: Any) -> StudentSegmentor:
    """Return a student with its teacher, float64, all weights random."""
    model = tiny.scramble(MODELS.build(student_config(tiny, **changes))).double()
    if with_teacher:
        model.set_teacher(tiny.scramble(model.new_teacher(), seed=1))
    return model


def batch(tiny, count: int = 3, **kwargs: Any) -> tuple[Tensor, list[Any]]:
    return tiny.pixels(count, 3, *tiny.SIZE), [tiny.sample(seed=seed, **kwargs) for seed in range(count)]


def make_loss(tiny, student: tuple[int, ...] = (1,), teacher: tuple[int, ...] = (2,), **kwargs: Any) -> Any:
    depth = dict(depth=tiny.tasks['depth'])
    given: dict[str, Any] = dict(tasks=depth, student_channels=student, teacher_channels=teacher)
    return DistillationLoss(**{**given, **kwargs}).double()


def maps(values: Any) -> Tensor:
    """Return a map (1, C, 1, W) of C rows."""
    return torch.tensor(values, dtype=torch.float64)[None, :, None]


# The loss


def test_by_hand(tiny) -> None:
    loss = make_loss(tiny, feature_weight=3.0, prediction_weight=2.0)
    loss.tasks['depth'] = copy.copy(tiny.tasks['depth'])
    loss.tasks['depth'].loss_weight = 0.5
    with torch.no_grad():
        loss.project['depth'][0].weight.copy_(torch.tensor([2.0, 0.0])[:, None, None, None])
        loss.project['depth'][0].bias.copy_(torch.tensor([0.0, 1.0]))

    # The projected features are (4, 1) and (0, 1).
    got = loss(
        {'depth': [maps([[2.0, 0.0]])]},
        {'depth': maps([[4.0, 6.0]])},
        {'depth': [maps([[8.0, -5.0], [2.0, 0.0]])]},
        {'depth': maps([[5.0, 9.0]])},
    )

    # The first is parallel to the teacher's, the second orthogonal to it.
    assert {key: value.item() for key, value in got.items()} == pytest.approx(
        {'depth.loss_feature': 3 * (0 + 1) / 2, 'depth.loss_prediction': 2 * 0.5 * (1 + 3) / 2}
    )


def test_maps_weigh_the_same_whatever_their_size(tiny) -> None:
    loss = make_loss(tiny, (2, 2), (2, 2), prediction_weight=0.0)
    for project in loss.project['depth']:
        nn.init.dirac_(project.weight)
        nn.init.zeros_(project.bias)
    one = torch.ones(1, 2, 4, 4, dtype=torch.float64)
    other = torch.stack([one[:, 0], -one[:, 0]], dim=1)

    got = loss({'depth': [one, one[..., :1, :1]]}, {}, {'depth': [one, other[..., :1, :1]]}, {})
    assert {key: value.item() for key, value in got.items()} == pytest.approx({'depth.loss_feature': 0.5})


def test_the_student_is_resized_to_the_teacher(tiny) -> None:
    loss = make_loss(tiny)
    small, large = (4, 6), (7, 9)
    own, own_logits = tiny.pixels(2, 1, *small, seed=0), tiny.pixels(2, 1, *small, seed=1)
    other, other_logits = tiny.pixels(2, 2, *large, seed=2), tiny.pixels(2, 1, *large, seed=3) + 5

    got = loss({'depth': [own]}, {'depth': own_logits}, {'depth': [other]}, {'depth': other_logits})

    own, own_logits = (F.interpolate(x, large, mode='bilinear') for x in (own, own_logits))
    projected = F.normalize(loss.project['depth'][0](own), dim=1)
    expected = 1 - (projected * F.normalize(other, dim=1)).sum(1).mean()
    torch.testing.assert_close(got['depth.loss_feature'], expected)
    torch.testing.assert_close(got['depth.loss_prediction'], (own_logits - other_logits).abs().mean())


def test_half_precision_losses_are_float32(tiny) -> None:
    loss = make_loss(tiny).bfloat16()
    own, logits, other = (tiny.pixels(2, channels, 4, 6).bfloat16() for channels in (1, 1, 2))

    got = loss({'depth': [own]}, {'depth': logits}, {'depth': [other]}, {'depth': logits + 1})
    assert {key: value.dtype for key, value in got.items()} == {
        'depth.loss_feature': torch.float32,
        'depth.loss_prediction': torch.float32,
    }


def test_the_temperature_is_that_of_the_classes(tiny) -> None:
    task = tiny.tasks['semseg']
    loss = DistillationLoss(
        tasks={'semseg': task}, student_channels=(1,), teacher_channels=(2,), feature_weight=0.0, temperature=3.0
    )
    own, other = tiny.pixels(2, 4, 4, 6), tiny.pixels(2, 4, 4, 6, seed=1)
    got = loss({}, {'semseg': own}, {}, {'semseg': other})
    assert got == {'semseg.loss_prediction': task.imitate(own, other, temperature=3.0)}
    assert got != {'semseg.loss_prediction': task.imitate(own, other, temperature=1.0)}


@pytest.mark.parametrize('without', ['student', 'teacher'])
def test_a_head_without_features_is_named(tiny, without: str) -> None:
    some, nothing = {'depth': [tiny.pixels(2, 1, 4, 6)]}, {}
    logits = {'depth': tiny.pixels(2, 1, 4, 6)}
    features = (nothing, some) if without == 'student' else (some, nothing)
    with pytest.raises(ValueError, match=rf"head of the {without} .*'depth'.*feature_weight=0"):
        make_loss(tiny)(features[0], logits, features[1], logits)


def test_without_features_the_heads_may_differ(tiny) -> None:
    assert not list(make_loss(tiny, (4, 8), (2,), feature_weight=0.0).parameters())


@pytest.mark.parametrize('left_out', ['feature', 'prediction'])
def test_a_weight_of_zero_leaves_out(tiny, left_out: str) -> None:
    model = make_student(tiny, distillation={'type': 'DistillationLoss', f'{left_out}_weight': 0.0}).train()

    losses = model(*batch(tiny), mode='loss')
    assert [key for key in losses if 'distill' in key] == [key for key in KEYS if not key.endswith(left_out)]
    assert bool(list(model.distillation.parameters())) == (left_out == 'prediction')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(student_channels=(4, 8)),
            r'\[4, 8\] channels .*\[2\] in the teacher.*feature_weight=0',
        ),
        (dict(feature_weight=-1.0), 'feature_weight and prediction_weight .* not -1.0 and 1.0'),
        (dict(feature_weight=0.0, prediction_weight=0.0), 'feature_weight and prediction_weight .* not 0.0 and 0.0'),
        (dict(temperature=0.0), 'temperature must be positive, not 0.0'),
    ],
)
def test_what_the_loss_refuses(tiny, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_loss(tiny, **changes)


# The student


def test_a_student_like_its_teacher_has_nothing_to_learn(tiny) -> None:
    model = dict(type='MultiTaskSegmentor', **image_config(tiny, 4, (10, 5)))
    student = make_student(tiny, teacher=dict(model=model, checkpoint='unused.pth'), with_teacher=False).eval()
    # With these weights no vector of features is zero, which would have no direction.
    tiny.scramble(student.float(), seed=8).double()
    teacher = student.new_teacher()
    teacher.load_state_dict({k: v for k, v in student.state_dict().items() if not k.startswith('distillation')})
    student.set_teacher(teacher)
    for projections in student.distillation.project.values():
        nn.init.dirac_(projections[0].weight)
        nn.init.zeros_(projections[0].bias)
    inputs, samples = batch(tiny)

    losses = student(inputs, samples, mode='loss')
    assert {key: losses[key].item() for key in KEYS} == pytest.approx(dict.fromkeys(KEYS, 0.0), abs=1e-12)
    student.set_teacher(tiny.scramble(student.new_teacher(), seed=1))
    losses = student(inputs, samples, mode='loss')
    assert all(losses[key] > 0.01 for key in KEYS)


def test_the_losses_of_the_labels_stay_and_all_are_summed(tiny) -> None:
    student = make_student(tiny).eval()
    inputs, samples = batch(tiny)
    plain = MODELS.build(dict(type='MultiTaskSegmentor', tasks=tiny.TASKS, **image_config(tiny, 4, (10, 5)))).double()
    plain.load_state_dict(student.state_dict(), strict=False)

    losses, expected = (model(inputs, samples, mode='loss') for model in (student, plain.eval()))
    assert list(losses) == [*expected, *KEYS]
    for key, value in expected.items():
        assert torch.equal(losses[key], value)
    total, _ = student.parse_losses(losses)
    for key in KEYS:
        more, _ = student.parse_losses({**losses, key: losses[key] + 1})
        assert (more - total).item() == pytest.approx(1)


def test_preliminary_losses_and_auxiliary_tasks_are_those_of_a_plain_model(tiny) -> None:
    head = dict(type='PADNetHead', in_channels=(tiny.CHANNELS,), channels=8, exchange=None)
    parts = dict(backbone=dict(type=tiny.TinyNet, hidden=4), neck=None, decode_head=head)
    tasks = {**tiny.TASKS, 'normals': dict(tiny.TASKS['normals'], auxiliary=True)}
    teacher = dict(model=dict(type='MultiTaskSegmentor', **parts), checkpoint='unused.pth')
    student = make_student(tiny, teacher=teacher, tasks=tasks, preliminary_weight=0.25, **parts)
    plain = MODELS.build(dict(type='MultiTaskSegmentor', tasks=tasks, preliminary_weight=0.25, **parts)).double()
    plain.load_state_dict(student.state_dict(), strict=False)

    losses, expected = (model.train()(*batch(tiny), mode='loss') for model in (student, plain))
    assert list(losses) == [*expected, *(key for key in KEYS if 'normals' not in key)]
    assert 'preliminary.0.normals.loss_l1' in expected
    for key, value in expected.items():
        assert torch.equal(losses[key], value)


def test_a_teacher_that_cannot_be_built_is_named(tiny) -> None:
    head = dict(type='PADNetHead', in_channels=(tiny.CHANNELS,), channels=8, exchange=None)
    tasks = {**tiny.TASKS, 'normals': dict(tiny.TASKS['normals'], auxiliary=True)}
    with pytest.raises(ValueError, match=r"model\.teacher\.model.*TaskConvHead.*\['normals'\]"):
        make_student(tiny, tasks=tasks, neck=None, decode_head=head)


def test_every_imitation_teaches_the_student(tiny) -> None:
    student = make_student(tiny).train()
    losses = student(*batch(tiny), mode='loss')
    for key in KEYS:
        gradients = torch.autograd.grad(losses[key], list(student.backbone.parameters()), retain_graph=True)
        assert all(gradient.any() for gradient in gradients), key


def test_only_the_student_learns(tiny) -> None:
    student = make_student(tiny).train()
    (teacher,) = student._teacher
    before = copy.deepcopy(teacher.state_dict())
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)

    sum(student(*batch(tiny), mode='loss').values()).backward()
    # Gates may be shut.
    learning = {name for name, p in student.named_parameters() if p.grad is not None and p.grad.any()}
    assert [name for name, _ in student.named_parameters() if name not in learning and 'gate' not in name] == []
    assert not [name for name, p in teacher.named_parameters() if p.requires_grad or p.grad is not None]
    statistics = copy.deepcopy(dict(student.named_buffers()))
    optimizer.step()
    student(*batch(tiny), mode='loss')

    assert not teacher.training
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert any(not torch.equal(value, statistics[name]) for name, value in student.named_buffers())


def test_unlabelled_tasks_are_imitated(tiny) -> None:
    student = make_student(tiny).train()
    inputs, _ = batch(tiny)
    with_all, with_one = (batch(tiny, tasks=tasks)[1] for tasks in (tuple(tiny.TASKS), ('depth',)))

    expected, losses = (copy.deepcopy(student)(inputs, samples, mode='loss') for samples in (with_all, with_one))
    assert losses['semseg.loss_ce'] == losses['normals.loss_l1'] == 0 < expected['semseg.loss_ce']
    for key in KEYS:
        assert losses[key] == expected[key] > 0


def test_at_inference_it_is_the_student_alone(tiny) -> None:
    student = make_student(tiny, with_teacher=False).eval()
    plain = MODELS.build(dict(type='MultiTaskSegmentor', tasks=tiny.TASKS, **image_config(tiny, 4, (10, 5)))).double()
    own = {name for name in student.state_dict() if name.startswith('distillation.project.')}
    assert student.state_dict().keys() - own == plain.state_dict().keys()
    assert len(own) == 2 * len(tiny.TASKS)
    plain.load_state_dict({name: value for name, value in student.state_dict().items() if name not in own})
    inputs, samples = batch(tiny)

    with torch.no_grad():
        tiny.assert_same(student(inputs), plain.eval()(inputs), rtol=0, atol=0)
        before = student(inputs)
        (first, *_) = student(inputs, samples, mode='predict')
        student.set_teacher(student.new_teacher())
        tiny.assert_same(student(inputs), before, rtol=0, atol=0)
    assert first.pred.depth.shape == (1, *tiny.SIZE)
    # A teacher changes neither the saved weights, nor those that learn, nor the costs.
    assert student.state_dict().keys() - own == plain.state_dict().keys()
    assert {name for name, _ in student.named_parameters()} - own == {name for name, _ in plain.named_parameters()}
    cost, expected = (count_cost(model, tiny.SIZE) for model in (student.float(), plain.float()))
    assert cost.total() == expected.total()
    training_only = {part.component for part in cost.parts if not part.at_inference}
    assert training_only == {'distillation'}


def test_without_a_teacher_nothing_can_be_learnt(tiny) -> None:
    student = make_student(tiny, with_teacher=False)
    with pytest.raises(ValueError, match=r'teacher.*mmmtl\.engine\.build_runner'):
        student(*batch(tiny), mode='loss')


def test_the_teacher_goes_where_the_student_goes(tiny) -> None:
    student = make_student(tiny).float()
    assert {p.dtype for p in student._teacher[0].parameters()} == {torch.float32}
    clone = copy.deepcopy(student)
    assert clone._teacher[0] is not student._teacher[0]
    student.to('meta')
    everything = [*student._teacher[0].parameters(), *student._teacher[0].buffers()]
    assert {tensor.device.type for tensor in everything} == {'meta'}
    assert next(clone._teacher[0].parameters()).device.type == 'cpu'
    student.set_teacher(tiny.scramble(student.new_teacher()))
    assert next(student._teacher[0].parameters()).device.type == 'meta'


@pytest.mark.parametrize(
    ('teacher', 'message'),
    [
        (dict(model={}), r"model\.teacher must have 'model' and 'checkpoint', not \['model'\]"),
        ('video', r'model\.teacher\.model must be a MultiTaskSegmentor, not a VideoMultiTaskSegmentor'),
        ('other', r'channels in the student, .*\[8, 8\] in the teacher'),
    ],
)
def test_teachers_that_cannot_be(tiny, teacher: Any, message: str) -> None:
    model: dict[str, Any] = dict(type='MultiTaskSegmentor', **image_config(tiny, 4, (10, 5)))
    if teacher == 'video':
        model.update(type='VideoMultiTaskSegmentor', fast_backbone=model['backbone'])
        model['neck'] = dict(type='ILANeck', in_channels=(tiny.CHANNELS,), attention_channels=4, reduction=2)
        model['key_frame_policy'] = dict(type='FixedInterval', interval=5)
    if teacher == 'other':
        model['decode_head'] = dict(type='MultiScaleHead', in_channels=(8, 8))
    with pytest.raises(ValueError, match=message):
        make_student(tiny, teacher=dict(model=model, checkpoint='x') if isinstance(teacher, str) else teacher)


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """A group of one process."""
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path / "store"}', rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def test_every_weight_has_its_part_in_every_step(tiny, process_group: None) -> None:
    """Without `find_unused_parameters`, the second step would fail if a weight of the first had got no gradient."""
    student = make_student(tiny).train()
    model = DistributedDataParallel(student)
    for tasks in (tuple(tiny.TASKS), ('depth',), ()):
        sum(model(*batch(tiny, tasks=tasks), mode='loss').values()).backward()
        learnt = {name: value.grad for name, value in student.named_parameters() if value.requires_grad}
        assert learnt
        assert [name for name, gradient in learnt.items() if gradient is None] == []
        student.zero_grad()
