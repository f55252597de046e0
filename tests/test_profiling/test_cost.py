"""Costs counted by hand, by component, and off the meta device."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmmtl.models import VideoMultiTaskSegmentor
from mmmtl.ops import local_attention
from mmmtl.profiling import ModelCost, build_on_meta, cost_table, count_cost, count_macs
from mmmtl.profiling.cost import Cost
from mmmtl.registry import MODELS

TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes=['a', 'b', 'c', 'd', 'e']),
    depth=dict(type='DepthEstimation', max_depth=10.0),
)
OUTPUTS = {'semseg': 5, 'depth': 1}
C = 8
"""Channels of all features."""
SHAPE, PIXELS = (24, 32), 6 * 8
"""Size of the image, and the number of positions in its features."""


@MODELS.register_module(force=True)
class CountedNet(nn.Module):
    """Two strided convolutions, `hidden` channels between."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, hidden, 3, stride=2, padding=1)
        self.second = nn.Conv2d(hidden, C, 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.second(self.first(images)),)

    @staticmethod
    def macs(hidden: int) -> int:
        return 4 * PIXELS * 9 * 3 * hidden + PIXELS * 9 * hidden * C


def image_config(**model: Any) -> Config:
    head = dict(type='TaskConvHead', in_channels=(C,), channels=(6, 4))
    model = dict(type='MultiTaskSegmentor', backbone=dict(type='CountedNet', hidden=5), decode_head=head, **model)
    return Config(dict(tasks=TASKS, model=model))


def video_config(interval: int = 5, **neck: Any) -> Config:
    cfg = image_config()
    cfg.model.merge(
        dict(
            type='VideoMultiTaskSegmentor',
            fast_backbone=dict(type='CountedNet', hidden=2),
            neck=dict(type='ILANeck', in_channels=(C,), attention_channels=4, window=5, reduction=2, **neck),
            align_loss=dict(type='AdversarialAlignLoss', in_channels=(C,), hidden_channels=16),
            key_frame_policy=dict(type='FixedInterval', interval=interval),
        )
    )
    return cfg


def decoder(task: str, slots: int) -> int:
    """MACs of the head of one task: 3x3 over the slots, 1x1, 1x1."""
    return PIXELS * (9 * slots * C * 6 + 6 * 4 + 4 * OUTPUTS[task])


