"""ATRC's search: choices by hand, what learns, what is decided, and the head that its genotype builds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.models.decode_heads import ATRCHead, ATRCSearchHead
from mmmtl.models.decode_heads.atrc import CONTEXTS, ContextChoice, TaskMaps, entropy, leads
from mmmtl.registry import MODELS

WIDTHS = (12, 24, 36)
SIZES = ((7, 9), (4, 5), (2, 3))
TASKS = ('semseg', 'depth', 'normals')
FOUND = dict(
    semseg=dict(semseg='global', depth='target_label', normals='none'),
    depth=dict(semseg='source_label', depth='local', normals='global'),
    normals=dict(semseg='none', depth='local', normals='target_label'),
)


def search_head(tiny, names: Sequence[str] = TASKS, **changes: Any) -> ATRCSearchHead:
    tasks = {name: tiny.tasks[name] for name in names}
    head = tiny.scramble(MODELS.build(dict(type='ATRCSearchHead', tasks=tasks, in_channels=WIDTHS, **changes))).double()
    for choice in head.choices.values():
        torch.nn.init.zeros_(choice.alpha)
    return head


def maps(tiny) -> list[Tensor]:
    return [tiny.pixels(2, c, *size, seed=i) for i, (c, size) in enumerate(zip(WIDTHS, SIZES, strict=True))]


def choice_of(tiny, kinds: Sequence[str] = CONTEXTS) -> ContextChoice:
    choice = tiny.scramble(ContextChoice(kinds, 6, 3)).double()
    torch.nn.init.zeros_(choice.alpha)
    return choice


def inputs(tiny) -> tuple[TaskMaps, TaskMaps]:
    """Return features of target and source, and label spaces of 3 and 4 classes."""
    target, source, *labels = (tiny.pixels(2, c, 5, 6, seed=i) for i, c in enumerate((6, 6, 3, 4)))
    return TaskMaps(target, labels[0]), TaskMaps(source, labels[1])


def set_alpha(choice: ContextChoice, kind: str, value: float) -> None:
    with torch.no_grad():
        choice.alpha[choice.kinds.index(kind)] = value


# ---------------------------------------------------------------- one pair


def test_entropy_and_lead_by_hand() -> None:
    # p = 1/2, 1/4, 1/4
    alpha = torch.tensor([math.log(2), 0.0, 0.0], dtype=torch.float64)
    assert entropy(alpha).item() == pytest.approx(1.5 * math.log(2))
    assert entropy(torch.zeros(5)).item() == pytest.approx(math.log(5))
    assert leads(alpha, 0.25 - 1e-9) and not leads(alpha, 0.25 + 1e-9)
    assert torch.autograd.gradcheck(entropy, alpha.requires_grad_())


def test_samples_are_mixtures_with_the_probabilities_of_alpha(tiny) -> None:
    choice, given = choice_of(tiny).train(), inputs(tiny)
    for module in choice.candidates.values():
        module.eval()  # so that a candidate is the same in and out of the mixture
    single = torch.stack([torch.zeros(2, 3, 5, 6), *(c(*given) for c in choice.candidates.values())]).detach()

    def weights_of(sample: Tensor) -> Tensor:
        """Return the weights of a mixture, by least squares; that of 'none' is what the others leave."""
        found = torch.linalg.lstsq(single[1:].flatten(1).T, sample.detach().flatten()[:, None]).solution[:, 0]
        torch.testing.assert_close(torch.einsum('i,i...->...', found, single[1:]), sample.detach())
        return torch.cat([1 - found.sum()[None], found])

    choice.temperature = 1.0
    soft = torch.stack([weights_of(choice(*given)) for _ in range(20)])
    assert (soft > -1e-9).all() and soft.max() < 0.999

    with torch.no_grad():
        choice.alpha.copy_(torch.tensor([0.1, 0.4, 0.2, 0.2, 0.1]).log())
    choice.temperature = 1e-3
    drawn = torch.stack([weights_of(choice(*given)) for _ in range(300)])
    assert (drawn.max(dim=1).values > 0.99).float().mean() > 0.97
    torch.testing.assert_close(drawn.mean(0), choice.alpha.detach().exp(), atol=0.1, rtol=0)


def test_gradients_reach_alpha_and_every_candidate(tiny) -> None:
    choice, given = choice_of(tiny).train(), inputs(tiny)
    choice(*given).square().sum().backward()
    assert choice.alpha.grad.abs().min() > 0
    # Softmax has no slope along (1, ..., 1).
    assert choice.alpha.grad.sum().abs() < 1e-9 * choice.alpha.grad.abs().max()
    weights = {name: p.grad for name, p in choice.named_parameters() if name.endswith('conv.weight')}
    assert len(weights) == 4 * 5 and all(grad.any() for grad in weights.values())


def test_values_have_no_scale_of_their_own(tiny) -> None:
    choice = choice_of(tiny)
    assert not [name for name, _ in choice.named_parameters() if '.value.' in name and '.bn.' in name]
    assert len([name for name, _ in choice.named_parameters() if '.key.' in name and '.bn.' in name]) == 4 * 2 * 2


@pytest.mark.parametrize('best', CONTEXTS)
def test_the_better_candidate_is_found(tiny, best: str) -> None:
    """The target is what one candidate gives, with the weights that all of them keep."""
    choice, given = choice_of(tiny).train(), inputs(tiny)
    for module in choice.candidates.values():
        module.eval().requires_grad_(False)
    with torch.no_grad():
        wanted = choice.candidates[best](*given) if best != 'none' else 0 * choice(*given)
    optimizer = torch.optim.Adam([choice.alpha], lr=0.05)
    assert choice.entropy().item() == pytest.approx(math.log(5))
    for step in range(300):
        choice.temperature = 1 - 0.9 * step / 300
        optimizer.zero_grad()
        (choice(*given) - wanted).square().mean().backward()
        optimizer.step()
        choice.decide(0.3)
        if choice.decided:
            break
    assert choice.chosen == best and choice.decided


def test_what_is_decided_does_not_change(tiny) -> None:
    choice, given = choice_of(tiny).train(), inputs(tiny)
    optimizer = torch.optim.Adam(choice.parameters(), lr=0.1)

    def step() -> Tensor:
        optimizer.zero_grad()
        (choice(*given).square().sum() - choice.entropy()).backward()
        optimizer.step()
        return choice.alpha.detach().clone()

    assert not step().equal(torch.zeros(5))  # Adam has its momentum
    set_alpha(choice, 'local', 9.0)
    choice.decide(0.3)
    before = {name: value.clone() for name, value in choice.state_dict().items()}
    torch.testing.assert_close(choice(*given), choice.candidates['local'](*given))
    step()
    changed = {name.split('.')[1] for name, value in choice.state_dict().items() if not value.equal(before[name])
               and '.' in name}  # fmt: skip
    assert changed == {'local'} and choice.alpha.equal(before['alpha'])
    set_alpha(choice, 'global', 9.0)
    choice.decide(0.3)
    assert choice.decided, 'it is for good'


# ---------------------------------------------------------------- the head


@pytest.mark.parametrize('names', [('depth',), TASKS], ids=len)
def test_every_pair_has_every_candidate(tiny, names: Sequence[str]) -> None:
    head = search_head(tiny, names)
    assert set(head.choices) == {(t, s) for t in names for s in names}
    for (target, source), choice in head.choices.items():
        assert choice.kinds == (CONTEXTS[:-1] if target == source else CONTEXTS)
    out = head.train()(maps(tiny))
    assert set(out.logits) == set(out.label_space) == set(names)
    assert out.losses.keys() == head.entropy_losses().keys()
    assert set(head.genotype()) == set(names)


def test_the_schedule(tiny) -> None:
    head = search_head(tiny, ('depth', 'semseg'))
    mean = (2 * math.log(4) + 2 * math.log(5)) / 4
    schedule = ((0.0, 1.0, -0.02), (0.25, 0.7625, 0.0), (0.5, 0.525, 0.02), (1.0, 0.05, 0.06))
    for progress, temperature, weight in schedule:
        head.before_iteration(0, progress, 0)
        assert [c.temperature for c in head.choices.values()] == pytest.approx([temperature] * 4)
        losses = {name: value.item() for name, value in head.entropy_losses().items()}
        expected = {'search.loss_entropy': weight * mean, 'search.entropy': mean, 'search.open': 1.0}
        assert losses == pytest.approx(expected, abs=1e-12)


def test_advancing_decides(tiny) -> None:
    head = search_head(tiny, ('depth', 'semseg'))
    set_alpha(head.choices['depth', 'semseg'], 'local', 1.2)  # p = 0.453, 0.137, ...
    set_alpha(head.choices['depth', 'depth'], 'local', 0.9)  # 0.450, 0.183, ...
    head.before_iteration(0, 0.5, 0)
    assert [pair for pair, choice in head.choices.items() if choice.decided] == [('depth', 'semseg')]
    losses = head.entropy_losses()
    assert losses['search.open'] == 0.75
    losses['search.loss_entropy'].backward()
    assert head.choices['depth', 'semseg'].alpha.grad is None
    assert head.choices['depth', 'depth'].alpha.grad.any()


def test_its_genotype_is_the_head_that_was_found(tiny, tmp_path: Path) -> None:
    searched, features = search_head(tiny).eval(), maps(tiny)
    for (target, source), choice in searched.choices.items():
        set_alpha(choice, FOUND[target][source], 0.1)
    assert searched.genotype() == FOUND
    path = tmp_path / 'genotype.json'
    path.write_text(json.dumps(searched.genotype()))
    tasks = {name: tiny.tasks[name] for name in TASKS}
    head = MODELS.build(dict(type='ATRCHead', tasks=tasks, in_channels=WIDTHS, contexts=str(path)))
    assert type(head) is ATRCHead

    state = {}
    for name, value in head.double().eval().state_dict().items():
        part, target, *rest = name.split('.')
        if part == 'contexts':
            source, *rest = rest
            kept = searched.choices[target, source].candidates[FOUND[target][source]].state_dict()
            # Only the weight and the bias of a norm that has neither are missing.
            state[name] = kept.get('.'.join(rest), torch.ones_like(value) * name.endswith('weight'))
        else:
            state[name] = searched.state_dict()[name]
        if 'project.conv' in name:
            blocks = zip(sorted(TASKS), state[name].chunk(len(TASKS), dim=1), strict=True)
            state[name] = torch.cat([block for source, block in blocks if FOUND[target][source] != 'none'], dim=1)
    head.load_state_dict(state)
    tiny.assert_same(head(features).logits, searched(features).logits)


@pytest.mark.slow
@pytest.mark.parametrize('reach', ['window', 'map'])
def test_a_search_finds_what_a_task_needs(tiny, reach: str) -> None:
    """Depth is a mean of noise over 9x9 pixels, or over the map, as regions also see it; convolutions reach neither."""
    cfg = dict(type='ATRCSearchHead', tasks=dict(depth=tiny.tasks['depth']), in_channels=(8,), channels=8, dropout=0.0)
    head = MODELS.build(cfg).train()
    choice = head.choices['depth', 'depth']
    weights = [p for p in head.parameters() if p is not choice.alpha]
    optimizer = torch.optim.Adam([dict(params=weights, lr=3e-3), dict(params=[choice.alpha], lr=5e-3)])
    for step in range(steps := 800):
        features = torch.randn(8, 8, 20, 20)
        depth = 6 * F.avg_pool2d(features[:, :1], 9, 1, padding=4)
        if reach == 'map':
            features[:, :1] += torch.randn(8, 1, 1, 1)
            depth = 3 * features[:, :1].mean((2, 3), keepdim=True).expand_as(depth)
        loss = (head([features]).logits['depth'] - depth).abs().mean() + head.entropy_losses()['search.loss_entropy']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        head.before_iteration(step, (step + 1) / steps, 0)
        if choice.decided:
            break
    assert choice.decided
    assert choice.chosen in dict(window=['local'], map=['global', 'target_label'])[reach]


def test_what_the_search_refuses(tiny) -> None:
    for wrong in (dict(temperature=(1.0, 0.0)), dict(lead=0.0), dict(lead=1.0)):
        with pytest.raises(ValueError, match='temperatures must be above 0 and lead between 0 and 1, not'):
            search_head(tiny, **wrong)
    with pytest.raises(TypeError, match='contexts'):
        search_head(tiny, contexts='local')


def test_the_loss_of_the_model_has_the_entropy(tiny) -> None:
    model = tiny.image_model(
        backbone=dict(type=tiny.TinyNet, hidden=6),
        neck=None,
        decode_head=dict(type='ATRCSearchHead', in_channels=(tiny.CHANNELS,), channels=6),
    ).train()
    for choice in model.decode_head.choices.values():
        torch.nn.init.zeros_(choice.alpha)
    samples = [tiny.sample(seed=seed) for seed in range(2)]
    losses = model(tiny.pixels(2, 3, *tiny.SIZE), samples, mode='loss')
    assert [name for name in losses if name.startswith('search.')] == [
        'search.loss_entropy', 'search.entropy', 'search.open'
    ]  # fmt: skip
    total, logged = model.parse_losses(losses)
    mean = (3 * math.log(4) + 6 * math.log(5)) / 9
    tasks = sum(value.item() for name, value in losses.items() if not name.startswith('search.'))
    assert total.item() == pytest.approx(tasks - 0.02 * mean)
    assert logged['search.entropy'].item() == pytest.approx(mean)
