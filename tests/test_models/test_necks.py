"""Squeeze-excitation and inter-frame local attention."""

from __future__ import annotations

import pytest
import torch

from mmmtl.models.layers import SqueezeExcitation
from mmmtl.models.necks import ILANeck, PropagatingNeck, TaskSqueezeExcitation
from mmmtl.registry import MODELS

C, A, H, W = 6, 3, 5, 7


def neck(tiny, **changes) -> ILANeck:
    cfg = dict(type='ILANeck', tasks=tiny.tasks, in_channels=(C,), attention_channels=A, reduction=2)
    return tiny.scramble(MODELS.build({**cfg, **changes})).double()


def memory(neck, tiny, seed, count=2):
    return neck.remember(tiny.pixels(count, C, H, W, seed=seed), tiny.pixels(count, 3, 4 * H, 4 * W, seed=seed))


# --- squeeze-excitation ------------------------------------------------------------------------------------------


def test_squeeze_excitation_by_hand():
    block = SqueezeExcitation(2, reduction=1)
    first, _, second, _ = block.gate
    with torch.no_grad():
        for tensor in block.parameters():
            tensor.zero_()
        # hidden = (mean_0 - 1, mean_1), gates = sigmoid(hidden_0 + ln 3), sigmoid(-2 hidden_1)
        first.weight[:, :, 0, 0] = torch.eye(2)
        first.bias[0] = -1.0
        second.weight[:, :, 0, 0] = torch.tensor([[1.0, 0.0], [0.0, -2.0]])
        second.bias[0] = torch.log(torch.tensor(3.0))
    features = torch.tensor([[[[0.0, 1.0]], [[1.0, 3.0]]]])  # means 0.5 and 2: hidden (0, 2) after ReLU
    expected = features * torch.tensor([0.75, 1 / (1 + torch.e**4)]).view(1, 2, 1, 1)
    torch.testing.assert_close(block(features), expected)


def test_squeeze_excitation_keeps_one_hidden_unit_at_least():
    assert SqueezeExcitation(4, reduction=16).gate[0].weight.shape == (1, 4, 1, 1)
    assert SqueezeExcitation(512).gate[0].weight.shape == (32, 512, 1, 1)


def test_each_task_has_a_gate_of_its_own(tiny):
    gates = tiny.scramble(TaskSqueezeExcitation(tasks=tiny.tasks, in_channels=(C,), reduction=2)).double()
    early, last = tiny.pixels(2, C, 9, 9, seed=1), tiny.pixels(2, C, H, W)
    maps = gates((early, last))
    assert list(maps) == list(tiny.tasks)
    for name, (gated,) in maps.items():
        torch.testing.assert_close(gated, gates.excite[name](last))
    assert not torch.allclose(maps['depth'][0], maps['normals'][0])


# --- what ILA propagates -----------------------------------------------------------------------------------------


def full_attention(query, key, value):
    """Every pixel to every pixel, by loops over images."""
    outputs = []
    for q, k, v in zip(query.flatten(2), key.flatten(2), value.flatten(2), strict=True):
        weights = (q.T @ k).exp()
        weights = weights / weights.sum(dim=1, keepdim=True)
        outputs.append((v @ weights.T).view_as(value[0]))
    return torch.stack(outputs)


@pytest.mark.parametrize('window', ['global', 2 * W - 1, 25])
def test_a_global_window_is_full_attention(tiny, window):
    ila = neck(tiny, window=window)
    current, key, non_key = (memory(ila, tiny, seed) for seed in range(3))
    for name, slots in ila(current, key, non_key).items():
        h, f = (f'{name}.{what}' for what in ('embedding', 'features'))
        torch.testing.assert_close(slots[0], current[f])
        torch.testing.assert_close(slots[1], full_attention(current[h], key[h], key[f]))
        torch.testing.assert_close(slots[2], full_attention(current[h], non_key[h], non_key[f]))


