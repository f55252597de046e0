"""The order of the tasks in a config changes nothing; weights that were trained in another order keep theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import load_state_dict
from torch import Tensor, nn

from mmmtl.checkpoint import trained_order, upgrade
from mmmtl.config import resolve
from mmmtl.models import MultiTaskSegmentor
from mmmtl.registry import MODELS
from mmmtl.tasks.order import TaskOrder

CONFIGS = Path(__file__).parents[2] / 'configs'
FEW = [
    'atrc/atrc_mbv2_1xb4-2k_nyuv2-288x384.py',
    'mila/mila_tiny-k5_1xb8-demo_synthetic-64x128.py',
    'mti_net/mti-net_mbv2_1xb4-2k_nyuv2-288x384.py',
]
ALL = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob('[!_]*/*.py'))
WIDTHS = (6, 12)
ORDER = ('semseg', 'normals', 'depth')
HEADS: dict[str, dict[str, Any]] = dict(
    sca=dict(type='SCAHead', fpma=dict(type='FPMA', num_heads=2), ctam=dict(type='CTAM'), csam=None),
    mti_net=dict(type='MTINetHead', propagation=dict(type='FPM'), exchange=dict(type='SpatialAttention')),
    atrc=dict(type='ATRCHead', contexts='target_label'),
    pad_net=dict(type='PADNetHead', exchange=dict(type='CTAM', shared_fusion=True)),
)


class Pyramid(nn.Module):
    """A backbone of two strided convolutions, each of which gives a map."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, WIDTHS[0], 3, 4, 1), nn.Conv2d(*WIDTHS, 3, 2, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        first = self.first(images)
        return first, self.second(first)


def build(cfg: Config) -> MultiTaskSegmentor:
    """The model of a config, with the initial weights of a seed."""
    without_pretrained(cfg._cfg_dict)
    init_default_scope('mmmtl')
    torch.manual_seed(0)
    model = MODELS.build(resolve(cfg).model)
    model.init_weights()
    return model.eval()


def without_pretrained(cfg: Any) -> None:
    if isinstance(cfg, dict):
        cfg.pop('init_cfg', None)
    for value in cfg.values() if isinstance(cfg, dict) else cfg if isinstance(cfg, (list, tuple)) else ():
        without_pretrained(value)


@pytest.mark.parametrize('name', [pytest.param(name, marks=[] if name in FEW else pytest.mark.slow) for name in ALL])
def test_a_dumped_config_is_the_same_model(tiny, name: str, tmp_path: Path) -> None:
    """mmengine dumps configs with sorted keys."""
    path = tmp_path / 'dumped.py'
    Config.fromfile(CONFIGS / name).dump(path)
    first, second = build(Config.fromfile(CONFIGS / name)), build(Config.fromfile(path))
    tiny.assert_same(second.state_dict(), first.state_dict(), rtol=0, atol=0)
    # Every layer has an effect, though some begin as zeros.
    # Those of a deep network overflow float32.
    for model in (first, second):
        tiny.scramble(model).double()
    images = tiny.pixels(1, 3, 64, 96).double()
    with torch.no_grad():
        expected, got = (model.step(images).logits for model in (first, second))
    tiny.assert_same(got, expected, rtol=0, atol=0)


def head_model(tiny, name: str, order: tuple[str, ...], seed: int = 0) -> MultiTaskSegmentor:
    cfg = dict(
        type='MultiTaskSegmentor',
        tasks={task: tiny.TASKS[task] for task in order},
        backbone=dict(type=Pyramid),
        decode_head=dict(HEADS[name], in_channels=WIDTHS),
    )
    return tiny.scramble(MODELS.build(cfg), seed).double().eval()