GATE_AND_H = 2 * C * (C // 2) + PIXELS * 9 * C * 4
"""MACs of squeeze-excitation and of h, of one task."""
ATTENTION = 25 * (4 + C) * PIXELS
"""MACs of one propagation for one task."""


def by_place(cost: ModelCost) -> dict[tuple[str, str], dict[str, int]]:
    return {(part.component, part.task): part.macs for part in cost.parts}


class SmallNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1, groups=2))
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2, bias=False)
        self.linear = nn.Linear(128, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        self.up(features)
        tokens = features.flatten(2)
        return self.linear(tokens @ tokens.transpose(1, 2) @ tokens)


@pytest.mark.parametrize('device', ['cpu', 'meta'])
def test_macs_of_modules_by_hand(device: str) -> None:
    net = SmallNet().to(device)
    own, operators = count_macs(net, lambda: net(torch.empty(1, 3, 16, 32, device=device)))
    expected = {
        'body.0': 8 * 16 * 8 * 3 * 9,
        'body.2': 8 * 16 * 4 * 4,  # each of 4 outputs sees 4 of the 8 inputs
        'up': 8 * 16 * 4 * 2 * 4,
        'linear': 4 * 128 * 10,
        '': 2 * 4 * 128 * 4,  # the two matrix products of the net's own forward
    }
    assert {name: count for name, count in own.items() if count} == expected
    assert 'body.1' in own
    assert sum(operators.values()) == sum(expected.values())
    assert not net._forward_hooks
    assert not net.up._forward_pre_hooks


@pytest.mark.parametrize(('window', 'taps'), [(5, 25), (9, 81), ('global', PIXELS)])
def test_attention_counts_both_products(window: Any, taps: int) -> None:
    query, value = torch.empty(1, 4, 6, 8, device='meta'), torch.empty(1, 7, 6, 8, device='meta')
    own, _ = count_macs(nn.Identity(), lambda: local_attention(query, query, value, window=window))
    assert own == {'': taps * (4 + 7) * PIXELS}


def test_image_model_by_hand() -> None:
    cost = count_cost(build_on_meta(image_config()), SHAPE)
    assert by_place(cost) == {
        ('backbone', ''): {'image': CountedNet.macs(5)},
        ('decode_head', 'semseg'): {'image': decoder('semseg', 1)},
        ('decode_head', 'depth'): {'image': decoder('depth', 1)},
    }
    assert cost.interval is None
    assert cost.total().macs == {'image': CountedNet.macs(5) + decoder('semseg', 1) + decoder('depth', 1)}


def test_a_part_serves_the_task_in_whose_entry_it_lies() -> None:
    cfg = image_config()
    exchange = dict(type='SpatialAttention')
    cfg.model.decode_head = dict(type='PADNetHead', in_channels=(C,), channels=C, exchange=exchange)
    # `first` is also a layer of the backbone, and serves as the source in the entry of `semseg`.
    cfg.tasks = dict(semseg=TASKS['semseg'], first=dict(TASKS['depth'], auxiliary=True))
    found = {(part.component, part.task) for part in count_cost(build_on_meta(cfg), SHAPE).parts}
    assert {('backbone', ''), ('decode_head.exchange', 'semseg')} <= found
    assert not {('backbone', 'first'), ('decode_head.exchange', 'first')} & found


def test_video_model_by_hand() -> None:
    cost = count_cost(build_on_meta(video_config()), SHAPE)
    # A key frame reads the last non-key frame, another frame both.
    assert by_place(cost) == {
        ('backbone', ''): {'key': CountedNet.macs(5), 'non_key': 0},
        ('fast_backbone', ''): {'key': 0, 'non_key': CountedNet.macs(2)},
        ('neck', 'semseg'): {'key': GATE_AND_H, 'non_key': GATE_AND_H},
        ('neck', 'depth'): {'key': GATE_AND_H, 'non_key': GATE_AND_H},
        ('neck', ''): {'key': 2 * ATTENTION, 'non_key': 4 * ATTENTION},
        ('decode_head', 'semseg'): {'key': decoder('semseg', 2), 'non_key': decoder('semseg', 3)},
        ('decode_head', 'depth'): {'key': decoder('depth', 2), 'non_key': decoder('depth', 3)},
        ('align_loss', ''): {'key': 0, 'non_key': 0},
    }
    key, other = (sum(macs[kind] for macs in by_place(cost).values()) for kind in ('key', 'non_key'))
    assert cost.total().macs == {'key': key, 'non_key': other}
    assert cost.average(cost.total().macs) == pytest.approx((key + 4 * other) / 5)
    assert cost.operators['non_key']['mmmtl.local_attention'] == 4 * ATTENTION


def test_ablations_by_hand() -> None:
    macs = by_place(count_cost(build_on_meta(video_config(multi_frame=False, task_specific=False)), SHAPE))
    # One set for both tasks; nothing is propagated to key frames.
    assert macs['neck', ''] == {'key': GATE_AND_H, 'non_key': GATE_AND_H + ATTENTION}
    assert ('neck', 'semseg') not in macs
    assert macs['decode_head', 'depth'] == {'key': decoder('depth', 1), 'non_key': decoder('depth', 2)}


def test_an_interval_of_one_has_no_other_frames() -> None:
    cost = count_cost(build_on_meta(video_config(interval=1)), SHAPE)
    total = cost.total()
    # Each key frame stands for the last non-key frame, and goes through the fast network too.
    networks, neck = CountedNet.macs(5) + CountedNet.macs(2), 4 * GATE_AND_H + 2 * ATTENTION
    assert total.macs == {'key': networks + neck + decoder('semseg', 2) + decoder('depth', 2)}
    assert cost.average(total.macs) == total.macs['key']


@pytest.mark.parametrize('config', [image_config(), video_config()], ids=['image', 'video'])
def test_meta_counts_what_real_numbers_count(config: Config) -> None:
    meta = build_on_meta(config)
    assert all(tensor.is_meta for tensor in meta.parameters())
    real = type(meta)(**{**{k: v for k, v in config.model.to_dict().items() if k != 'type'}, 'tasks': TASKS}).train()
    policy = getattr(real, 'key_frame_policy', None)
    assert count_cost(real, SHAPE) == count_cost(meta, SHAPE)
    assert real.training
    assert getattr(real, 'key_frame_policy', None) is policy


def test_a_backbone_that_computes_when_it_is_built() -> None:
    config = image_config()
    config.model.backbone = dict(type='mmseg.MixVisionTransformer', embed_dims=8, num_layers=[1] * 4, out_indices=(3,))
    config.model.decode_head.in_channels = None
    model = build_on_meta(config)
    assert all(tensor.is_meta for tensor in model.parameters())
    assert count_cost(model, (64, 64)).total('backbone').macs['image'] > 0


@pytest.mark.parametrize('config', [image_config(), video_config()], ids=['image', 'video'])
def test_parts_sum_to_the_whole(config: Config) -> None:
    model = build_on_meta(config)
    cost = count_cost(model, SHAPE)
    assert sum(part.params for part in cost.parts) == sum(parameter.numel() for parameter in model.parameters())
    for kind in cost.kinds:
        assert sum(part.macs[kind] for part in cost.parts) == sum(cost.operators[kind].values()) > 0
        assert cost.total().macs[kind] == sum(cost.operators[kind].values())
    for name, child in model.named_children():
        assert cost.total(name).params == sum(parameter.numel() for parameter in child.parameters())


def test_what_only_training_needs_is_told_apart() -> None:
    model = build_on_meta(video_config())
    assert isinstance(model, VideoMultiTaskSegmentor)
    cost = count_cost(model, SHAPE)
    align = sum(parameter.numel() for parameter in model.align_loss.parameters())
    assert {part.component for part in cost.parts if not part.at_inference} == {'align_loss'}
    assert cost.total().params == sum(parameter.numel() for parameter in model.parameters()) - align


def test_totals_of_components_by_hand() -> None:
    sizes = {'head': 1, 'head.exchange': 2, 'head.align': 4, 'header': 8}
    parts = tuple(Cost(name, '', n, {'image': 10 * n}, name != 'head.align') for name, n in sizes.items())
    cost = ModelCost(SHAPE, None, parts, {'image': {}})
    assert cost.total('head') == Cost('head', '', 7, {'image': 70}, True)
    assert cost.total('head.align') == Cost('head.align', '', 4, {'image': 40}, False)
    assert cost.total() == Cost('total', '', 11, {'image': 110}, True)


def test_the_padded_size_is_counted() -> None:
    padded = build_on_meta(image_config(data_preprocessor=dict(size_divisor=16)))
    assert count_cost(padded, (17, 30)).total().macs == count_cost(padded, (32, 32)).total().macs
    assert count_cost(padded, (17, 30)).shape == (17, 30)


def test_neither_weights_nor_kernels_are_needed() -> None:
    cfg = video_config(backend='mmcv')
    plain = count_cost(build_on_meta(video_config()), SHAPE)
    cfg.model.init_cfg = dict(type='Pretrained', checkpoint='/nowhere/weights.pth')
    assert count_cost(build_on_meta(cfg), SHAPE) == plain
    assert cfg.model.neck.backend == 'mmcv'


def test_unknown_component() -> None:
    with pytest.raises(ValueError, match=r'CountedNett.*CountedNet'):
        build_on_meta(image_config(neck=dict(type='CountedNett')))


def test_table_and_json() -> None:
    cost = count_cost(build_on_meta(video_config()), SHAPE)
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in cost_table(cost).splitlines() if '|' in line]
    assert rows[0] == ['component', 'params (M)', 'key GMAC', 'non-key GMAC', 'average (K = 5) GMAC']
    names = [row[0] for row in rows[1:]]
    assert names == [
        *('backbone', 'fast_backbone', 'neck', 'semseg', 'depth', 'rest', 'decode_head', 'semseg', 'depth'),
        *('total', 'align_loss (training only)'),
    ]
    total = cost.total()
    values = [total.params / 1e6, *(value / 1e9 for value in (*total.macs.values(), cost.average(total.macs) or 0))]
    assert [float(cell) for cell in rows[names.index('total') + 1][1:]] == pytest.approx(values, abs=5e-4)

    unknown = ModelCost(SHAPE, None, cost.parts, cost.operators)
    assert 'average (K = ?) GMAC' in cost_table(unknown)

    written = json.loads(json.dumps(cost.to_dict()))
    assert written['macs'] == {**total.macs, 'average': cost.average(total.macs)}
    assert written['params'] == total.params
    image = count_cost(build_on_meta(image_config()), SHAPE)
    assert image.to_dict()['macs'] == image.total().macs
    assert sum(part['macs']['key'] for part in written['parts']) == total.macs['key']
