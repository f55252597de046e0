"""Recorded attention: weights against dense references in float64, what they carry, and a model that stays the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmmtl.models.decode_heads.atrc.context import Context
from mmmtl.models.layers import CrossAttention
from mmmtl.registry import MODELS
from mmmtl.visualization.attention import FRAMES, Attention, record
from mmmtl.visualization.attention_figures import CURRENT, Scene, attention_figures

SCA = dict(type='SCAHead', fpma=dict(type='FPMA'), ctam=dict(type='CTAM'), csam=dict(type='CSAM'))


def all_weights(attention: Attention) -> Tensor:
    """(H, W, h, w)."""
    height, width = attention.target_size
    return torch.stack([torch.stack([attention.weights(i, j) for j in range(width)]) for i in range(height)])


@pytest.mark.parametrize(
    'neck', [dict(window=3), dict(window=5, border='zero', scale=0.5), dict(window='global'), dict(task_specific=False)]
)
def test_ila(tiny, neck: dict[str, Any]) -> None:
    """Frame 2 of a stream sees the key frame 0 and the non-key frame 1."""
    model = tiny.video_model(neck=neck)
    video, state = tiny.pixels(3, 3, *tiny.SIZE), None
    with torch.no_grad():
        for frame in video[:2]:
            state = model.step(frame[None], state).state
        expected = model.step(video[2:], state).logits
        with record(model) as recording:
            tiny.assert_same(model.step(video[2:], state).logits, expected, rtol=0, atol=0)
    assert not [name for name, module in model.named_modules() if module._forward_hooks]
    branches = list(model.neck.embed)
    assert [(a.kind, a.task, a.source) for a in recording.attentions] == [
        ('ILA', branch, frame) for branch in branches for frame in FRAMES
    ]
    memories = dict(zip(FRAMES, (state.key, state.non_key), strict=True))
    border, scale = neck.get('border', 'mask'), neck.get('scale', 1.0)
    for attention in recording.attentions:
        weights, memory = all_weights(attention), memories[attention.source]
        query = model.neck.remember(model.fast_backbone(video[2:])[0], video[2:])[f'{attention.task}.embedding'][0]
        key = memory[f'{attention.task}.embedding'][0]
        torch.testing.assert_close(weights, dense(query, key, neck.get('window', 5), scale, border))
        if border == 'mask':
            torch.testing.assert_close(weights.sum((2, 3)), torch.ones(attention.target_size, dtype=torch.float64))
        carried = torch.einsum('ijhw,chw->cij', weights, memory[f'{attention.task}.features'][0])
        for task, branch in model.neck.branch_of.items():
            if branch == attention.task:
                torch.testing.assert_close(carried, recording.features[task][f'from the {attention.source}'])


def dense(query: Tensor, key: Tensor, window: int | str, scale: float, border: str) -> Tensor:
    """Equation 2 of MILA, place by place and tap by tap."""
    _, height, width = query.shape
    reach = max(height, width) if window == 'global' else window // 2
    weights = torch.zeros(height, width, height, width, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            taps, outside = {}, 0
            for y in range(i - reach, i + reach + 1):
                for x in range(j - reach, j + reach + 1):
                    if 0 <= y < height and 0 <= x < width:
                        taps[y, x] = scale * (query[:, i, j] @ key[:, y, x])
                    elif border == 'zero':
                        outside += 1
            largest = torch.stack([*taps.values(), torch.zeros((), dtype=torch.float64)]).max()
            total = sum((tap - largest).exp() for tap in taps.values()) + outside * (-largest).exp()
            for place, tap in taps.items():
                weights[(i, j, *place)] = (tap - largest).exp() / total
    return weights


def test_ctam_and_csam(tiny) -> None:
    """Each weight is q . k over its sum, and the weights carry the source's values to what each module returns."""
    head = tiny.scramble(MODELS.build({**SCA, 'tasks': tiny.tasks, 'in_channels': (8, 12, 16)})).double().eval()
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if '.query.' in name or '.key.' in name:
                parameter.mul_(0.05)  # else softplus underflows
    maps = [tiny.pixels(1, c, *size, seed=c) for c, size in ((8, (6, 7)), (12, (3, 4)), (16, (2, 2)))]
    seen: list[tuple[CrossAttention, Any, Any]] = []
    watched = [m for m in head.modules() if isinstance(m, CrossAttention)]
    hooks = [m.register_forward_hook(lambda *call: seen.append(call)) for m in watched]
    with torch.no_grad(), record(head) as recording:
        output = head(maps)
    for hook in hooks:
        hook.remove()
    pairs = [(call, source, found) for call in seen for source, found in zip(call[1][1], call[2], strict=True)]
    assert len(pairs) == len(recording.attentions) == 3 * 2 * 3 + 3 * 3
    with torch.no_grad():
        for ((module, (target, _), _), source, found), attention in zip(pairs, recording.attentions, strict=True):
            query, key, value = module.query(target)[0], module.key(source)[0], module.value(source)[0]
            products = torch.einsum('cij,chw->ijhw', query, key)
            expected = products / products.sum((2, 3), keepdim=True)
            weights = all_weights(attention)
            torch.testing.assert_close(weights, expected, rtol=1e-12, atol=0)
            torch.testing.assert_close(weights.sum((2, 3)), torch.ones(query.shape[1:], dtype=torch.float64))
            torch.testing.assert_close(torch.einsum('ijhw,chw->cij', weights, value), found[0])
            if attention.kind == 'CTAM':
                assert any(module is ctam.attend[attention.task][attention.source] for ctam in head.exchange)
    names = set(tiny.tasks)
    ctam = [(a.task, a.source) for a in recording.attentions if a.kind == 'CTAM']
    assert sorted(ctam) == sorted(3 * [(t, s) for t in names for s in names - {t}])
    csam = [(a.task, a.target_size[0], a.source_size[0]) for a in recording.attentions if a.kind == 'CSAM']
    assert sorted(csam) == sorted((t, *sizes) for t in names for sizes in ((6, 3), (6, 2), (3, 2)))
    assert {name: len(found) for name, found in recording.features.items()} == dict.fromkeys(names, 3)
    kept = output.features['depth'][1][0].clone()
    output.features['depth'][1].zero_()
    torch.testing.assert_close(recording.features['depth']['scale 1'], kept)
    image = torch.zeros(24, 28, 3, dtype=torch.uint8).numpy()
    figures = attention_figures(recording, Scene({CURRENT: image}, {CURRENT: 'image'}, (24, 32), (27, 23)))
    panels = {name: sum(axis.get_label() != '<colorbar>' for axis in f.axes) for name, f in figures.items()}
    assert panels == dict(ctam=6 * (1 + 3), csam=3 * (1 + 3), features=3 * (1 + 3))
    # Four places of 8 pixels; one of them is padding.
    assert Scene({CURRENT: image}, {CURRENT: 'image'}, (24, 32), (27, 23)).place((3, 4)) == (2, 3)


