"""Auxiliary tasks: all that a main task has but the final prediction, in the model, its losses and its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmmtl.checkpoint import load_weights
from mmmtl.config import load_config, resolve
from mmmtl.evaluation import MultiTaskMetric, delta_m, fit_constants, metrics_table
from mmmtl.models import MultiTaskSegmentor
from mmmtl.profiling import build_on_meta, count_cost
from mmmtl.registry import MODELS
from mmmtl.tasks import build_tasks, main_tasks
from mmmtl.visualization import MultiTaskVisualizer
from mmmtl.visualization.panels import GAP

CONFIGS = Path(__file__).parents[2] / 'configs'
WIDTHS = (8, 12)
SIZES = ((8, 10), (4, 5))
SCA = dict(type='SCAHead', fpma=dict(type='FPMA'), ctam=dict(type='CTAM'), csam=dict(type='CSAM'))
HEADS: dict[str, dict[str, Any]] = {
    'pad-net': dict(type='PADNetHead', channels=8, exchange=dict(type='SpatialAttention')),
    'pad-net with ctam': dict(type='PADNetHead', channels=8, exchange=dict(type='CTAM', shared_fusion=True)),
    'mti-net': dict(
        type='MTINetHead',
        propagation=dict(type='FPM', mask_axis='adjacent', reduction=2),
        exchange=dict(type='SpatialAttention'),
    ),
    'mti-net, augmented': dict(
        type='MTINetHead',
        propagation=dict(type='FPM', reduction=2),
        exchange=dict(type='SpatialAttention'),
        propagated='augmented',
    ),
    'mti-net without exchange': dict(type='MTINetHead', propagation=dict(type='FPM', reduction=2), exchange=None),
    'sca': SCA,
    'sca without propagation': dict(SCA, fpma=None),
    'sca released': dict(SCA, fpma_source='initial', ctam=dict(type='CTAM', fusion='basic_block', shared_fusion=True)),
}


@pytest.fixture
def tasks(tiny) -> dict[str, Any]:
    """Three tasks whose auxiliary one is in the middle of their order in a model."""
    tasks = {name: tiny.TASKS[name] for name in ('semseg', 'depth', 'normals')}
    return {**tasks, 'normals': dict(tasks['normals'], auxiliary=True)}


def head(tiny, cfg: dict[str, Any], tasks: dict[str, Any]) -> torch.nn.Module:
    built = build_tasks(dict(sorted(tasks.items())), 'the test')
    return MODELS.build({**cfg, 'tasks': built, 'in_channels': WIDTHS}).double()


@pytest.mark.parametrize('cfg', HEADS.values(), ids=HEADS)
def test_an_auxiliary_task_is_a_main_one_without_its_final_loss(tiny, tasks, cfg) -> None:
    """Equal predictions and, without that loss, equal gradients; the other weights have none, and are not built."""
    every = tiny.scramble(head(tiny, cfg, tiny.TASKS)).train()
    helped = head(tiny, cfg, tasks).train()
    order = {name: value for name, value in every.state_dict().items() if name.endswith('positions')}
    assert order == {} or all(len(value) == 3 for value in order.values())
    missing, extra = helped.load_state_dict(every.state_dict(), strict=False)
    assert not missing and extra and all('normals' in name for name in extra)
    maps = [tiny.pixels(2, c, *size, seed=c) for c, size in zip(WIDTHS, SIZES, strict=True)]

    outputs = every(maps), helped(maps)
    for output in outputs:
        logits = {name: map_ for name, map_ in output.logits.items() if name != 'normals'}
        predictions = {'final': logits} | {str(i): maps for i, maps in enumerate(output.preliminary)}
        sum((map_**2).mean() for maps in predictions.values() for map_ in maps.values()).backward()
    theirs, ours = outputs
    assert set(ours.logits) == set(ours.features) == {'depth', 'semseg'}
    for name in ours.logits:
        torch.testing.assert_close(ours.logits[name], theirs.logits[name], rtol=0, atol=0)
    assert len(ours.preliminary) == len(theirs.preliminary) > 0
    for mine, other in zip(ours.preliminary, theirs.preliminary, strict=True):
        tiny.assert_same(mine, other, rtol=0, atol=0)
    expected = {name: p.grad for name, p in every.named_parameters()}
    for name, parameter in helped.named_parameters():
        assert parameter.grad is not None, f'{name} has no gradient, which ends a run of several processes'
        torch.testing.assert_close(parameter.grad, expected.pop(name), rtol=1e-12, atol=1e-14, msg=name)
    assert not [name for name, grad in expected.items() if grad is not None]


def model(tiny, tasks: dict[str, Any], **head: Any) -> MultiTaskSegmentor:
    cfg = HEADS['pad-net'] | head
    return tiny.image_model(tasks, neck=None, decode_head=dict(cfg, in_channels=(tiny.CHANNELS,)))


def test_it_has_preliminary_losses_alone(tiny, tasks) -> None:
    net = model(tiny, tasks).train()
    losses = net(tiny.pixels(2, 3, *tiny.SIZE), [tiny.sample(seed=i) for i in range(2)], mode='loss')
    assert sorted(losses) == [
        *['depth.loss_l1', 'preliminary.0.depth.loss_l1', 'preliminary.0.normals.loss_l1'],
        *['preliminary.0.semseg.loss_ce', 'semseg.loss_ce'],
    ]
    heavy = model(tiny, {**tasks, 'normals': dict(tasks['normals'], loss_weight=3.0)}).train()
    more = heavy(tiny.pixels(2, 3, *tiny.SIZE), [tiny.sample(seed=i) for i in range(2)], mode='loss')
    key = 'preliminary.0.normals.loss_l1'
    torch.testing.assert_close(more[key], 3 * losses[key])


def test_it_has_no_map_no_score_and_no_picture(tiny, tasks) -> None:
    net, sample = model(tiny, tasks), tiny.sample()
    with torch.no_grad():
        (predicted,) = net(tiny.pixels(1, 3, *tiny.SIZE), [sample], mode='predict')
        assert set(net.step(tiny.pixels(1, 3, *tiny.SIZE)).logits) == {'depth', 'semseg'}
    assert sorted(predicted.pred.keys()) == ['depth', 'semseg'] and 'normals' in predicted.gt
    metric = MultiTaskMetric()
    metric.dataset_meta = dict(tasks=tasks)
    metric.process({}, [dict(gt=dict(sample.gt.items()), pred=dict(predicted.pred.items()))])
    metrics = metric.evaluate(1)
    assert {key.split('/')[0] for key in metrics} == {'semseg', 'depth'}
    built = build_tasks(tasks, 'the test')
    assert 'normals' not in metrics_table(metrics, built)
    assert delta_m(metrics, metrics, built) == 0
    assert set(fit_constants(main_tasks(built), [dict(sample.gt.items())])) == {'semseg', 'depth'}
    visualizer = MultiTaskVisualizer()
    visualizer.dataset_meta = dict(tasks=tasks)
    panel = visualizer.draw_sample(torch.zeros(*tiny.SIZE, 3, dtype=torch.uint8).numpy(), predicted)
    # Input, semseg and depth, each eight times as wide as the map.
    assert panel.shape[1] == 3 * 8 * tiny.SIZE[1] + 2 * GAP


def test_it_is_refused_by_a_head_without_preliminary_predictions(tiny, tasks) -> None:
    with pytest.raises(ValueError, match=r"TaskConvHead has no preliminary predictions.*\['normals'\]"):
        tiny.image_model(tasks)
    atrc = dict(type='ATRCHead', in_channels=(tiny.CHANNELS,))
    with pytest.raises(ValueError, match=r"ATRCHead has no preliminary predictions.*\['normals'\]"):
        tiny.image_model(tasks, neck=None, decode_head=atrc)


def test_it_needs_a_weight_of_preliminary_losses(tiny, tasks) -> None:
    pad_net = dict(HEADS['pad-net'], in_channels=(tiny.CHANNELS,))
    with pytest.raises(ValueError, match=r"preliminary_weight=0: the tasks \['normals'\] are auxiliary"):
        tiny.image_model(tasks, neck=None, decode_head=pad_net, preliminary_weight=0)


def test_what_a_config_may_say(tiny, tasks) -> None:
    cfg = Config(dict(tasks={'normals': tasks['normals'], **tasks}, default_hooks=dict(checkpoint=dict())))
    cfg.default_hooks.checkpoint.save_best = 'auto'
    assert resolve(cfg).default_hooks.checkpoint.save_best == 'semseg/mIoU'
    cfg.default_hooks.checkpoint.save_best = 'normals/mean'
    with pytest.raises(ValueError, match="'normals/mean', and the task 'normals' is auxiliary"):
        resolve(cfg)
    with pytest.raises(ValueError, match=r'tasks.normals.auxiliary=False'):
        resolve(Config(dict(tasks=tasks, use_tasks=['normals'])))
    with pytest.raises(ValueError, match=r"tasks.normals.auxiliary must be True or False, not 'no'"):
        build_tasks({**tasks, 'normals': dict(tasks['normals'], auxiliary='no')}, 'the test')


def test_which_checkpoints_fit(tiny, tasks) -> None:
    """One in which the task is a main one fits, but not the other way round."""
    every, helped = model(tiny, tiny.TASKS), model(tiny, tasks)
    load_weights(helped, checkpoint_of(every, tiny.TASKS), tasks=tasks)
    images = tiny.pixels(1, 3, *tiny.SIZE)
    with torch.no_grad():
        expected = every(images)
        tiny.assert_same(helped(images), {name: expected[name] for name in ('depth', 'semseg')}, rtol=0, atol=0)
    load_weights(model(tiny, tasks), checkpoint_of(helped, tasks), tasks=tasks)
    with pytest.raises(ValueError, match=r'decode_head.exchange.attend.normals'):
        load_weights(every, checkpoint_of(helped, tasks), tasks=tiny.TASKS)


def checkpoint_of(net: MultiTaskSegmentor, tasks: dict[str, Any]) -> dict[str, Any]:
    return dict(state_dict=net.state_dict(), meta=dict(dataset_meta=dict(tasks=tasks), task_order=sorted(tasks)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('path', 'params', 'gmac'),
    [
        ('pad_net/pad-net_hrnet18_1xb10-100e_nyud-480x640.py', 9.579, 118.14),
        ('mti_net/mti-net_hrnet18_1xb10-100e_nyud-480x640.py', 11.588, 17.45),
        ('sca/sca_hrnet18_1xb10-100e_nyud-480x640.py', 29.181, 32.36),
    ],
)
def test_the_examples_of_the_readmes(path: str, params: float, gmac: float) -> None:
    tasks = ['semseg', 'depth', 'normals']
    net = build_on_meta(load_config(CONFIGS / path, options={'tasks.normals.auxiliary': True}, tasks=tasks))
    assert list(net.main_tasks) == ['semseg', 'depth']
    total = count_cost(net, (480, 640)).total()
    assert total.params / 1e6 == pytest.approx(params, abs=0.001)
    assert total.macs['image'] / 1e9 == pytest.approx(gmac, abs=0.01)