def in_training_order(model: MultiTaskSegmentor, order: tuple[str, ...]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of a model that concatenates its tasks in an order, as version 0.1 saved them, and its logits."""
    for module in model.modules():
        if isinstance(module, TaskOrder):
            module.order = list(order)
    old = dict(exchange='ctam', propagation='fpma', label_space='levels')
    weights = {}
    for key, value in model.state_dict().items():
        part, _, rest = key.removeprefix('decode_head.').partition('.')
        if not key.endswith('.positions'):
            weights[f'decode_head.{old[part]}.{rest}' if part in old else key] = value
    with torch.no_grad():
        return weights, model(torch.ones(1, 3, 32, 48).double())


@pytest.mark.parametrize('load', [nn.Module.load_state_dict, load_state_dict], ids=['torch', 'mmengine'])
@pytest.mark.parametrize('name', HEADS)
def test_weights_keep_the_order_in_which_they_were_trained(tiny, name: str, load: Any) -> None:
    weights, expected = in_training_order(head_model(tiny, name, ORDER), ORDER)
    # As a new model would read them, in the sorted order, they mean something else.
    sorted_order = upgrade(weights, model := head_model(tiny, name, ORDER, seed=1), sorted(ORDER))
    load(model, sorted_order)
    assert any((model(torch.ones(1, 3, 32, 48).double())[n] - expected[n]).abs().max() > 1e-6 for n in expected)

    load(model, upgrade(weights, model, ORDER))
    with torch.no_grad():
        tiny.assert_same(model(torch.ones(1, 3, 32, 48).double()), expected, rtol=0, atol=0)
    # And so when they are saved again.
    other = head_model(tiny, name, tuple(sorted(ORDER)), seed=2)
    load(other, upgrade(model.state_dict(), other, sorted(ORDER)))
    with torch.no_grad():
        tiny.assert_same(other(torch.ones(1, 3, 32, 48).double()), expected, rtol=0, atol=0)


def test_the_order_of_a_checkpoint_is_the_stored_one_or_that_of_its_tasks() -> None:
    meta = {'dataset_meta': {'tasks': {'semseg': {}, 'depth': {}}}}
    assert trained_order({'meta': meta}) == ['semseg', 'depth']
    assert trained_order({'meta': {**meta, 'task_order': ['depth', 'semseg']}}) == ['depth', 'semseg']
    assert trained_order({'meta': {'dataset_meta': None}}) == trained_order({}) == []


def test_an_unknown_order_is_refused(tiny) -> None:
    model = head_model(tiny, 'sca', ORDER)
    weights, _ = in_training_order(model, ORDER)
    with pytest.raises(ValueError, match=r'decode_head\.exchange\.0\.\* .*task_order'):
        upgrade(weights, model, [])
    with pytest.raises(ValueError, match='task_order'):
        upgrade(weights, model, ['depth', 'semseg'])
    backbone = {name: value for name, value in weights.items() if name.startswith('backbone')}
    assert upgrade(backbone, model, []) == backbone
    single = head_model(tiny, 'sca', ('depth',))
    assert upgrade(in_training_order(single, ('depth',))[0], single, []).keys() == single.state_dict().keys()


@pytest.mark.parametrize('load', [nn.Module.load_state_dict, load_state_dict], ids=['torch', 'mmengine'])
@pytest.mark.parametrize('name', HEADS)
def test_weights_without_their_order_are_refused(tiny, name: str, load: Any) -> None:
    model = head_model(tiny, name, ORDER)
    full = model.state_dict()
    lacking = {key: value for key, value in full.items() if not key.endswith('.positions')}
    assert len(lacking) < len(full)
    with pytest.raises(ValueError, match=r'decode_head\..* .*task_order'):
        load(model, lacking, strict=False)
    head = {key.removeprefix('decode_head.'): value for key, value in lacking.items() if key.startswith('decode_head')}
    with pytest.raises(ValueError, match='task_order'):
        load(model.decode_head, head, strict=False)
    load(model, {key: value for key, value in full.items() if key.startswith('backbone')}, strict=False)
    load(model, full)
    single = head_model(tiny, name, ('depth',))
    load(single, single.state_dict())


def test_pretrained_weights_of_a_model_without_their_order_are_refused(tiny, tmp_path: Path) -> None:
    model = head_model(tiny, 'pad_net', ORDER)
    lacking = {key: value for key, value in model.state_dict().items() if not key.endswith('.positions')}
    torch.save(lacking, tmp_path / 'old.pth')
    model.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'old.pth'))
    model._is_init = False
    with pytest.raises(ValueError, match='task_order'):
        model.init_weights()


def test_positions_that_are_no_order_are_refused(tiny) -> None:
    order = TaskOrder(['b', 'a', 'c'])
    assert list(order) == ['a', 'b', 'c']
    order.load_state_dict({'positions': torch.tensor([2, 0, 1])})
    assert list(order) == ['c', 'a', 'b']
    with pytest.raises(ValueError, match=r"positions.*\['a', 'b', 'c'\].*\[0, 0, 1\]"):
        order.load_state_dict({'positions': torch.tensor([0, 0, 1])})