def test_equations_1_and_2_at_one_pixel(tiny):
    ila = neck(tiny, window=3, scale=0.5)
    features = [tiny.pixels(1, C, H, W, seed=seed) for seed in (0, 1)]
    current, key = (ila.remember(x, x) for x in features)
    i, j = 0, 2  # at the upper border
    f_k, f_t = (ila.excite['depth'](x) for x in features)
    h_k, h_t = (ila.embed['depth'](f) for f in (f_k, f_t))
    places = [(i + x, j + y) for x in (-1, 0, 1) for y in (-1, 0, 1) if 0 <= i + x < H]
    assert len(places) == 6
    logits = torch.stack([0.5 * h_k[0, :, i, j] @ h_t[0, :, a, b] for a, b in places])
    expected = sum(weight * f_t[0, :, a, b] for weight, (a, b) in zip(logits.softmax(0), places, strict=True))
    torch.testing.assert_close(ila(current, key, None)['depth'][1][0, :, i, j], expected)


def recovering_neck(tiny, window):
    """h = 40 f, so that attention picks the most similar neighbour; the gate is 1 / 2 everywhere."""
    ila = neck(tiny, in_channels=(16,), attention_channels=16, window=window)
    with torch.no_grad():
        for gate in ila.excite.values():
            gate.gate[2].weight.zero_()
            gate.gate[2].bias.zero_()
        for h in ila.embed.values():
            h.weight.zero_()
            h.weight[:, :, 1, 1] = 40 * torch.eye(16)
            h.bias.zero_()
    return ila


@pytest.mark.parametrize('shift', [(0, 0), (1, 0), (-1, 2), (2, 2), (-2, -1)])
def test_a_translation_is_recovered(tiny, shift):
    """Features that moved by at most half a window are found and propagated."""
    ila = recovering_neck(tiny, 5)
    scene = torch.nn.functional.normalize(tiny.pixels(2, 16, 14, 16), dim=1)
    now, before = scene[..., 2:12, 2:14], scene[..., 2 + shift[0] : 12 + shift[0], 2 + shift[1] : 14 + shift[1]]
    current, key = ila.remember(now, now), ila.remember(before, before)
    for slots in ila(current, key, None).values():
        # Inside: what is visible now was in the image before.
        inner = (..., slice(2, -2), slice(2, -2))
        torch.testing.assert_close(slots[1][inner], now[inner] / 2, rtol=0, atol=1e-6)
        if shift != (0, 0):
            assert (key['depth.features'] - now / 2)[inner].abs().mean() > 0.05


def test_a_translation_out_of_the_window_is_not(tiny):
    ila = recovering_neck(tiny, 3)
    scene = torch.nn.functional.normalize(tiny.pixels(1, 16, 10, 14), dim=1)
    now, before = scene[..., :12], scene[..., 2:]
    slots = ila(ila.remember(now, now), ila.remember(before, before), None)['depth']
    assert (slots[1] - now / 2).abs().mean() > 0.05


@pytest.mark.parametrize('border', ['mask', 'zero'])
def test_the_border_is_passed_on(tiny, border):
    """Features of one value and equal embeddings: nothing changes, or a corner keeps 9 of 25 neighbours."""
    ila = neck(tiny, border=border)
    frame = {f'{t}.{what}': torch.zeros(1, C, H, W) for t in tiny.tasks for what in ('features', 'embedding')}
    key = {name: tensor + name.endswith('features') for name, tensor in frame.items()}
    corner = ila(frame, key, None)['semseg'][1][0, :, 0, 0]
    torch.testing.assert_close(corner, torch.full((C,), 1.0 if border == 'mask' else 9 / 25))


def test_the_backend_is_passed_on(tiny):
    ila = neck(tiny, backend='another')
    with pytest.raises(ValueError, match="backend='another'"):
        ila(memory(ila, tiny, 0), memory(ila, tiny, 1), None)


# --- which frames propagate --------------------------------------------------------------------------------------


def test_the_paper_s_rules(tiny):
    ila = neck(tiny)
    assert ila.num_slots == 3
    assert [ila.reads_key(True), ila.reads_non_key(True)] == [False, True]
    assert [ila.reads_key(False), ila.reads_non_key(False)] == [True, True]


