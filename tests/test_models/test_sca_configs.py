"""SCA-MTL's configs: where the readings differ, and what each costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmmtl.models.decode_heads import SCAHead
from mmmtl.profiling import build_on_meta, cost_table, count_cost

CONFIGS = Path(__file__).parents[2] / 'configs' / 'sca'
MTI_NET = '../mti_net/mti-net'
NAME = '{}_hrnet18_1xb10-100e_nyuv2-480x640.py'


def config(name: str) -> Config:
    return Config.fromfile(CONFIGS / NAME.format(name))


def leaves(value: Any, path: str = '') -> dict[str, Any]:
    if isinstance(value, dict) and not path.endswith('norm_cfg'):
        return {k: v for key, item in value.items() for k, v in leaves(item, f'{path}.{key}').items()}
    return {path.removeprefix('.'): value}


def difference(old: Config, new: Config) -> dict[str, Any]:
    old, new = (leaves({k: v for k, v in cfg.to_dict().items() if k in ('model', 'tasks')}) for cfg in (old, new))
    missing = object()
    return {key: new.get(key) for key in old.keys() | new.keys() if old.get(key, missing) != new.get(key, missing)}


def test_the_readings_differ_where_documented() -> None:
    released = difference(config('sca'), config('sca-released'))
    assert released == {
        'tasks.semseg.loss_weight': 1.44,
        'tasks.depth.loss_weight': 1.15,
        'model.neck.padding': 'zero',
        'model.neck.drop_path': 0.2,
        'model.decode_head.fpma.mask_axis': 'adjacent',
        'model.decode_head.fpma.padding': 'zero',
        'model.decode_head.ctam.fusion': 'basic_block',
        'model.decode_head.ctam.shared_fusion': True,
        'model.decode_head.ctam.query_convs': 2,
        'model.decode_head.ctam.fusion_norm_cfg': dict(type='BN', momentum=0.01),
        'model.decode_head.csam.source': 'ctam',
        'model.decode_head.csam.query_convs': 2,
        'model.decode_head.fpma_entry': 'input',
        'model.decode_head.hidden_channels': 'input',
        'model.decode_head.upsample_first': True,
    }
    table = (CONFIGS / 'README.md').read_text()
    for key in released:
        assert f'`{key.rpartition(".")[2]}' in table, key


def test_every_row_of_table_5_adds_one_module() -> None:
    names = (MTI_NET, 'mti-net-attention', 'mti-net-attention-fpma', 'mti-net-attention-fpma-ctam', 'sca-released')
    rows = [config(name) for name in names]
    attention, fpma, ctam = (difference(*pair) for pair in zip(rows[:3], rows[1:4], strict=True))
    # `SCAHead` has other names for the arguments of `MTINetHead`, and other defaults.
    names = dict(propagation='fpma', exchange='ctam', propagated='fpma_source')
    mti_net = {names.get(key, key): value for key, value in rows[3].model.decode_head.items()}
    rows[3].model.decode_head = {**mti_net, 'type': 'SCAHead', 'fpma_entry': 'input', 'hidden_channels': 'input'}
    csam = difference(*rows[3:])
    head = 'model.decode_head'
    assert attention.pop('tasks.semseg.loss_weight') == 1.44 and attention.pop('tasks.depth.loss_weight') == 1.15
    assert {key.rpartition('.')[0] for key in attention} == {'model.neck'}
    assert fpma == {f'{head}.propagation.type': 'FPMA', f'{head}.propagation.padding': 'zero'}
    assert ctam.pop(f'{head}.propagated') == 'augmented' and ctam[f'{head}.exchange.type'] == 'CTAM'
    assert {key.rpartition('.')[0] for key in ctam} == {f'{head}.exchange'}
    assert csam.pop(f'{head}.fpma_source') is None, 'the default'
    assert {key.rpartition('.')[0] for key in csam} == {f'{head}.csam'}


def test_what_the_released_model_costs() -> None:
    """Like the released code: 25.76 M parameters, 78.63 GMAC at 480 x 640 with two tasks."""
    cost = count_cost(build_on_meta(config('sca-released')), (480, 640))
    total = cost.total()
    assert total.params / 1e6 == pytest.approx(25.76, abs=0.005)
    assert total.macs['image'] / 1e9 == pytest.approx(78.63, rel=0.005)
    millions = {name: cost.total(f'decode_head.{name}').params / 1e6 for name in SCAHead.cost_parts}
    millions['head'] = millions.pop('cross_scale') + millions.pop('aggregation')
    millions |= {name: cost.total(name).params / 1e6 for name in ('backbone', 'neck')}
    reference = dict(neck=0.26, propagation=5.38, heads=9.11, exchange=4.31, head=2.84, backbone=3.86)
    assert millions == pytest.approx(reference, abs=0.005)
    for name in SCAHead.cost_parts:
        assert f'| decode_head.{name} ' in cost_table(cost)
    assert cost.total('decode_head').params == total.params - sum(cost.total(n).params for n in ('backbone', 'neck'))
    assert cost.total('backbone').macs['image'] / 1e9 == pytest.approx(9.76, abs=0.005)
    # The rest: one query serves all sources of a CSAM (2 tasks, 2 convolutions, spared 2 and 1 times), and
    # preliminary predictions (41 channels) are not computed.
    places = {c: 19200 // 4**i for i, c in enumerate((36, 72, 144, 288))}
    spared = 2 * 2 * (2 * 36**2 * places[36] + 72**2 * places[72]) + sum(41 * c * n for c, n in places.items())
    assert (total.macs['image'] + spared) / 1e9 == pytest.approx(78.63, abs=0.005)


@pytest.mark.parametrize(
    ('name', 'params', 'gmac'),
    [
        ('sca', 19.12, 23.61),
        pytest.param('sca-student', 6.64, 12.33, marks=pytest.mark.slow),
        pytest.param('mti-net-attention', 22.93, 39.17, marks=pytest.mark.slow),
        pytest.param('mti-net-attention-fpma', 23.18, 39.79, marks=pytest.mark.slow),
        ('mti-net-attention-fpma-ctam', 23.53, 43.38),
    ],
)
def test_what_the_others_cost(name: str, params: float, gmac: float) -> None:
    total = count_cost(build_on_meta(config(name)), (480, 640)).total()
    assert total.params / 1e6 == pytest.approx(params, abs=0.006)
    assert total.macs['image'] / 1e9 == pytest.approx(gmac, abs=0.006)


def test_the_teacher_is_the_paper_and_the_student_lighter() -> None:
    model = config('sca-student').model
    assert model.teacher.model == config('sca').model
    assert model.teacher.checkpoint == f'work_dirs/{Path(NAME.format("sca")).stem}/epoch_100.pth'
    different = difference(Config(dict(model=model.teacher.model)), Config(dict(model={**model, 'teacher': None})))
    assert {key for key in different if not key.startswith('model.neck')} == {
        'model.type',
        'model.decode_head.head_blocks',
        'model.teacher',
        'model.distillation.type',
    }


@pytest.mark.slow
def test_the_cheap_order_saves_what_is_said() -> None:
    cfg = config('sca-released')
    cfg.model.decode_head.upsample_first = False
    cost = count_cost(build_on_meta(cfg), (480, 640)).total()
    assert cost.params / 1e6 == pytest.approx(25.76, abs=0.005)
    assert cost.macs['image'] / 1e9 == pytest.approx(46.37, abs=0.005)
