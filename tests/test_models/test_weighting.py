"""Weightings: values by hand on two tasks, what counts as an objective, what is shared, the log."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.registry import Registry
from torch import Tensor, nn

from mmmtl.models.weighting import FixedWeighting, GradientWeighting, LossWeighting, Weighting
from mmmtl.models.weighting.base import Objectives, task_of
from mmmtl.models.weighting.gradients import reached_by, task_gradients
from mmmtl.models.weighting.library import torchjd
from mmmtl.registry import MODELS

needs_torchjd = pytest.mark.skipif(not find_spec('torchjd'), reason='needs torchjd')


class Toy(nn.Module):
    """Tasks a and b share x; each has one parameter of its own. All losses are linear, so gradients are constants."""

    def __init__(self, first: tuple[float, float], second: tuple[float, float]) -> None:
        super().__init__()
        self.gradients = torch.tensor([first, second], dtype=torch.float64)
        self.x = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        self.a = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.b = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.unused = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def losses(self, values: tuple[float, float] = (1.0, 4.0)) -> dict[str, Tensor]:
        first, second = self.gradients @ self.x + torch.tensor(values, dtype=torch.float64)
        return {
            'a.loss_l1': first + 3 * self.a.sum(),
            'b.loss_l1': second / 2 + self.b.sum(),
            'preliminary.0.b.loss_l1': second / 4,
            'label_space.b.loss_ce': second / 4 + self.b.sum(),
            'align.loss_l1': 0.5 * self.x[0],
        }


def build(name: str, **arguments: Any) -> Weighting:
    weighting: Weighting = MODELS.build(dict(type=name, tasks=['a', 'b'], **arguments))
    return weighting.double()


def backward(toy: Toy, weighting: Weighting, losses: Mapping[str, Tensor]) -> dict[str, Any]:
    toy.zero_grad()
    loss = weighting(losses, toy.parameters())
    loss.backward()
    return {name: None if value.grad is None else value.grad.tolist() for name, value in toy.named_parameters()}


def assert_weights(toy: Toy, weighting: Weighting, weights: tuple[float, float], values: tuple[float, float]) -> None:
    """Each objective has its weight in all gradients, and the alignment weight 1."""
    found = backward(toy, weighting, toy.losses(values))
    expected = torch.tensor(weights, dtype=torch.float64) @ toy.gradients + torch.tensor([0.5, 0.0])
    assert found['x'] == pytest.approx(expected.tolist(), rel=1e-7)
    assert found['a'] == pytest.approx([3 * weights[0]], rel=1e-7)
    assert found['b'] == pytest.approx([2 * weights[1]], rel=1e-7)
    assert found['unused'] is None


CONFLICT = ((1.0, 0.0), (-1.0, 1.0))
VALUES = (1.0, 4.0)


def test_names_of_losses_tell_their_task() -> None:
    names = ('a.loss_x', 'preliminary.1.a.loss_x', 'label_space.a.loss_ce', 'distill.a.loss_x', 'search.loss_entropy')
    assert [task_of(name) for name in names] == ['a', 'a', 'a', 'distill', 'search']


def test_fixed_is_the_plain_sum() -> None:
    assert_weights(Toy(*CONFLICT), build('FixedWeighting'), (1.0, 1.0), VALUES)


@needs_torchjd
def test_uncertainty_by_hand() -> None:
    weighting = build('UncertaintyWeighting')
    weighting.scalarizer.log_var.data[:] = torch.tensor([0.0, math.log(4.0)])
    toy = Toy(*CONFLICT)
    assert_weights(toy, weighting, (0.5, 0.125), VALUES)
    # d/ds (exp(-s) L / 2 + s / 2)
    assert weighting.scalarizer.log_var.grad.tolist() == pytest.approx([0.5 - 0.5, 0.5 - 0.5], abs=1e-7)
    losses = weighting(toy.losses(VALUES), toy.parameters())
    assert losses.item() == pytest.approx(0.5 * 1 + 0.125 * 4 + 0.5 * math.log(4))


@needs_torchjd
def test_a_task_without_labels_keeps_its_learnt_weight_to_itself() -> None:
    weighting = build('UncertaintyWeighting')
    weighting.scalarizer.log_var.data[:] = torch.tensor([0.0, math.log(4.0)])
    toy = Toy(*CONFLICT)
    loss = weighting(toy.losses((0.0, 4.0)), toy.parameters())
    assert loss.item() == pytest.approx(0.125 * 4 + 0.5 * math.log(4))


@needs_torchjd
def test_imtl_l_by_hand() -> None:
    weighting = build('IMTLL')
    weighting.scalarizer.log_scale.data[:] = torch.tensor([0.0, math.log(0.5)])
    assert_weights(Toy(*CONFLICT), weighting, (1.0, 0.5), VALUES)
    assert weighting.scalarizer.log_scale.grad.tolist() == pytest.approx([0.0, 1.0])


@needs_torchjd
def test_geometric_mean_by_hand() -> None:
    # sqrt(1 * 4) = 2, with derivatives 2 / (2 * 1) and 2 / (2 * 4).
    assert_weights(Toy(*CONFLICT), build('GeometricMean'), (1.0, 0.25), VALUES)


@needs_torchjd
def test_random_weights_are_numbered() -> None:
    weighting = build('RandomWeighting', log_interval=1)
    drawn = []
    for seed in (5, 6, 5):
        weighting.before_iteration(0, 0.0, seed)
        state = torch.get_rng_state()
        toy = Toy(*CONFLICT)
        backward(toy, weighting, toy.losses())
        assert torch.equal(torch.get_rng_state(), state)
        scalars = MessageHub.get_current_instance().log_scalars
        drawn.append([scalars[f'train/weight/{task}'].current() for task in 'ab'])
    assert drawn[0] == drawn[2] != drawn[1]
    assert sum(drawn[0]) == pytest.approx(1)


def test_dwa_by_hand() -> None:
    toy, weighting = Toy(*CONFLICT), build('DWA', interval=2)
    for values in ((1.0, 4.0), (3.0, 4.0), (1.0, 2.0), (1.0, 4.0)):  # means 2, 4 and 1, 3
        assert_weights(toy, weighting, (1.0, 1.0), values)
    first, second = math.exp(0.5 / 2), math.exp(0.75 / 2)
    weights = (2 * first / (first + second), 2 * second / (first + second))
    assert_weights(toy, weighting, weights, (7.0, 7.0))


@pytest.mark.parametrize(
    ('interval', 'steps', 'ratios'),
    [
        (2, ((2.0, 4.0), (2.0, 4.0), (1.0, 2.0), (0.0, 1.0)), (1 / 2, 1.5 / 4)),
        (1, ((2.0, 4.0), (1.0, 2.0), (0.0, 3.0)), (1 / 2, 3 / 2)),
    ],
)
def test_dwa_leaves_out_iterations_without_labels(
    interval: int, steps: tuple[tuple[float, float], ...], ratios: tuple[float, float]
) -> None:
    """A loss of 0 is that of a task without labels: it has no part in a mean, and an interval of it changes nothing."""
    toy, weighting = Toy(*CONFLICT), build('DWA', interval=interval)
    for values in steps:
        backward(toy, weighting, toy.losses(values))
    first, second = (math.exp(ratio / 2) for ratio in ratios)
    assert_weights(toy, weighting, (2 * first / (first + second), 2 * second / (first + second)), (7.0, 7.0))
    assert backward(toy, weighting, toy.losses((0.0, 7.0)))['b'] == [2.0], 'alone, a task has weight 1'


@needs_torchjd
def test_dwa_is_that_of_torchjd() -> None:
    ours, theirs = build('DWA', interval=3), torchjd('scalarization').DWA()
    generator = torch.Generator().manual_seed(0)
    for step in range(12):
        values = torch.rand(2, generator=generator, dtype=torch.float64) + 0.1
        assert ours.combine(values, torch.tensor([0, 1])).item() == pytest.approx(theirs(values).item(), rel=1e-12)
        if step % 3 == 2:
            theirs.step()


@needs_torchjd
def test_famo_by_hand() -> None:
    toy, weighting = Toy(*CONFLICT), build('FAMO', lr=0.1, weight_decay=0.0)
    # z_i / L_i over their sum: 0.5 / 1 and 0.5 / 4.
    assert_weights(toy, weighting, (0.8, 0.2), VALUES)
    weighting.after_update(lambda: toy.losses((0.5, 4.0)))  # a falls, b does not
    # Adam's first step has length lr: towards the task that falls more slowly.
    assert weighting.logits.tolist() == pytest.approx([-0.1, 0.1], abs=1e-6)
    # The gradient z_i (d_i - z . d) of d = (log 2, 0), the falls of the logarithms, of which Adam keeps a tenth.
    assert weighting.exp_avg.tolist() == pytest.approx([0.1 * math.log(2) / 4, -0.1 * math.log(2) / 4], rel=1e-6)
    assert weighting.step == 1
    z = torch.tensor([-0.1, 0.1]).double().softmax(0) / torch.tensor(VALUES)
    assert_weights(toy, weighting, tuple((z / z.sum()).tolist()), VALUES)


@needs_torchjd
def test_famo_continues_from_its_state() -> None:
    runs = []
    for interrupted in (False, True):
        toy, weighting = Toy(*CONFLICT), build('FAMO')
        for step in range(4):
            if interrupted and step == 2:
                state = weighting.state_dict()
                weighting = build('FAMO')
                weighting.load_state_dict(state)
            backward(toy, weighting, toy.losses((1.0 + step, 2.0)))
            weighting.after_update(lambda toy=toy, step=step: toy.losses((1.0, 2.0 + step)))
        runs.append(weighting.state_dict())
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert not any(parameter.requires_grad for parameter in weighting.parameters())


@needs_torchjd
def test_famo_leaves_out_tasks_without_labels() -> None:
    toy, weighting = Toy(*CONFLICT), build('FAMO', lr=0.1)
    weighting.logits[:] = torch.tensor([0.2, -0.3])
    only_a = {name: value * ('b.' not in name) for name, value in toy.losses().items()}
    # Alone, a has all the weight, and what it does says nothing of b.
    backward(toy, weighting, only_a)
    assert toy.a.grad.tolist() == pytest.approx([3.0], rel=1e-6) and toy.b.grad.tolist() == [0.0]
    weighting.after_update(lambda: {name: 0.5 * value for name, value in only_a.items()})
    assert weighting.logits.tolist() == pytest.approx([0.2, -0.3])
    backward(toy, weighting, {name: 0 * value for name, value in toy.losses().items()})
    weighting.after_update(lambda: pytest.fail('nothing had labels'))
    backward(toy, weighting, toy.losses())
    weighting.after_update(lambda: toy.losses((0.5, 4.0)))
    assert weighting.logits[0] < 0.2 and weighting.logits[1] > -0.3


@needs_torchjd
def test_famo_takes_a_loss_that_became_zero_for_one_that_fell() -> None:
    toy, weighting = Toy(*CONFLICT), build('FAMO', lr=0.1, weight_decay=0.0)
    backward(toy, weighting, toy.losses())
    weighting.after_update(lambda: toy.losses((0.0, 4.0)))
    assert weighting.logits.tolist() == pytest.approx([-0.1, 0.1], abs=1e-6)


@needs_torchjd
def test_famo_names_the_tasks_whose_losses_are_negative() -> None:
    toy = Toy(*CONFLICT)
    with pytest.raises(ValueError, match=r'FAMO needs losses .* those of b,'):
        build('FAMO')(toy.losses((1.0, -4.0)), toy.parameters())
    weighting = build('FAMO')
    backward(toy, weighting, toy.losses())
    with pytest.raises(ValueError, match=r'FAMO needs losses .* those of b,'):
        weighting.after_update(lambda: toy.losses((1.0, -4.0)))
    assert weighting.logits.tolist() == [0.0, 0.0]


# ---------------------------------------------------------------- gradients


def shared_gradient(
    name: str, first: tuple[float, float], second: tuple[float, float], **arguments: Any
) -> list[float]:
    toy = Toy(first, second)
    found = backward(toy, build(name, **arguments), toy.losses())
    assert (found['a'], found['b'], found['unused']) == ([3.0], [2.0], None), 'plain gradients'
    return [found['x'][0] - 0.5, found['x'][1]]


CASES = {
    # g1 = (1, 0), g2 = (-1, 1): each is projected onto the normal plane of the other, (1/2, 1/2) and (0, 1).
    'PCGrad': ((1.0, 0.0), (-1.0, 1.0), (0.5, 1.5)),
    # The point of the segment nearest to 0, between (2, 0) and (0, 1): weights 1/5 and 4/5.
    'MGDA': ((2.0, 0.0), (0.0, 1.0), (0.4, 0.8)),
    # Equal projections onto both directions: w1 * 2 = w2 * 1, w1 + w2 = 1.
    'IMTLG': ((2.0, 0.0), (0.0, 1.0), (2 / 3, 2 / 3)),
    # Orthogonal gradients get the length of the shorter one, then the mean.
    'AlignedMTL': ((2.0, 0.0), (0.0, 1.0), (0.5, 0.5)),
}


@needs_torchjd
@pytest.mark.parametrize('name', CASES)
def test_closed_forms_by_hand(name: str) -> None:
    first, second, expected = CASES[name]
    assert shared_gradient(name, first, second) == pytest.approx(expected, rel=1e-12)


@needs_torchjd
@pytest.mark.parametrize('name', ['IMTLG', 'AlignedMTL', 'MGDA', 'PCGrad', 'UPGrad', 'CAGrad'])
def test_dependent_gradients_give_weights_of_their_order(name: str) -> None:
    """Three gradients of float32 in one plane: noise must not count as a third direction."""
    needed = {'UPGrad': 'quadprog', 'CAGrad': 'clarabel'}.get(name, 'torchjd')
    pytest.importorskip(needed)
    generator = torch.Generator().manual_seed(0)
    weighting: Any = MODELS.build(dict(type=name, tasks=['a', 'b', 'c']))
    for _ in range(20):
        plane = torch.randn(2, 5000, generator=generator)
        rows = torch.cat([plane, 0.3 * plane[:1] + 0.4 * plane[1:]])
        parameter = nn.Parameter(torch.zeros(5000))
        found = task_gradients([row @ parameter for row in rows], [parameter], torch.tensor(1.0))
        weights = weighting.weigh(found.gramian, torch.arange(3))
        assert 0.1 < weights.abs().max() < 10, weights


@needs_torchjd
@pytest.mark.parametrize('size', [1e-3, 1e-5, 1e-6])
def test_gradients_of_very_different_length_count(size: float) -> None:
    # w1 = w2 * size, w1 + w2 = 1: equal projections onto both.
    assert shared_gradient('IMTLG', (1.0, 0.0), (0.0, size)) == pytest.approx([size / (1 + size)] * 2, rel=1e-6)


@pytest.mark.skipif(not find_spec('torchjd') or not find_spec('quadprog'), reason='needs torchjd and quadprog')
def test_upgrad_by_hand() -> None:
    # The mean of the projections of PCGrad's case.
    assert shared_gradient('UPGrad', (1.0, 0.0), (-1.0, 1.0)) == pytest.approx((0.25, 0.75), abs=1e-6)


@pytest.mark.skipif(not find_spec('torchjd') or not find_spec('quadprog'), reason='needs torchjd and quadprog')
@pytest.mark.parametrize('size', [1.0, 0.03, 0.01, 0.001])
def test_upgrad_harms_no_task_however_small_its_gradient(size: float) -> None:
    found = shared_gradient('UPGrad', (1.0, 0.0), (-0.8 * size, 0.6 * size))
    # (1, 0) is projected onto the normal plane of the other; (-0.8, 0.6) onto that of (1, 0).
    assert found == pytest.approx((0.36 / 2, (0.48 + 0.6 * size) / 2), rel=1e-3)
    assert found[0] * -0.8 + found[1] * 0.6 > 0


@needs_torchjd
@pytest.mark.parametrize('name', CASES)
def test_where_nothing_is_shared_gradients_stay_plain(name: str) -> None:
    assert shared_gradient(name, (0.0, 0.0), (0.0, 0.0), log_interval=1) == [0.0, 0.0]
    scalars = MessageHub.get_current_instance().log_scalars
    assert [scalars[f'train/weight/{task}'].current() for task in 'ab'] == [1.0, 1.0]


@pytest.mark.skipif(not find_spec('torchjd') or not find_spec('clarabel'), reason='needs torchjd and cvxpy')
def test_cagrad_by_hand() -> None:
    # Equal gradients: the mean g0, and c * |g0| in the same direction.
    assert shared_gradient('CAGrad', (1.0, 2.0), (1.0, 2.0), c=0.4) == pytest.approx((1.4, 2.8), rel=1e-4)
    assert shared_gradient('CAGrad', (1e-4, 2e-4), (1e-4, 2e-4), c=0.4) == pytest.approx((1.4e-4, 2.8e-4), rel=1e-4)


@pytest.mark.skipif(not find_spec('torchjd') or not find_spec('ecos'), reason='needs torchjd, cvxpy and ecos')
def test_nash_mtl_by_hand() -> None:
    # Orthogonal gradients: G w = 1 / w makes all weighted gradients equally long.
    found = shared_gradient('NashMTL', (2.0, 0.0), (0.0, 1.0), max_norm=math.sqrt(2))
    assert found == pytest.approx((1.0, 1.0), rel=1e-3)


class Halves(GradientWeighting):
    """One half of every gradient."""

    def weigh(self, gramian: Tensor, tasks: Tensor) -> Tensor:
        self.seen = gramian
        return torch.full((len(tasks),), 0.5)


class First(LossWeighting):
    """The first objective alone."""

    def combine(self, values: Tensor, tasks: Tensor) -> Tensor:
        self.seen = tasks.tolist()
        return values[0]


def test_weightings_of_ones_own() -> None:
    registry = Registry('mine', parent=MODELS, scope='mine')
    registry.register_module(module=Halves)
    toy, weighting = Toy(*CONFLICT), MODELS.build(dict(type='mine.Halves', tasks=['a', 'b']))
    found = backward(toy, weighting, toy.losses())
    assert found == {'x': [0.5, 0.5], 'a': [3.0], 'b': [2.0], 'unused': None}
    assert weighting.seen.tolist() == [[1.0, -1.0], [-1.0, 2.0]]
    assert_weights(toy, First(tasks=['a', 'b']), (1.0, 0.0), VALUES)


@pytest.mark.parametrize(
    ('weights', 'error'),
    [
        (torch.tensor(1.0), ValueError),
        (torch.ones(5), ValueError),
        ([1.0, 1.0], ValueError),
        (torch.tensor([1.0, math.nan]), FloatingPointError),
    ],
)
def test_weights_are_held_to_their_contract(
    monkeypatch: pytest.MonkeyPatch, weights: Any, error: type[Exception]
) -> None:
    monkeypatch.setattr(Halves, 'weigh', lambda *_: weights)
    toy = Toy(*CONFLICT)
    with pytest.raises(error, match=r'Halves\.weigh'):
        backward(toy, Halves(tasks=['a', 'b']), toy.losses())


@pytest.mark.parametrize('loss', [None, torch.ones(2)])
def test_a_combined_loss_is_one_number(monkeypatch: pytest.MonkeyPatch, loss: Any) -> None:
    monkeypatch.setattr(First, 'combine', lambda *_: loss)
    toy = Toy(*CONFLICT)
    with pytest.raises(ValueError, match=r'First\.combine must return'):
        backward(toy, First(tasks=['a', 'b']), toy.losses())


def test_what_is_no_weighting_is_refused(tiny: Any) -> None:
    with pytest.raises(ValueError, match=r'model\.weighting must be a Weighting, not a PoolingLoss'):
        tiny.image_model(weighting=dict(type=PoolingLoss))


class PoolingLoss(nn.Module):
    def __init__(self, tasks: Any) -> None:
        super().__init__()


@pytest.mark.parametrize('kind', [Halves, First])
def test_a_task_without_labels_is_left_out(kind: type[Weighting]) -> None:
    toy, weighting = Toy((0.0, 0.0), (-1.0, 1.0)), kind(tasks=['a', 'b'], log_interval=1)
    losses = toy.losses((0.0, 4.0))
    found = backward(toy, weighting, losses | {'a.loss_l1': 0 * losses['a.loss_l1']})
    # Nothing is shared, so b gets its plain gradient; what a reaches gets zeros, as without a weighting.
    assert found == {'x': [-0.5, 1.0], 'a': [0.0], 'b': [2.0], 'unused': None}
    nobody = backward(toy, weighting, {name: 0 * value for name, value in toy.losses().items()})
    assert nobody == {'x': [0.0, 0.0], 'a': [0.0], 'b': [0.0], 'unused': None}


@pytest.mark.parametrize(
    'name', ['FixedWeighting', 'UncertaintyWeighting', 'IMTLL', 'GeometricMean', 'RandomWeighting', 'DWA', 'FAMO']
)
@pytest.mark.parametrize('frozen', ['a', 'b'])
def test_a_task_of_frozen_weights_has_an_objective(name: str, frozen: str) -> None:
    options = dict(interval=1) if name == 'DWA' else {}
    toy, weighting = Toy((0.0, 0.0), (0.0, 0.0)), build(name, log_interval=1, **options)
    toy.x.requires_grad_(False)
    getattr(toy, frozen).requires_grad_(False)
    found = backward(toy, weighting, toy.losses())
    trained = 'b' if frozen == 'a' else 'a'
    assert found[frozen] is None and found[trained][0] > 0


def test_a_scaled_loss_gives_scaled_gradients() -> None:
    toy, weighting = Toy(*CONFLICT), Halves(tasks=['a', 'b'])
    (1024 * weighting(toy.losses(), toy.parameters())).backward()
    assert toy.x.grad.tolist() == [512.0, 512.0]
    assert weighting.seen.tolist() == [[1.0, -1.0], [-1.0, 2.0]]


def test_gradients_that_overflow_are_left_as_they_are() -> None:
    toy, weighting = Toy((math.inf, 0.0), (1.0, 1.0)), Halves(tasks=['a', 'b'])
    losses = toy.losses()
    weighting(losses, toy.parameters()).backward()
    assert not hasattr(weighting, 'seen')
    assert not toy.x.grad[0].isfinite() and toy.b.grad.tolist() == [2.0]


@pytest.mark.parametrize('kind', [Halves, FixedWeighting])
def test_the_log(kind: type[Weighting]) -> None:
    toy, weighting = Toy((1.0, 0.0), (-3.0, 4.0)), kind(tasks=['a', 'b'], log_interval=3)
    scalars = MessageHub.get_current_instance().log_scalars
    scalars.clear()
    for iteration in range(3):
        weighting.before_iteration(iteration, 0.0, 0)
        assert not scalars
        backward(toy, weighting, toy.losses())
    weight = 0.5 if kind is Halves else 1.0
    assert {name: buffer.current() for name, buffer in scalars.items()} == {
        'train/objective/a': 1.0,
        'train/objective/b': 4.0,
        'train/weight/a': weight,
        'train/weight/b': weight,
        'train/grad_norm/a': 1.0,
        'train/grad_norm/b': 5.0,
        'train/grad_cosine/a-b': pytest.approx(-0.6),
    }


def test_without_a_shared_gradient_no_cosine_is_logged() -> None:
    toy, weighting = Toy((0.0, 0.0), (-3.0, 4.0)), FixedWeighting(tasks=['a', 'b'], log_interval=1)
    scalars = MessageHub.get_current_instance().log_scalars
    scalars.clear()
    backward(toy, weighting, toy.losses())
    assert scalars['train/grad_norm/a'].current() == 0 and 'train/grad_cosine/a-b' not in scalars


def test_parameters_in_a_graph() -> None:
    toy = Toy(*CONFLICT)
    losses = toy.losses()
    parameters = [toy.x, toy.a, toy.b, toy.unused]
    assert reached_by(losses.values(), parameters) == [True, True, True, False]
    assert reached_by([losses['align.loss_l1'], torch.tensor(1.0)], parameters) == [True, False, False, False]


# ---------------------------------------------------------------- models


def modelled(tiny: Any, weighting: dict[str, Any] | None) -> tuple[Any, dict[str, Tensor]]:
    """A model with a weighting, and its losses of two images."""
    model = tiny.image_model(weighting=weighting).train()
    return model, model(tiny.pixels(2, 3, *tiny.SIZE), [tiny.sample(seed=row) for row in range(2)], mode='loss')


def test_fixed_weights_change_no_bit(tiny: Any) -> None:
    grads = []
    for weighting in (None, dict(type='FixedWeighting', log_interval=1)):
        model, losses = modelled(tiny, weighting)
        total, logged = model.parse_losses(losses)
        total.backward()
        grads.append([logged['loss'].detach(), *(parameter.grad for parameter in model.parameters())])
    assert len(grads[0]) > 20
    assert all(torch.equal(first, second) for first, second in zip(*grads, strict=True))


@needs_torchjd
def test_learnt_weights_are_in_the_graph_of_the_losses(tiny: Any) -> None:
    """DistributedDataParallel takes those that are not for unused."""
    model, losses = modelled(tiny, dict(type='UncertaintyWeighting'))
    (gradient,) = torch.autograd.grad(sum(losses.values()), list(model.weighting.parameters()))
    assert gradient.tolist() == [0.0, 0.0, 0.0]


@needs_torchjd
def test_the_logged_loss_is_the_weighted_one(tiny: Any) -> None:
    model, losses = modelled(tiny, dict(type='UncertaintyWeighting'))
    total, logged = model.parse_losses(losses)
    s = model.weighting.scalarizer.log_var
    values = torch.stack([losses[name] for name in ('depth.loss_l1', 'normals.loss_l1', 'semseg.loss_ce')])
    torch.testing.assert_close(total, ((-s).exp() * values + s).sum() / 2)
    assert torch.equal(logged['loss'], total) and not logged['loss'].requires_grad


class Broken(FixedWeighting):
    """The logarithm of the sum of all losses without their sign."""

    def join(self, step: Objectives) -> Tensor:
        return (-super().join(step)).log()


def test_a_total_that_is_not_finite_names_the_weighting(tiny: Any) -> None:
    model = tiny.image_model(weighting=dict(type=Broken))
    losses = model(tiny.pixels(1, 3, *tiny.SIZE), [tiny.sample()], mode='loss')
    with pytest.raises(FloatingPointError, match=r'Broken \(model\.weighting\) .* nan '):
        model.parse_losses(losses)


def test_a_negative_log_interval_is_refused() -> None:
    with pytest.raises(ValueError, match='log_interval'):
        FixedWeighting(tasks=['a'], log_interval=-1)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition('.')[0] == 'torchjd']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'torchjd', None)
    with pytest.raises(ImportError, match=r'pip install "torchjd\[quadprog-projector\]'):
        MODELS.build(dict(type='PCGrad', tasks=['a', 'b']))


class Ones(GradientWeighting):
    """The plain sum, by the way of gradients."""

    def weigh(self, gramian: Tensor, tasks: Tensor) -> Tensor:
        self.seen = gramian
        return torch.ones(len(tasks))


KINDS: dict[str, dict[str, Any]] = {
    'plain': {},
    'preliminary': dict(
        neck=None,
        decode_head=dict(type='PADNetHead', in_channels=(8,), channels=6, exchange=dict(type='SpatialAttention')),
    ),
    'label_space': dict(
        neck=None, decode_head=dict(type='ATRCHead', in_channels=(8,), contexts='target_label', dropout=0.0)
    ),
    'search': dict(neck=None, decode_head=dict(type='ATRCSearchHead', in_channels=(8,), dropout=0.0)),
    'video': {},
}


@pytest.mark.parametrize('kind', KINDS)
def test_weights_of_one_give_the_gradients_of_the_sum(tiny: Any, kind: str) -> None:
    found = []
    for weighting in (None, dict(type=Ones)):
        build_model = tiny.video_model if kind == 'video' else tiny.image_model
        model = build_model(weighting=weighting, **KINDS[kind])
        inputs = tiny.clips(2) if kind == 'video' else tiny.pixels(2, 3, *tiny.SIZE)
        samples = tiny.clip_samples((0, 2)) if kind == 'video' else [tiny.sample(seed=row) for row in range(2)]
        torch.manual_seed(0)
        total, logged = model.train().parse_losses(model(inputs, samples, mode='loss'))
        total.backward()
        grads = {f'gradient of {name}': value.grad for name, value in model.named_parameters()}
        found.append({name: value for name, value in grads.items() if value is not None} | {'loss': logged['loss']})
    assert model.weighting.seen.shape == (3, 3)
    assert len(found[0]) > 20 and found[0].keys() == found[1].keys()
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f'{n}: {m}')
