"""The contract of tasks, for every registered kind."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmmtl.registry import TASKS
from mmmtl.structures import CameraChange
from mmmtl.tasks import Task, build_tasks

REQUIRED: dict[str, dict[str, Any]] = {
    'DepthEstimation': dict(max_depth=10.0, scale=3.0),
    'EdgeDetection': dict(nms=False),  # the maps below are noise without ridges
    'SemanticSegmentation': dict(classes='camvid_11'),
}
"""Arguments without a default. A new kind of task that needs some adds a line here."""

MEANS_OVER_IMAGES = {'EdgeDetection', 'SaliencyDetection'}
"""Kinds with a metric that takes images one by one: two images side by side are not the same as two images."""

KINDS = sorted(TASKS.module_dict)


def test_the_sweep_finds_the_tasks() -> None:
    assert len(KINDS) >= 4
    assert {'DepthEstimation', 'DisparityEstimation', 'SemanticSegmentation', 'SurfaceNormals'} <= set(KINDS)


@pytest.fixture(params=KINDS)
def task(request: pytest.FixtureRequest) -> Task:
    return build_tasks({'some_name': {'type': request.param, **REQUIRED.get(request.param, {})}}, 'the test')[
        'some_name'
    ]


def random_logits(task: Task, seed: int, size: tuple[int, ...] = (2, 6, 7)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size[0], task.out_channels, *size[1:], generator=generator)


def random_target(task: Task, seed: int, size: tuple[int, ...] = (2, 6, 7)) -> Tensor:
    """Maps as the task predicts them, (N, M, H, W), with holes."""
    target = task.decode(random_logits(task, 100 + seed, size))
    holes = torch.rand(size, generator=torch.Generator().manual_seed(200 + seed)) < 0.2
    return torch.where(holes[:, None], torch.full_like(target, task.fill), target)


def to_array(map_: Tensor) -> np.ndarray:
    """A map (M, H, W) as the pipeline has it: (H, W) or (H, W, M)."""
    return map_[0].numpy() if len(map_) == 1 else map_.permute(1, 2, 0).numpy()


def unlabelled(task: Task, size: tuple[int, ...] = (2, 6, 7)) -> Tensor:
    return torch.full((size[0], task.map_channels, *size[1:]), task.fill, dtype=task.dtype)


def test_it_declares_itself(task: Task) -> None:
    assert isinstance(task, Task)
    assert task.name == task.source == 'some_name'
    assert repr(task) == f"{type(task).__name__}(name='some_name')"
    assert task.loss_weight == 1.0
    assert task.out_channels > 0
    assert task.map_channels > 0
    assert task.primary_metric in task.higher_is_better
    assert all(isinstance(up, bool) for up in task.higher_is_better.values())
    # Metrics become keys of the log, where 'loss' and '/' have a meaning.
    assert not any('loss' in name or '/' in name for name in task.higher_is_better)
    assert type(task).__doc__


def test_it_takes_source_and_loss_weight(task: Task) -> None:
    kind = type(task).__name__
    config = {'type': kind, **REQUIRED.get(kind, {}), 'source': 'elsewhere', 'loss_weight': 0.25}
    other = build_tasks({'a': config}, 'the test')['a']

    assert (other.name, other.source, other.loss_weight) == ('a', 'elsewhere', 0.25)


def test_another_metric_can_stand_for_it(task: Task) -> None:
    kind = type(task).__name__
    *_, last = task.higher_is_better
    config = {'type': kind, **REQUIRED.get(kind, {}), 'primary_metric': last}

    assert build_tasks({'a': config}, 'the test')['a'].primary_metric == last
    with pytest.raises(ValueError, match="task 'a': primary_metric.*'nonsense'"):
        build_tasks({'a': {**config, 'primary_metric': 'nonsense'}}, 'the test')


@pytest.mark.parametrize(
    ('config', 'change'),
    [
        (dict(type='SemanticSegmentation', classes=['a', 'b']), dict(classes=['b', 'a'])),
        (dict(type='DepthEstimation', max_depth=10.0, scale=1.0), dict(scale=2.0)),
        (dict(type='DisparityEstimation', unit='raw', scale=1.0), dict(scale=2.0)),
        (dict(type='DisparityEstimation', unit='raw', scale=1.0), dict(unit='pixel')),
    ],
)
def test_what_changes_the_meaning_of_the_logits_changes_the_definition(
    config: dict[str, Any], change: dict[str, Any]
) -> None:
    tasks = build_tasks({'a': config, 'again': config, 'other': {**config, **change}}, 'the test')
    own, again, other = (task.definition() for task in tasks.values())
    assert own == again != other


def test_decoded_maps(task: Task) -> None:
    decoded = task.decode(random_logits(task, 0))

    assert decoded.shape == (2, task.map_channels, 6, 7)
    assert decoded.dtype == task.dtype
    # Images do not mix.
    torch.testing.assert_close(decoded[1:], task.decode(random_logits(task, 0)[1:]), rtol=1e-6, atol=0)


def test_loss_is_finite_and_reaches_the_logits(task: Task) -> None:
    logits = random_logits(task, 0).requires_grad_()
    losses = task.loss(logits, random_target(task, 0))

    assert losses
    assert all(name.startswith('loss_') for name in losses)
    for name, value in losses.items():
        assert value.shape == (), name
        assert value.isfinite() and value > 0, name
        (gradient,) = torch.autograd.grad(value, logits, retain_graph=True)
        assert gradient.isfinite().all() and gradient.any(), name


def test_holes_of_the_target_get_no_gradient(task: Task) -> None:
    logits, target = random_logits(task, 0).requires_grad_(), random_target(task, 0)
    sum(task.loss(logits, target).values()).backward()
    holes = (target == task.fill).all(dim=1)

    assert holes.any() and logits.grad is not None
    assert not logits.grad.transpose(0, 1)[:, holes].any()
    assert logits.grad.transpose(0, 1)[:, ~holes].any()


def test_loss_without_labels_is_a_zero_tied_to_the_graph(task: Task) -> None:
    logits = random_logits(task, 0).requires_grad_()
    for value in task.loss(logits, unlabelled(task)).values():
        assert value.item() == 0
        (gradient,) = torch.autograd.grad(value, logits, retain_graph=True)
        assert torch.equal(gradient, torch.zeros_like(logits))


def test_gradient_is_right(task: Task) -> None:
    size = (2, 2, 3)
    target = random_target(task, 1, size)
    if target.is_floating_point():
        target = target.double()
    logits = random_logits(task, 1, size).double().requires_grad_()

    assert torch.autograd.gradcheck(lambda x: tuple(task.loss(x, target).values()), logits)


def test_levels_are_classes_of_the_labelled_pixels(task: Task) -> None:
    target = random_target(task, 1)
    levels = task.discretize(target)

    assert 2 <= task.label_space_size <= 255
    assert levels.shape == (2, 1, 6, 7) and levels.dtype == torch.int64
    labelled = ~(target == task.fill).all(dim=1, keepdim=True)
    assert (levels[~labelled] == 255).all()
    # Pixels without a loss have no class either.
    found = set(levels[labelled].tolist()) - {255}
    assert len(found) > 1 and found <= set(range(task.label_space_size))
    assert (task.discretize(unlabelled(task)) == 255).all()


def test_label_space_loss_is_cross_entropy(task: Task) -> None:
    logits = (
        torch.randn(2, task.label_space_size, 6, 7, generator=torch.Generator().manual_seed(0))
        .double()
        .requires_grad_()
    )
    target = random_target(task, 1)
    levels = task.discretize(target)[:, 0]
    labelled, holes = levels != 255, (target == task.fill).all(dim=1)
    chosen = logits.log_softmax(1).gather(1, levels.where(labelled, 0)[:, None])[:, 0]

    losses = task.label_space_loss(logits, target)
    assert list(losses) == ['loss_ce']
    torch.testing.assert_close(losses['loss_ce'], -chosen[labelled].mean())
    (gradient,) = torch.autograd.grad(losses['loss_ce'], logits)
    assert not gradient.transpose(0, 1)[:, holes].any() and gradient.transpose(0, 1)[:, labelled].any()
    nothing = task.label_space_loss(logits, unlabelled(task))['loss_ce']
    assert nothing.item() == 0 and nothing.requires_grad


def test_imitating_oneself_costs_nothing(task: Task) -> None:
    student, teacher = random_logits(task, 0).double().requires_grad_(), random_logits(task, 1).double()
    for temperature in (1.0, 3.0):
        loss = task.imitate(student, teacher, temperature=temperature)
        assert loss.shape == () and loss > 0.01
        (gradient,) = torch.autograd.grad(loss, student)
        assert gradient.isfinite().all() and gradient.any()
    # What is decoded is cut off at the ends of a task's range; these logits stay inside.
    inside = (student.detach() / 4).requires_grad_()
    same = task.imitate(inside, inside.detach())
    assert abs(same.item()) < 1e-6
    assert torch.autograd.grad(same, inside)[0].abs().max() < 1e-6


def test_measures_add_up(task: Task) -> None:
    predictions, targets = task.decode(random_logits(task, 2)), random_target(task, 2)
    each = [task.measure(p, t) for p, t in zip(predictions, targets, strict=True)]
    together = task.measure(torch.cat([*predictions], dim=-1), torch.cat([*targets], dim=-1))

    assert together.dtype == torch.float64
    assert together.dim() == 1 and together.device.type == 'cpu'
    if type(task).__name__ not in MEANS_OVER_IMAGES:
        torch.testing.assert_close(sum(each), together, rtol=1e-13, atol=0)
    # The order of rows, as of processes, does not matter.
    assert task.summarize(each[0] + each[1]) == task.summarize(each[1] + each[0])


def test_an_unlabelled_image_adds_nothing(task: Task) -> None:
    prediction = task.decode(random_logits(task, 2))[0]

    assert not task.measure(prediction, unlabelled(task)[0]).any()


def test_summary_has_the_declared_metrics(task: Task) -> None:
    metrics = task.summarize(task.measure(task.decode(random_logits(task, 3))[0], random_target(task, 3)[0]))
    nothing = task.summarize(task.measure(task.decode(random_logits(task, 3))[0], unlabelled(task)[0]))

    for values in (metrics, nothing):
        assert list(values) == list(task.higher_is_better)
        assert all(type(value) is float for value in values.values())
    assert all(math.isfinite(value) for value in metrics.values())
    assert all(math.isnan(value) for value in nothing.values())


def test_the_perfect_prediction_has_the_best_metrics(task: Task) -> None:
    target = task.decode(random_logits(task, 4))[0]
    best = task.summarize(task.measure(target, target))
    other = task.summarize(task.measure(task.decode(random_logits(task, 5))[0], target))

    for name, up in task.higher_is_better.items():
        # Scores of correct predictions are percentages; half a bin of a histogram is the only error that is allowed.
        assert best[name] == pytest.approx(100 if up else 0, abs=0.005), name
        assert (best[name] > other[name]) == up, name


def test_changes_over_time_add_up(task: Task) -> None:
    first, second = (task.decode(random_logits(task, seed))[0].flatten(1) for seed in (6, 7))
    halves = [task.measure_change(first[:, part], second[:, part]) for part in (slice(0, 20), slice(20, None))]
    together = task.measure_change(first, second)

    assert together.dtype == torch.float64
    assert together.dim() == 1 and together.device.type == 'cpu'
    torch.testing.assert_close(sum(halves), together, rtol=1e-12, atol=0)
    metrics, nothing = (
        task.summarize_change(together),
        task.summarize_change(task.measure_change(first[:, :0], second[:, :0])),
    )
    own = [name for name in task.temporal_metrics if name.removeprefix('VC') not in map(str, task.consistency_windows)]
    assert own and list(metrics) == list(nothing) == own
    assert all(type(value) is float and math.isfinite(value) for value in metrics.values())
    assert all(math.isnan(value) for value in nothing.values())


def test_what_stays_has_the_best_temporal_metrics(task: Task) -> None:
    first, second = (task.decode(random_logits(task, seed))[0].flatten(1) for seed in (6, 7))
    best, other = (task.summarize_change(task.measure_change(first, x)) for x in (first, second))

    for name in best:
        up = task.temporal_metrics[name]
        assert best[name] == pytest.approx(100 if up else 0, abs=1e-5), name
        assert (best[name] > other[name]) == up, name


def test_constant_is_a_map_of_one_value(task: Task) -> None:
    targets = random_target(task, 6)
    arrays = [to_array(target) for target in targets]
    constant = torch.from_numpy(task.constant(iter(arrays)))

    assert constant.shape == (task.map_channels, 1, 1)
    assert constant.dtype == task.dtype
    predicted = constant.expand(-1, 6, 7)
    task.check(to_array(predicted), 'the constant')
    metrics = task.summarize(sum(task.measure(predicted, target) for target in targets))
    assert all(math.isfinite(value) for value in metrics.values())
    # A map of that value is its own constant.
    torch.testing.assert_close(torch.from_numpy(task.constant([to_array(predicted)])), constant)
    with pytest.raises(ValueError, match="task 'some_name'"):
        task.constant([to_array(unlabelled(task)[0])])


def test_maps_pass_the_check_and_stay_as_they_are(task: Task) -> None:
    for target in (*random_target(task, 7), unlabelled(task)[0]):
        array = to_array(target)
        task.check(array, 'a file')
        adjusted = task.adjust(array, CameraChange())
        np.testing.assert_allclose(adjusted, array, rtol=1e-6)
        assert adjusted.dtype == array.dtype
        # Pixels without label have none after any change of camera.
        change = CameraChange(linear=np.diag([-1.0, 1.0, 1.0]).astype(np.float32), depth_ratio=0.5)
        holes, moved = (target == task.fill).all(dim=0).numpy(), task.adjust(array, change)
        np.testing.assert_array_equal((moved == task.fill).reshape(6, 7, -1).all(axis=-1), holes)
        task.check(moved, 'a moved file')


def test_pictures(task: Task) -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    untouched = image.copy()
    for target in (random_target(task, 8)[0], task.decode(random_logits(task, 8))[0], unlabelled(task)[0]):
        panel = task.draw(image, target.numpy())
        assert panel.shape == (6, 7, 3)
        assert panel.dtype == np.uint8
    np.testing.assert_array_equal(image, untouched)


def test_a_task_without_a_type_is_named_whatever_the_others_are() -> None:
    with pytest.raises(ValueError, match=r"^tasks\.dept has no `type`.*did you mean 'depth'\?$"):
        build_tasks({'dept': {}, 'depth': 3}, 'the test')


class Signed(Task):
    """Any number may be a label, so unlabelled pixels hold NaN."""

    fill = math.nan
    out_channels = 1
    higher_is_better = {'mae': False}
    primary_metric = 'mae'
    loss = decode = measure = summarize = constant = draw = None  # type: ignore[assignment]


def test_nan_may_be_the_number_without_a_label() -> None:
    task = Signed(name='curvature')
    empty, some = np.full((2, 2), np.nan, np.float32), np.array([[np.nan, 0.0]], np.float32)
    assert task.examine([empty]) == 'no pixel of them is labelled' and task.examine([empty, some]) is None
    assert task.discretize(torch.tensor([math.nan, -0.3, 0.7])).tolist() == [255, 0, 1]


@pytest.mark.parametrize(
    ('attributes', 'words'),
    [
        (dict(out_channels=None), "has no 'out_channels'"),
        (dict(higher_is_better=None), "has no 'higher_is_better'"),
        (dict(primary_metric=None), "has no 'primary_metric'"),
        (dict(primary_metric='psnr'), r"'psnr'.*\['mae'\]"),
        (dict(__init__=lambda self, *, name: None), "has no 'name'"),
    ],
)
def test_a_kind_of_ones_own_must_declare_itself(
    monkeypatch: pytest.MonkeyPatch, attributes: dict[str, Any], words: str
) -> None:
    declared = {name: value for name, value in vars(Signed).items() if not name.startswith('_')}
    own = type('Own', (Task,), {key: value for key, value in {**declared, **attributes}.items() if value is not None})
    own.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    monkeypatch.setitem(TASKS.module_dict, 'Own', own)
    with pytest.raises(ValueError, match=rf'tasks\.a: .*{words}'):
        build_tasks({'a': {'type': 'Own'}}, 'the test')
