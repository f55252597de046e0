"""ATRC's head: contexts against explicit sums, genotypes, refusals."""

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

from mmmtl.models.decode_heads import ATRCHead
from mmmtl.models.decode_heads.atrc import (
    CONTEXTS,
    ContextFusion,
    TaskMaps,
    build_context,
    label_tasks,
    read_genotype,
    region_descriptors,
)
from mmmtl.registry import MODELS

WIDTHS = (12, 24, 36)
SIZES = ((7, 9), (4, 5), (2, 3))
TASKS = ('semseg', 'depth', 'normals')
KINDS = CONTEXTS[1:]
MIXED = dict(
    semseg=dict(semseg='global', depth='target_label', normals='none'),
    depth=dict(semseg='source_label', depth='local', normals='global'),
    normals=dict(semseg='none', depth='none', normals='none'),
)


def head(tiny, names: Sequence[str] = TASKS, contexts: Any = 'global', **changes: Any) -> ATRCHead:
    tasks = {name: tiny.tasks[name] for name in names}
    cfg = dict(type='ATRCHead', tasks=tasks, in_channels=WIDTHS, contexts=contexts, **changes)
    return tiny.scramble(MODELS.build(cfg)).double().eval()


def maps(tiny, n: int = 2, sizes=SIZES) -> list[Tensor]:
    return [tiny.pixels(n, c, *size, seed=i) for i, (c, size) in enumerate(zip(WIDTHS, sizes, strict=True))]


def context(tiny, kind: str, channels: int = 3):
    return tiny.scramble(build_context(kind, 6, channels)).double().eval()


def inputs(tiny, size=(5, 6)) -> dict[str, TaskMaps]:
    """Features, and label spaces of 3 and 4 classes, of target and source."""
    maps = [tiny.pixels(2, c, *size, seed=i) for i, c in enumerate((6, 6, 3, 4))]
    return dict(target=TaskMaps(maps[0], maps[2]), source=TaskMaps(maps[1], maps[3]))


# ---------------------------------------------------------------- contexts


def projected(projection, x: Tensor, softplus: bool = False) -> Tensor:
    """1x1 convolution, norm, ReLU (or softplus) of each layer, in explicit form."""
    for i, layer in enumerate(projection):
        x = torch.einsum('oc,nchw->nohw', layer.conv.weight[..., 0, 0], x)
        norm = layer.norm
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        x = (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]
        x = (1 + x.exp()).log() if softplus and i == len(projection) - 1 else x.clamp(min=0)
    return x


def test_global_context_is_normalised_products_of_all_pixels(tiny) -> None:
    module, given = context(tiny, 'global'), inputs(tiny)
    query, key = (
        projected(module.query, given['target'].features, True),
        projected(module.key, given['source'].features, True),
    )
    value = projected(module.value, given['source'].features)
    weights = torch.einsum('ndij,ndxy->nijxy', query, key)
    expected = torch.einsum('nijxy,nvxy->nvij', weights, value) / weights.sum((3, 4)).unsqueeze(1)
    torch.testing.assert_close(module(**given), expected)
    assert len(module.query) == len(module.key) == 2 and len(module.value) == 1


def test_local_context_is_a_loop_over_the_window(tiny) -> None:
    module, given = context(tiny, 'local'), inputs(tiny, (7, 11))
    query, key = projected(module.query, given['target'].features), projected(module.key, given['source'].features)
    value = projected(module.value, given['source'].features)
    expected = torch.zeros_like(value)
    for i in range(7):
        for j in range(11):
            logits, values = [], []
            for y in range(i - 4, i + 5):
                for x in range(j - 4, j + 5):
                    inside = 0 <= y < 7 and 0 <= x < 11
                    product = (query[:, :, i, j] * key[:, :, y, x]).sum(1) if inside else torch.zeros(2).double()
                    logits.append(product / math.sqrt(3))
                    values.append(value[:, :, y, x] if inside else torch.zeros(2, 3).double())
            weights = torch.stack(logits, dim=1).softmax(1)
            expected[:, :, i, j] = torch.einsum('nk,nkv->nv', weights, torch.stack(values, dim=1))
    torch.testing.assert_close(module(**given), expected)


