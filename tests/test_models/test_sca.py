"""SCA-MTL's head: its parts by hand, both readings, permutations of tasks, gradients, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.models.decode_heads import CSAM, CTAM, FPMA, Aggregation, SCAHead, TaskHead
from mmmtl.models.decode_heads.feature_propagation import task_mask
from mmmtl.registry import MODELS

WIDTHS = (12, 24, 36)
SIZES = ((7, 9), (4, 5), (2, 3))
READINGS: dict[str, dict[str, Any]] = dict(
    paper=dict(fpma=dict(type='FPMA'), ctam=dict(type='CTAM'), csam=dict(type='CSAM')),
    released=dict(
        fpma=dict(type='FPMA', mask_axis='adjacent', padding='zero'),
        ctam=dict(type='CTAM', fusion='basic_block', shared_fusion=True, query_convs=2),
        csam=dict(type='CSAM', source='ctam', query_convs=2),
        fpma_entry='input',
        hidden_channels='input',
        upsample_first=True,
    ),
)


def head(tiny, names: Sequence[str] = ('semseg', 'depth', 'normals'), reading='paper', **changes: Any) -> SCAHead:
    tasks = {name: tiny.tasks[name] for name in names}
    cfg = dict(type='SCAHead', tasks=tasks, in_channels=WIDTHS, **{**READINGS[reading], **changes})
    return tiny.scramble(MODELS.build(cfg)).double().eval()


def maps(tiny, n: int = 2, sizes=SIZES) -> list[Tensor]:
    return [tiny.pixels(n, c, *size, seed=i) for i, (c, size) in enumerate(zip(WIDTHS, sizes, strict=True))]


def by_task(tiny, channels: int, names: Sequence[str], size=(5, 6)) -> dict[str, Tensor]:
    return {name: tiny.pixels(2, channels, *size, seed=i) for i, name in enumerate(names)}


def conv1x1(layer, x: Tensor) -> Tensor:
    y = torch.einsum('oc,nchw->nohw', layer.weight[..., 0, 0], x)
    return y if layer.bias is None else y + layer.bias.view(1, -1, 1, 1)


def up(x: Tensor, size) -> Tensor:
    return F.interpolate(x, size, mode='bilinear', align_corners=False)


# CTAM


def test_ctam_with_one_source_by_hand(tiny) -> None:
    module = tiny.scramble(CTAM(tasks=['a', 'b'], channels=4)).double().eval()
    features = by_task(tiny, 4, 'ab')
    out = module(features)
    for target, source in ('ab', 'ba'):
        attend = module.attend[target][source]
        query, key, value = (
            layer(x).flatten(2)
            for layer, x in (
                (attend.query, features[target]),
                (attend.key, features[source]),
                (attend.value, features[source]),
            )
        )
        weights = torch.einsum('ndl,nds->nls', query, key)
        found = torch.einsum('nls,nvs->nvl', weights / weights.sum(2, keepdim=True), value).unflatten(2, (5, 6))
        expected = features[target] + conv1x1(module.fuse[target], torch.cat([features[target], found], 1))
        torch.testing.assert_close(out[target], expected)
    assert module.fuse['a'].weight.shape == (4, 8, 1, 1)


@pytest.mark.parametrize('shared', [False, True])
@pytest.mark.parametrize('fusion', ['conv1x1', 'basic_block'])
def test_ctam_concatenates_its_sources(tiny, fusion: str, shared: bool) -> None:
    module = tiny.scramble(CTAM(tasks=list('abc'), channels=4, fusion=fusion, shared_fusion=shared)).double().eval()
    features = by_task(tiny, 4, 'abc')
    out = module(features)
    for target in 'abc':
        cams = []
        for source in [name for name in 'abc' if name != target]:
            cams += [features[target], *module.attend[target][source](features[target], [features[source]])]
        fuse = module.shared_fuse if shared else module.fuse[target]
        torch.testing.assert_close(out[target], features[target] + fuse(torch.cat(cams, dim=1)))
    assert len(module.fuse) == (0 if shared else 3)


def test_ctam_of_one_task_passes_its_features(tiny) -> None:
    for shared in (False, True):
        module = CTAM(tasks=['a'], channels=4, shared_fusion=shared)
        features = by_task(tiny, 4, 'a')
        assert module(features)['a'] is features['a']
        assert not list(module.parameters())


def test_what_ctam_begins_with() -> None:
    """The attention with Xavier's weights, the fusion with PyTorch's."""
    module = CTAM(tasks=['a', 'b'], channels=64)
    module.init_weights()
    for conv, bound in ((module.attend['a']['b'].value.conv, (6 / 128) ** 0.5), (module.fuse['a'], 128**-0.5)):
        assert 0.98 * bound < conv.weight.abs().max() <= bound


# FPMA


def test_the_mask_sums_to_one_over_tasks(tiny) -> None:
    scores = tiny.pixels(2, 3 * 6, 4, 5)
    mask = task_mask(scores, 3)
    torch.testing.assert_close(mask.view(2, 3, 6, 4, 5).sum(1), torch.ones(2, 6, 4, 5).double())
    exp = scores.exp().view(2, 3, 6, 4, 5)
    torch.testing.assert_close(mask.view(2, 3, 6, 4, 5), exp / exp.sum(1, keepdim=True))


def test_the_released_mask_sums_to_one_over_neighbours(tiny) -> None:
    scores = tiny.pixels(2, 3 * 6, 4, 5)
    mask = task_mask(scores, 3, 'adjacent')
    for first in range(0, 18, 3):
        torch.testing.assert_close(mask[:, first : first + 3], scores[:, first : first + 3].softmax(1))
    per_task = mask.view(2, 3, 6, 4, 5).sum(1)
    assert (per_task - 1).abs().max() > 0.1


@pytest.mark.parametrize('axis', ['task', 'adjacent'])
def test_fpma_by_hand(tiny, axis) -> None:
    module = tiny.scramble(FPMA(tasks=['a', 'b'], channels=4, mask_axis=axis, window=3)).double().eval()
    features = by_task(tiny, 4, 'ab')
    out = module({'b': features['b'], 'a': features['a']})
    stacked = torch.cat([features['a'], features['b']], dim=1)
    shared = module.fuse(task_mask(module.stage(stacked), 2, axis) * stacked)
    for name in 'ab':
        gate = module.excite[name].gate(shared.mean((2, 3), keepdim=True))
        torch.testing.assert_close(out[name], shared * gate + features[name])
    assert len(module.stage.blocks) == 1 and module.stage.blocks[0].attention.shift == 0


def test_fpma_of_one_task_has_no_mask(tiny) -> None:
    module = tiny.scramble(FPMA(tasks=['a'], channels=4)).double().eval()
    features = by_task(tiny, 4, 'a')
    assert module.stage is None
    shared = module.fuse(features['a'])
    torch.testing.assert_close(module(features)['a'], module.excite['a'](shared) + features['a'])


# CSAM, aggregation, task head


@pytest.mark.parametrize('source', ['refined', 'ctam'])
def test_csam_by_hand(tiny, source) -> None:
    module = tiny.scramble(CSAM(channels=WIDTHS, source=source)).double().eval()
    features = maps(tiny)
    out = module(features)
    assert module.out_channels == (2 * 12 * 2, 2 * 24, 36)
    assert [o.shape[1] for o in out] == [*module.out_channels]
    assert [o.shape[2:] for o in out] == [f.shape[2:] for f in features]
    assert out[2] is features[2]
    sources = out if source == 'refined' else features
    for k in (0, 1):
        cams = []
        for coarser, project in enumerate(module.project[k], k + 1):
            projected = project.norm(conv1x1(project.conv, sources[coarser]))
            cams += [features[k], *module.attend[k](features[k], [projected])]
        torch.testing.assert_close(out[k], torch.cat(cams, dim=1))


def test_csam_concatenation_of_the_released_widths() -> None:
    with torch.device('meta'):
        module = CSAM(channels=(36, 72, 144, 288))
    assert module.out_channels == (216, 288, 288, 288) and sum(module.out_channels) == 1080
    assert list(CSAM(channels=(8,)).parameters()) == [] and CSAM(channels=(8,)).out_channels == (8,)


@pytest.mark.parametrize('hidden', [None, 5, 'input'])
def test_aggregation_is_equation_5_in_either_order(tiny, hidden) -> None:
    early, late = (
        tiny.scramble(Aggregation(WIDTHS, 4, hidden_channels=hidden, upsample_first=first)).double().eval()
        for first in (True, False)
    )
    features = maps(tiny)
    stacked = torch.cat([up(f, SIZES[0]) for f in features], dim=1)
    expected = conv1x1(early.conv, stacked)
    if hidden is not None:
        expected = conv1x1(early.predict[2], early.predict[0](expected).relu())
    assert early.conv.out_channels == (72 if hidden == 'input' else hidden or 4)
    torch.testing.assert_close(early(features), expected)
    torch.testing.assert_close(late(features), expected)


def test_where_coarse_features_enter_a_head(tiny) -> None:
    shared, coarse = tiny.pixels(2, 6, 4, 5), tiny.pixels(2, 8, 4, 5, seed=1)
    code = tiny.scramble(TaskHead(6, 3, coarse_channels=8, entry='input')).double().eval()
    torch.testing.assert_close(code(shared, coarse), code.blocks(torch.cat([shared, coarse], dim=1)))
    assert code.blocks[0].conv1.conv.weight.shape == (6, 14, 3, 3)
    figure = tiny.scramble(TaskHead(6, 3, coarse_channels=8)).double().eval()
    added = figure.merge.norm(conv1x1(figure.merge.conv, coarse))
    torch.testing.assert_close(figure(shared, coarse), figure.blocks(shared) + added)
    # The norm sees what is added, at the size of the finer scale.
    larger = F.interpolate(coarse, (8, 10), mode='bilinear')
    finer = tiny.pixels(2, 6, 8, 10)
    figure.merge.norm.train()
    torch.testing.assert_close(figure(finer, coarse), figure(finer, larger))
    assert TaskHead(6, 3).merge is None


# The head


def test_the_road_through_the_head(tiny) -> None:
    """Coarse to fine: heads, CTAM, FPMA; then CSAM and aggregation."""
    decoder, features = head(tiny, ('semseg', 'depth')), maps(tiny)
    coarse: dict[str, Tensor] = {}
    scales: dict[int, dict[str, Tensor]] = {}
    for i in (2, 1, 0):
        own = {
            name: h(features[i], up(coarse[name], SIZES[i]) if coarse else None) for name, h in decoder.heads[i].items()
        }
        scales[i] = decoder.exchange[i](own)
        coarse = decoder.propagation[i - 1](scales[i]) if i else {}
    for name, logits in decoder(features).logits.items():
        refined = decoder.cross_scale[name]([scales[i][name] for i in range(3)])
        torch.testing.assert_close(logits, decoder.aggregation[name](refined))


@pytest.mark.parametrize('reading', READINGS)
def test_preliminary_predictions_in_training_alone(tiny, reading: str) -> None:
    decoder, features = head(tiny, reading=reading), maps(tiny)
    assert not decoder(features).preliminary
    out = decoder.train()(features)
    found = [{name: tuple(value.shape) for name, value in scale.items()} for scale in out.preliminary]
    assert found == [{'semseg': (2, 4, *size), 'depth': (2, 1, *size), 'normals': (2, 3, *size)} for size in SIZES]


def test_sources_are_concatenated_in_the_order_of_the_weights(tiny) -> None:
    """With one fusion for all targets, each target has its sources in different places."""
    module = tiny.scramble(CTAM(tasks='abc', channels=4, shared_fusion=True)).double().eval()
    features = by_task(tiny, 4, 'abc')
    expected = module(features)
    same = tiny.scramble(CTAM(tasks='bca', channels=4, shared_fusion=True), seed=1).double().eval()
    same.load_state_dict(module.state_dict())
    tiny.assert_same({name: same(features)[name] for name in 'abc'}, expected, rtol=0, atol=0)
    other = tiny.scramble(CTAM(tasks='abc', channels=4, shared_fusion=True), seed=1).double().eval()
    other.load_state_dict({**module.state_dict(), 'order.positions': torch.tensor([1, 0, 2])})
    assert (other(features)['c'] - expected['c']).abs().max() > 1e-3


def test_what_the_head_refuses(tiny) -> None:
    with pytest.raises(ValueError, match=r'maps of \[12, 24\] channels, expected in_channels=\[12, 24, 36\]'):
        head(tiny)(maps(tiny)[:2])
    for wrong, message in (
        (dict(fpma_entry='middle'), r"entry must be one of \('output', 'input'\), not 'middle'"),
        (dict(head_blocks=0), 'num_blocks must be at least 1, not 0'),
        (dict(ctam=dict(type='CTAM', fusion='sum')), r"fusion must be one of \('conv1x1', 'basic_block'\), not 'sum'"),
        (dict(csam=dict(type='CSAM', source='all')), r"source must be one of \('refined', 'ctam'\), not 'all'"),
        (dict(fpma=dict(type='FPMA', mask_axis=1)), r"mask_axis must be one of \('task', 'adjacent'\), not 1"),
    ):
        with pytest.raises(ValueError, match=message):
            head(tiny, **wrong)