CONTEXTS = {
    'semseg': {'semseg': 'local', 'depth': 'global', 'normals': 'source_label'},
    'depth': {'semseg': 'target_label', 'depth': 'none', 'normals': 'local'},
    'normals': {'semseg': 'global', 'depth': 'source_label', 'normals': 'target_label'},
}


@pytest.mark.parametrize('searched', [False, True])
def test_atrc(tiny, searched: bool) -> None:
    """Where a context hands on the features as they are, the weights carry them to what it returns."""
    sizes = dict(tasks=tiny.tasks, in_channels=(8, 12), channels=6, context_channels=6)
    head = MODELS.build(
        dict(type='ATRCSearchHead', **sizes) if searched else dict(type='ATRCHead', contexts=CONTEXTS, **sizes)
    )
    head = tiny.scramble(head).double().eval()
    seen: list[tuple[Context, Any, Any]] = []
    contexts = [module for module in head.modules() if isinstance(module, Context)]
    for context in contexts:
        context.value = nn.Identity()
    hooks = [m.register_forward_hook(lambda *call: seen.append(call)) for m in contexts]
    with torch.no_grad(), record(head) as recording:
        head([tiny.pixels(1, c, *size, seed=c) for c, size in ((8, (11, 12)), (12, (6, 6)))])
    for hook in hooks:
        hook.remove()
    genotype = head.genotype() if searched else CONTEXTS
    expected = {(t, s, kind) for t, row in genotype.items() for s, kind in row.items() if kind != 'none'}
    assert {(a.task, a.source, a.context) for a in recording.attentions} == expected
    assert len(seen) == len(recording.attentions) == len(expected)
    for (_, (_, source), found), attention in zip(seen, recording.attentions, strict=True):
        carried = torch.einsum('ijhw,chw->cij', all_weights(attention), source.features[0])
        torch.testing.assert_close(carried, found[0], msg=attention.context)
        if attention.context != 'local':
            torch.testing.assert_close(all_weights(attention).sum((2, 3)), torch.ones(11, 12, dtype=torch.float64))
    image = torch.zeros(44, 48, 3, dtype=torch.uint8).numpy()
    figure = attention_figures(recording, Scene({CURRENT: image}, {CURRENT: 'image'}, (44, 48), (0, 0)))['atrc']
    titles = [axis.get_title() for axis in figure.axes]
    if not searched:
        assert {'depth (image)', 'semseg: T-label context', 'semseg: global context'} <= set(titles)


def test_what_is_refused(tiny) -> None:
    model = tiny.video_model()
    with torch.no_grad(), record(model), pytest.raises(ValueError, match='a batch of 2'):
        model.step(tiny.pixels(2, 3, *tiny.SIZE))
    image = torch.zeros(24, 28, 3, dtype=torch.uint8).numpy()
    with pytest.raises(ValueError, match=r'\(28, 0\).*28 x 24'):
        Scene({CURRENT: image}, {CURRENT: 'image'}, (24, 32), (28, 0))