@pytest.mark.parametrize('labels', ['target', 'source'])
def test_label_context_is_attention_to_regions(tiny, labels: str) -> None:
    module, given = context(tiny, f'{labels}_label'), inputs(tiny)
    classes = given[labels].label_space
    regions = []
    for k in range(classes.shape[1]):
        share = classes[:, k].exp() / classes[:, k].exp().sum((1, 2), keepdim=True)
        regions.append((given['source'].features * share[:, None]).sum((2, 3)))
    descriptors = torch.stack(regions, dim=2)[..., None]  # (N, C, K, 1)
    query = projected(module.query, given['target'].features)
    key, value = (projected(p, descriptors)[..., 0] for p in (module.key, module.value))
    weights = (torch.einsum('ndij,ndk->nijk', query, key) / math.sqrt(3)).softmax(3)
    torch.testing.assert_close(module(**given), torch.einsum('nijk,nvk->nvij', weights, value))


def test_region_descriptors_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0, 4.0]], [[0.0, 10.0, 30.0]]]], dtype=torch.float64)
    big = 50.0
    labels = torch.tensor([[[[0.0, 0.0, 0.0]], [[big, 0.0, big]], [[math.log(2), 0.0, 0.0]]]], dtype=torch.float64)
    # The mean; the mean of the first and the last pixel; weights 1/2, 1/4, 1/4.
    expected = [[7 / 3, 2.5, 2.0], [40 / 3, 15.0, 10.0]]
    torch.testing.assert_close(region_descriptors(features, labels)[0], torch.tensor(expected, dtype=torch.float64))


def test_region_descriptors_keep_their_digits_under_autocast(tiny) -> None:
    features, labels = tiny.pixels(1, 2, 150, 150) + 100, tiny.pixels(1, 3, 150, 150, seed=1)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = region_descriptors(features.float(), labels.float())
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), region_descriptors(features, labels), rtol=1e-5, atol=0)


@pytest.mark.parametrize('kind', KINDS)
def test_gradients_of_contexts(tiny, kind: str) -> None:
    module = context(tiny, kind, channels=2)
    needed = [map_[:, :, :3, :3].requires_grad_() for maps in inputs(tiny).values() for map_ in maps]
    assert torch.autograd.gradcheck(lambda *maps: module(TaskMaps(*maps[:2]), TaskMaps(*maps[2:])), needed)


def test_a_context_begins_with_xavier() -> None:
    weight = build_context('local', 64, 32).query[0].conv.weight
    bound = (6 / (64 + 32)) ** 0.5
    assert 0.98 * bound < weight.abs().max() <= bound


def test_fusion_by_hand(tiny) -> None:
    module = tiny.scramble(ContextFusion(4, 3, num_contexts=2)).double().eval()
    features, found = tiny.pixels(2, 4, 5, 6), [tiny.pixels(2, 3, 5, 6, seed=i) for i in (1, 2)]
    gathered = module.project.norm(
        torch.einsum('oc,nchw->nohw', module.project.conv.weight[..., 0, 0], torch.cat(found, 1))
    )
    merged = torch.einsum('oc,nchw->nohw', module.merge.conv.weight[..., 0, 0], torch.cat([features, gathered], 1))
    torch.testing.assert_close(module(features, found), module.merge.norm(merged).relu())
    alone = tiny.scramble(ContextFusion(4, 3, num_contexts=0)).double().eval()
    torch.testing.assert_close(alone(features, []), alone.merge(features))


def test_fusion_drops_whole_channels_in_training(tiny) -> None:
    module = tiny.scramble(ContextFusion(16, 3, num_contexts=0, dropout=0.25)).double().train()
    features = tiny.pixels(32, 16, 3, 4)
    found, whole = module(features, []), module.merge(features)
    kept, alive = (maps.flatten(2).any(2) for maps in (found, whole))
    assert 0.65 < kept[alive].double().mean() < 0.85
    torch.testing.assert_close(found[kept], whole[kept] / 0.75)


# ---------------------------------------------------------------- the head


