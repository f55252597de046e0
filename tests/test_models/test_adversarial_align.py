"""The alignment of fast with slow features: L1, and a discriminator with one or two optimisers."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from torch import Tensor

from mmmtl.engine.alternating_optim_wrapper import AlternatingOptimWrapperConstructor
from mmmtl.models.losses import AdversarialAlignLoss, reverse_gradient

C = 5


def build(tiny, **kwargs) -> AdversarialAlignLoss:
    return tiny.scramble(AdversarialAlignLoss(**{'in_channels': (C,), 'hidden_channels': 4, **kwargs})).double()


def features(tiny, count=2) -> list[Tensor]:
    return [tiny.pixels(count, C, 3, 4, seed=seed).requires_grad_() for seed in (1, 2)]


def constant(loss: AdversarialAlignLoss, logit: float) -> None:
    """Let the discriminator say the same everywhere."""
    with torch.no_grad():
        loss.discriminator[-1].weight.zero_()
        loss.discriminator[-1].bias.fill_(logit)


def told_apart(loss: AdversarialAlignLoss, slow: Tensor, fast: Tensor) -> Tensor:
    """Return -log D(slow) - log(1 - D(fast)), averaged over positions."""
    d_slow, d_fast = loss.discriminator(slow).sigmoid(), loss.discriminator(fast).sigmoid()
    return -d_slow.log().mean() - (1 - d_fast).log().mean()


# --- values ------------------------------------------------------------------------------------------------------


def test_reverse_gradient():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = reverse_gradient(x, 0.5)
    torch.testing.assert_close(y, x)
    (y * torch.tensor([3.0, -4.0])).sum().backward()
    assert x.grad.tolist() == [-1.5, 2.0]


def test_l1_by_hand(tiny):
    slow = torch.zeros(1, C, 1, 2)
    fast = torch.tensor([1.0, -3.0]).expand(1, C, 1, 2)
    losses = build(tiny, alpha=0.5, beta=0).forward(slow, fast)
    assert list(losses.named()) == ['loss_l1']
    assert float(losses.l1) == 1.0  # 0.5 * (1 + 3) / 2


def test_cross_entropy_by_hand(tiny):
    """D = 3/4 everywhere: -log 3/4 for slow, -log 1/4 for fast; half of the positions are told right."""
    slow, fast = features(tiny)
    for mode, expected in {
        'grl': {'loss_adversarial': -math.log(3 / 4) - math.log(1 / 4)},
        'alternating': {
            'loss_discriminator': -math.log(3 / 4) - math.log(1 / 4),
            'loss_adversarial': -0.7 * math.log(3 / 4),
        },
    }.items():
        loss = build(tiny, alpha=0, beta=0.7, mode=mode)
        constant(loss, math.log(3))
        losses = loss(slow, fast)
        values = {name: value.item() for name, value in losses.named().items()}
        assert values == pytest.approx({**expected, 'discriminator_accuracy': 0.5})


def test_accuracy_counts_positions(tiny):
    """D is the sign of the first channel."""
    loss = build(tiny)
    with torch.no_grad():
        for layer in loss.discriminator[::2]:
            layer.weight.zero_()
            layer.weight[0, 0] = 1
            layer.bias.zero_()
    slow, fast = torch.zeros(2, 1, C, 1, 4).double()
    slow[0, 0, 0] = torch.tensor([1.0, 2.0, 3.0, -1.0])  # 3 of 4 right
    fast[0, 0, 0] = torch.tensor([-1.0, -2.0, 3.0, 1.0])  # 2 of 4 right
    assert float(loss(slow, fast).accuracy) == 5 / 8


def test_the_discriminator_by_hand(tiny):
    loss, (maps, _) = build(tiny), features(tiny)
    found = maps
    for i, layer in enumerate(loss.discriminator[::2]):
        found = torch.where(found > 0, found, 0.2 * found) if i else found
        found = torch.einsum('oc,nchw->nohw', layer.weight[..., 0, 0], found) + layer.bias.view(-1, 1, 1)
    assert found.shape == (2, 1, 3, 4)
    torch.testing.assert_close(loss.discriminator(maps), found)


def test_what_is_returned(tiny):
    maps = features(tiny)
    names = {
        (): ['loss_l1', 'loss_adversarial', 'discriminator_accuracy'],
        (('alpha', 0.0),): ['loss_adversarial', 'discriminator_accuracy'],
        (('beta', 0.0),): ['loss_l1'],
        (('mode', 'alternating'),): ['loss_l1', 'loss_discriminator', 'loss_adversarial', 'discriminator_accuracy'],
    }
    for changes, expected in names.items():
        assert list(build(tiny, **dict(changes))(*maps).named()) == expected
    assert build(tiny, beta=0.0).discriminator is None


# --- gradients ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('beta', [1.0, 0.3])
@pytest.mark.parametrize('detach_slow', [True, False])
def test_reversed_gradients(tiny, beta, detach_slow):
    """D descends its own loss, features climb it by beta."""
    loss = build(tiny, alpha=0, beta=beta, detach_slow=detach_slow)
    slow, fast = features(tiny)
    weights = list(loss.discriminator.parameters())
    *expected, d_slow, d_fast = torch.autograd.grad(told_apart(loss, slow, fast), [*weights, slow, fast])
    loss(slow, fast).adversarial.backward()
    for parameter, gradient in zip(weights, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    torch.testing.assert_close(fast.grad, -beta * d_fast)
    if detach_slow:
        assert slow.grad is None
    else:
        torch.testing.assert_close(slow.grad, -beta * d_slow)


@pytest.mark.parametrize('detach_slow', [True, False])
def test_alternating_gradients(tiny, detach_slow):
    """D's loss moves D alone, the networks' loss the networks alone."""
    loss = build(tiny, alpha=0, beta=0.3, mode='alternating', detach_slow=detach_slow)
    slow, fast = features(tiny)
    weights = list(loss.discriminator.parameters())
    expected = torch.autograd.grad(told_apart(loss, slow, fast), weights)
    losses = loss(slow, fast)
    losses.discriminator.backward()
    assert slow.grad is None
    assert fast.grad is None
    for parameter, gradient in zip(weights, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)

    confused = -0.3 * loss.discriminator(fast).sigmoid().log().mean()
    if not detach_slow:
        confused = confused - 0.3 * (1 - loss.discriminator(slow).sigmoid()).log().mean()
    d_slow, d_fast = torch.autograd.grad(confused, [slow, fast], allow_unused=True)
    before = [parameter.grad.clone() for parameter in weights]
    losses.adversarial.backward()
    torch.testing.assert_close(losses.adversarial, confused)
    torch.testing.assert_close(fast.grad, d_fast)
    torch.testing.assert_close(slow.grad, d_slow)
    for parameter, gradient in zip(weights, before, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=0)
        assert parameter.requires_grad


@pytest.mark.parametrize('detach_slow', [True, False])
def test_l1_gradients(tiny, detach_slow):
    slow, fast = features(tiny)
    build(tiny, alpha=2.0, beta=0, detach_slow=detach_slow)(slow, fast).l1.backward()
    sign = 2 * (fast - slow).detach().sign() / fast.numel()
    torch.testing.assert_close(fast.grad, sign)
    torch.testing.assert_close(slow.grad, None if detach_slow else -sign)


@pytest.mark.parametrize('mode', ['grl', 'alternating'])
def test_no_rows_give_zeros_tied_to_the_graph(tiny, mode):
    loss = build(tiny, mode=mode, detach_slow=False)
    slow, fast = features(tiny, 0)
    losses = loss(slow, fast).named()
    assert 'discriminator_accuracy' not in losses
    assert [value.item() for value in losses.values()] == [0.0] * len(losses)
    sum(losses.values()).backward()
    assert fast.grad.shape == (0, C, 3, 4)
    gradients = [parameter.grad for parameter in loss.parameters()]
    assert gradients
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


# --- options and errors ------------------------------------------------------------------------------------------


def test_spectral_normalisation(tiny):
    loss = AdversarialAlignLoss(in_channels=(C,), hidden_channels=4, spectral=True).double().train()
    for _ in range(50):
        losses = loss(*features(tiny))
    for layer in loss.discriminator[::2]:
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        assert norm.item() == pytest.approx(1, rel=1e-3)
    losses.adversarial.backward()
    assert all(parameter.grad is not None for parameter in loss.parameters())


def test_half_precision_losses_are_float32(tiny):
    slow, fast = (x.detach().float() for x in features(tiny))
    loss = build(tiny).float()
    expected = loss(slow, fast).named()
    with torch.autocast('cpu', torch.bfloat16):
        losses = loss(slow.bfloat16(), fast.bfloat16()).named()
    for name, value in losses.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(expected[name].item(), rel=0.05)


def test_errors(tiny):
    with pytest.raises(ValueError, match="mode must be 'grl' or 'alternating', not 'gan'"):
        AdversarialAlignLoss(in_channels=(C,), mode='gan')
    with pytest.raises(ValueError, match=r'alpha.*beta.*1\.0.*-1'):
        AdversarialAlignLoss(in_channels=(C,), beta=-1)
    with pytest.raises(ValueError, match=r'slow features \(2, 5, 3, 4\) and fast features \(2, 5, 6, 8\)'):
        build(tiny)(tiny.pixels(2, C, 3, 4), tiny.pixels(2, C, 6, 8))


# --- two optimisers ----------------------------------------------------------------------------------------------

SGD = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1.0))


def optimisers(model, **cfg) -> OptimWrapperDict:
    return build_optim_wrapper(
        model, dict(constructor='mmmtl.AlternatingOptimWrapperConstructor', model=SGD, discriminator=SGD, **cfg)
    )


def training_data(tiny):
    """Return a batch as a data loader gives it: uint8 clips and their samples."""
    inputs = [tiny.clips(4)[row].mul(40).add(128).clamp(0, 255).byte() for row in range(4)]
    return dict(inputs=inputs, data_samples=tiny.clip_samples([0, 1, 2, 4]))


def test_the_parameters_are_divided(tiny):
    model = tiny.video_model(align=dict(mode='alternating'))
    wrappers = optimisers(model)
    owned = {
        name: {id(p) for group in wrapper.optimizer.param_groups for p in group['params']}
        for name, wrapper in wrappers.items()
    }
    assert set(owned) == {'model', 'discriminator'}
    assert owned['discriminator'] == {id(p) for p in model.align_loss.discriminator.parameters()}
    assert not owned['model'] & owned['discriminator']
    assert owned['model'] | owned['discriminator'] == {id(p) for p in model.parameters()}


def test_a_step_with_two_optimisers(tiny):
    """With plain gradient descent of rate 1, each parameter moves by the gradient of its own loss."""
    model = tiny.video_model(align=dict(mode='alternating')).float().train()
    twin = copy.deepcopy(model)
    data = training_data(tiny)

    losses = twin(**twin.data_preprocessor(copy.deepcopy(data), True), mode='loss')
    own = losses.pop('align.loss_discriminator')
    others = sum(value for name, value in losses.items() if 'loss' in name)
    d = 'align_loss.discriminator.'
    names = [name for name, _ in twin.named_parameters()]
    expected = dict(
        zip(
            names,
            torch.autograd.grad(others, list(twin.parameters()), retain_graph=True, allow_unused=True),
            strict=True,
        )
    )
    assert {name for name, gradient in expected.items() if gradient is None} == {n for n in names if n.startswith(d)}
    gradients = torch.autograd.grad(own, list(twin.parameters()), allow_unused=True)
    for name, gradient in zip(names, gradients, strict=True):
        assert (gradient is not None) == name.startswith(d)
        if gradient is not None:
            expected[name] = gradient

    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    log = model.train_step(data, optimisers(model))
    assert any(name.startswith(d) for name in names)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(before[name] - parameter, expected[name], rtol=1e-4, atol=1e-5, msg=name)
        assert expected[name].any(), name
    torch.testing.assert_close(log['loss'], others)
    torch.testing.assert_close(log['align.loss_discriminator'], own)
    assert 'align.loss_adversarial' in log


def test_two_optimisers_stop_before_a_loss_that_is_not_finite(tiny):
    model = tiny.video_model(align=dict(mode='alternating')).float().train()
    data = training_data(tiny)
    data['data_samples'][1].gt.normals[0, 0, 0] = float('nan')
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    with pytest.raises(FloatingPointError, match='normals.loss_l1 is not finite'):
        model.train_step(data, optimisers(model))
    tiny.assert_same(dict(model.named_parameters()), before, rtol=0, atol=0)


def test_one_optimiser_trains_everything_in_both_modes(tiny):
    for mode in ('grl', 'alternating'):
        model = tiny.video_model(align=dict(mode=mode)).float().train()
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
        log = model.train_step(training_data(tiny), wrapper)
        assert all(torch.isfinite(value) for value in log.values())
        still = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
        assert still == []


def test_a_batch_of_key_frames_leaves_the_discriminator_alone(tiny):
    model = tiny.video_model(align=dict(mode='alternating')).float().train()
    before = copy.deepcopy(model.align_loss.state_dict())
    data = dict(inputs=training_data(tiny)['inputs'], data_samples=tiny.clip_samples([0] * 4))
    log = model.train_step(data, optimisers(model))
    assert not [name for name in log if name.startswith('align.')]
    tiny.assert_same(model.align_loss.state_dict(), before, rtol=0, atol=0)


def test_both_optimisers_use_the_gradients_of_the_last_iterations(tiny):
    model = tiny.video_model(align=dict(mode='alternating')).float().train()
    wrappers = build_optim_wrapper(
        model,
        dict(
            constructor='mmmtl.AlternatingOptimWrapperConstructor',
            model=dict(SGD, accumulative_counts=3),
            discriminator=dict(SGD, accumulative_counts=2),
        ),
    )
    wrappers.initialize_count_status(model, 3, 5)
    for updated in (['discriminator'], ['model', 'discriminator']):
        model.train_step(training_data(tiny), wrappers)
        assert [name for name, wrapper in wrappers.items() if wrapper.should_update()] == updated


def test_both_optimisers_log_their_gradients(tiny):
    model = tiny.video_model(align=dict(mode='alternating')).float().train()
    one = dict(SGD, clip_grad=dict(max_norm=1.0))
    cfg = dict(constructor='mmmtl.AlternatingOptimWrapperConstructor', model=one, discriminator=one)
    wrappers = build_optim_wrapper(model, cfg)
    hub = MessageHub.get_instance('both_optimisers')
    for wrapper in wrappers.values():
        wrapper.message_hub = hub
    model.train_step(training_data(tiny), wrappers)
    assert set(hub.log_scalars) == {'train/model.grad_norm', 'train/discriminator.grad_norm'}


def test_two_optimisers_need_a_discriminator_of_their_own(tiny):
    for changes in (
        dict(align=dict(mode='grl')),
        dict(align=dict(mode='alternating', beta=0.0)),
        dict(align_loss=None),
    ):
        with pytest.raises(ValueError, match="mode='alternating'"):
            optimisers(tiny.video_model(**changes))
    with pytest.raises(ValueError, match="mode='alternating'"):
        optimisers(tiny.image_model())


@pytest.mark.parametrize('cfg', [dict(model=SGD), dict(model=SGD, discriminator=SGD, other=SGD)])
def test_wrong_keys_are_named(cfg):
    with pytest.raises(ValueError, match="the keys 'model' and 'discriminator'"):
        AlternatingOptimWrapperConstructor(cfg)


def test_paramwise_settings_are_refused():
    with pytest.raises(ValueError, match='paramwise_cfg'):
        AlternatingOptimWrapperConstructor(dict(model=SGD, discriminator=SGD), dict(norm_decay_mult=0))