def test_without_multi_frame_key_frames_get_nothing(tiny):
    ila = neck(tiny, multi_frame=False)
    assert ila.num_slots == 2
    assert [ila.reads_key(True), ila.reads_non_key(True)] == [False, False]
    assert [ila.reads_key(False), ila.reads_non_key(False)] == [True, False]
    current, key = memory(ila, tiny, 0), memory(ila, tiny, 1)
    slots = ila(current, key, None)
    assert all(len(maps) == 2 for maps in slots.values())
    full = neck(tiny)
    torch.testing.assert_close(slots['depth'][1], full(current, key, None)['depth'][1])


def test_slots_without_a_memory_are_empty(tiny):
    ila = neck(tiny)
    current, other = memory(ila, tiny, 0), memory(ila, tiny, 1)
    empty = [[slot is None for slot in ila(current, *sources)['depth']] for sources in ((None, None), (other, None))]
    assert empty == [[False, True, True], [False, False, True]]
    assert ila(current, None, other)['depth'][1] is None


def test_a_memory_of_zeros_stands_for_none(tiny):
    ila = neck(tiny)
    current = memory(ila, tiny, 0)
    nothing = {name: torch.zeros_like(tensor) for name, tensor in current.items()}
    for slots in ila(current, nothing, nothing).values():
        assert not slots[1].any()
        assert not slots[2].any()


def test_no_frames_are_remembered_as_no_rows(tiny):
    ila = neck(tiny)
    assert {len(tensor) for tensor in memory(ila, tiny, 0, count=0).values()} == {0}


# --- task-specific or shared -------------------------------------------------------------------------------------


def test_task_specific_parameters(tiny):
    names = {name.rsplit('.', 1)[0] for name, _ in neck(tiny).named_parameters()}
    expected = {f'embed.{task}' for task in tiny.tasks}
    expected |= {f'excite.{task}.gate.{layer}' for task in tiny.tasks for layer in (0, 2)}
    assert names == expected
    assert neck(tiny).excite['depth'].gate[0].out_channels == C // 2
    maps = neck(tiny)(memory(neck(tiny), tiny, 0), memory(neck(tiny), tiny, 1), None)
    assert not torch.allclose(maps['depth'][1], maps['normals'][1])


def test_without_task_specific_parameters_every_task_shares_them(tiny):
    ila = neck(tiny, task_specific=False)
    names = {name.rsplit('.', 1)[0] for name, _ in ila.named_parameters()}
    assert names == {'embed.shared', 'excite.shared.gate.0', 'excite.shared.gate.2'}
    maps = ila(memory(ila, tiny, 0), memory(ila, tiny, 1), None)
    assert list(maps) == list(tiny.tasks)
    for task in tiny.tasks:
        assert maps[task][1] is maps['semseg'][1], 'computed once'
        gradients = torch.autograd.grad(maps[task][1].square().sum(), list(ila.parameters()), retain_graph=True)
        assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


def test_each_task_s_gradient_stays_in_its_own_parameters(tiny):
    ila = neck(tiny)
    ila(memory(ila, tiny, 0), memory(ila, tiny, 1), None)['depth'][1].square().sum().backward()
    touched = {name.split('.')[1] for name, p in ila.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched == {'depth'}


def test_shared_equals_task_specific_with_equal_weights(tiny):
    shared, own = neck(tiny, task_specific=False), neck(tiny)
    weights = shared.state_dict()
    own.load_state_dict({n: weights[f'{n.split(".")[0]}.shared.{n.split(".", 2)[2]}'] for n in own.state_dict()})
    got = own(*(memory(own, tiny, seed) for seed in range(3)))
    expected = shared(*(memory(shared, tiny, seed) for seed in range(3)))
    for task in tiny.tasks:
        for a, b in zip(got[task], expected[task], strict=True):
            torch.testing.assert_close(a, b)


def test_who_can_propagate(tiny):
    assert isinstance(neck(tiny), PropagatingNeck)
    assert not isinstance(TaskSqueezeExcitation(tasks=tiny.tasks, in_channels=(C,)), PropagatingNeck)