def test_the_road_through_the_head(tiny) -> None:
    decoder, features = head(tiny, contexts=MIXED), maps(tiny)
    shared = torch.cat([features[0], *(F.interpolate(f, SIZES[0], mode='bilinear') for f in features[1:])], dim=1)
    labels = {'semseg': decoder.label_space['semseg'](shared)}
    assert list(decoder.label_space) == ['semseg']
    own = {name: TaskMaps(decoder.heads[name](shared), labels.get(name)) for name in TASKS}
    found = dict(
        semseg=[decoder.contexts['semseg'][source](own['semseg'], own[source]) for source in ('depth', 'semseg')],
        depth=[decoder.contexts['depth'][s](own['depth'], own[s]) for s in ('depth', 'normals', 'semseg')],
        normals=[],
    )
    for name, value in decoder(features).logits.items():
        fused = decoder.fusion[name](own[name].features, found[name])
        torch.testing.assert_close(value, decoder.predict[name](fused))
    assert decoder.heads['depth'].conv.weight.shape == (18, 72, 3, 3)  # a quarter of 12 + 24 + 36
    assert decoder.contexts['depth']['depth'].value[0].conv.weight.shape == (9, 18, 1, 1)


def test_label_spaces_in_training_alone_and_only_where_needed(tiny) -> None:
    features, classes = maps(tiny), dict(semseg=4, depth=40, normals=40)
    for contexts, needed in (('local', []), (MIXED, ['semseg']), ('target_label', TASKS), ('source_label', TASKS)):
        decoder = head(tiny, contexts=contexts)
        assert decoder(features).label_space == {}
        found = {name: tuple(value.shape) for name, value in decoder.train()(features).label_space.items()}
        assert found == {name: (2, classes[name], *SIZES[0]) for name in needed}


def test_label_spaces_do_not_teach_the_shared_maps(tiny) -> None:
    decoder = head(tiny, contexts='target_label').train()
    features = [f.requires_grad_() for f in maps(tiny)]
    out = decoder(features)
    for name in TASKS:
        grads = torch.autograd.grad(out.label_space[name].sum(), features, allow_unused=True, retain_graph=True)
        assert all(grad is None for grad in grads)
        learnt = torch.autograd.grad(out.logits[name].square().sum(), features, retain_graph=True)
        assert all(grad.any() for grad in learnt)


@pytest.mark.parametrize('kind', ['ATRCHead', 'ATRCSearchHead'])
def test_dropout_reaches_the_fusion(tiny, kind: str) -> None:
    cfg = dict(type=kind, tasks={name: tiny.tasks[name] for name in TASKS}, in_channels=WIDTHS)
    for changes, expected in (({}, 0.05), (dict(dropout=0.2), 0.2)):
        assert [fusion.dropout.p for fusion in MODELS.build({**cfg, **changes}).fusion.values()] == [expected] * 3


def test_contexts_begin_without_effect(tiny) -> None:
    """The norm of the projected contexts has weight zero, also after `init_weights`."""
    decoder = MODELS.build(
        dict(type='ATRCHead', tasks={n: tiny.tasks[n] for n in TASKS}, in_channels=WIDTHS, contexts='global')
    )
    decoder.init_weights()
    features = [f.float() for f in maps(tiny)]
    before = decoder.eval()(features).logits
    tiny.scramble(decoder.contexts)
    tiny.assert_same(decoder(features).logits, before)
    for fusion in decoder.fusion.values():
        torch.nn.init.ones_(fusion.project.norm.weight)
    assert all((value - before[name]).abs().max() > 1e-3 for name, value in decoder(features).logits.items())


def test_the_whole_model_at_an_odd_size(tiny) -> None:
    model = tiny.image_model(
        backbone=dict(type=tiny.TinyNet, hidden=6),
        neck=None,
        decode_head=dict(type='ATRCHead', in_channels=(tiny.CHANNELS,), contexts='target_label', channels=6),
    ).train()
    samples = [tiny.sample(size=(61, 83), seed=seed) for seed in range(2)]
    images = tiny.pixels(2, 3, 61, 83)
    losses = model(images, samples, mode='loss')
    finals = ['semseg.loss_ce', 'depth.loss_l1', 'normals.loss_l1']
    assert list(losses) == [*finals, *(f'label_space.{name}.loss_ce' for name in TASKS)]
    sum(losses.values()).backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    with torch.no_grad():
        (predicted,) = model.eval()(images[:1], samples[:1], mode='predict')
    assert predicted.pred.semseg.shape == predicted.pred.depth.shape == (1, 61, 83)


# ---------------------------------------------------------------- genotypes


def test_codes_and_names() -> None:
    assert {name: code for code, name in enumerate(CONTEXTS)} == dict(
        none=0, local=2, target_label=3, source_label=4, **{'global': 1}
    )
    codes = {t: {s: CONTEXTS.index(kind) for s, kind in row.items()} for t, row in MIXED.items()}
    assert read_genotype(codes, TASKS) == read_genotype(MIXED, TASKS) == MIXED
    assert read_genotype('local', ['a', 'b']) == {t: dict(a='local', b='local') for t in 'ab'}


@pytest.mark.parametrize('wrapped', [False, True])
def test_genotype_files(tiny, tmp_path: Path, wrapped: bool) -> None:
    codes = {t: {s: CONTEXTS.index(kind) for s, kind in row.items()} for t, row in MIXED.items()}
    path = tmp_path / 'genotype.json'
    path.write_text(json.dumps({'data': codes, 'step': 40000} if wrapped else codes))
    assert read_genotype(str(path), TASKS) == MIXED
    expected, got = head(tiny, contexts=MIXED), head(tiny, contexts=str(path))
    tiny.assert_same(got(maps(tiny)).logits, expected(maps(tiny)).logits)


def test_pairs_with_other_tasks_are_left_out() -> None:
    assert read_genotype(MIXED, ['depth', 'semseg']) == dict(
        depth=dict(depth='local', semseg='source_label'), semseg=dict(depth='target_label', semseg='global')
    )


def test_whose_label_space_is_needed() -> None:
    assert label_tasks(MIXED) == ['semseg']
    assert label_tasks(read_genotype('global', 'ab')) == []
    assert label_tasks(read_genotype('target_label', 'ab')) == ['a', 'b']
    assert label_tasks(read_genotype('source_label', 'ab')) == ['a', 'b']
    assert label_tasks(dict(a=dict(a='none', b='source_label'), b=dict(a='none', b='none'))) == ['b']
    assert label_tasks(dict(a=dict(a='none', b='target_label'), b=dict(a='none', b='none'))) == ['a']


def test_a_genotype_file_that_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / 'genotype.json'
    path.write_text('{"semseg": ')
    with pytest.raises(ValueError, match=r'genotype\.json: not valid JSON'):
        read_genotype(str(path), TASKS)


def test_what_is_no_genotype(tiny, tmp_path: Path) -> None:
    known = r"'none' \(0\), 'global' \(1\), 'local' \(2\), 'target_label' \(3\), 'source_label' \(4\)"
    pairs = {t: dict.fromkeys('ab', 1) for t in 'ab'}
    for wrong, message in (
        ('best', f"contexts: 'best' .*{known}"),
        ({**pairs, 'b': {'a': 5, 'b': 0}}, f'contexts: b <- a: 5 .*{known}'),
        ({**pairs, 'b': {'a': True, 'b': 0}}, 'b <- a: True '),
        ({**pairs, 'b': {'a': ['local'], 'b': 0}}, r"b <- a: \['local'\] "),
        ({'a': {'a': 1}}, r'missing \(target <- source\): a <- b, b <- a, b <- b'),
    ):
        with pytest.raises(ValueError, match=message):
            read_genotype(wrong, 'ab')
    with pytest.raises(ValueError, match=r'none\.json: no such genotype'):
        read_genotype(str(tmp_path / 'none.json'), 'ab')
    path = tmp_path / 'list.json'
    for text in ('[1, 2]', '{"data": 1}', '{"a": 1}'):
        path.write_text(text)
        with pytest.raises(ValueError, match='list.json .*{target: {source: type}}'):
            read_genotype(str(path), 'ab')
    path.write_text('{"a": {"a": 1, "b": 9}, "b": {"a": 1, "b": 1}}')
    with pytest.raises(ValueError, match='list.json: a <- b: 9 '):
        read_genotype(str(path), 'ab')


def test_what_the_head_refuses(tiny) -> None:
    with pytest.raises(ValueError, match=r'maps of \[12, 24\] channels, expected in_channels=\[12, 24, 36\]'):
        head(tiny)(maps(tiny)[:2])
    with pytest.raises(ValueError, match="contexts: 'all' "):
        head(tiny, contexts='all')
