"""The channels of a backbone's maps: declared or measured, and handed to the parts that read the maps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.backbones import feature_channels
from mmmtl.models.decode_heads import DecodeHead, HeadOutput
from mmmtl.models.segmentors.build import build_neck, build_reader
from mmmtl.registry import MODELS

WIDTHS = (2, 3, 4, 5)
HRNET = dict(
    type='mmseg.HRNet',
    extra=dict(
        stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(1,), num_channels=(2,)),
        stage2=dict(num_modules=1, num_branches=2, block='BASIC', num_blocks=(1,) * 2, num_channels=WIDTHS[:2]),
        stage3=dict(num_modules=1, num_branches=3, block='BASIC', num_blocks=(1,) * 3, num_channels=WIDTHS[:3]),
        stage4=dict(num_modules=1, num_branches=4, block='BASIC', num_blocks=(1,) * 4, num_channels=WIDTHS),
    ),
)
RESNET = dict(type='mmseg.ResNet', depth=18, stem_channels=4, base_channels=4)
SEGNET = dict(type='SegNet', channels=(4, 5), depths=(1, 2))
MOBILENET = dict(type='mmseg.MobileNetV2', widen_factor=0.1, out_indices=(6,))
BACKBONES: list[tuple[dict[str, Any], tuple[int, ...]]] = [
    (RESNET, (4, 8, 16, 32)),
    (dict(RESNET, out_indices=(3,), norm_eval=True), (32,)),
    (HRNET, WIDTHS),
    (MOBILENET, (32,)),
    (SEGNET, (4,)),
    (dict(type='AlignedBackbone', backbone=RESNET, channels=7), (7,)),
]


@pytest.mark.parametrize('device', ['cpu', 'meta'])
@pytest.mark.parametrize(('cfg', 'expected'), BACKBONES, ids=lambda v: v['type'] if isinstance(v, dict) else str(v))
def test_channels_are_those_of_the_maps(cfg: dict[str, Any], expected: tuple[int, ...], device: str) -> None:
    with torch.device(device):
        assert feature_channels(MODELS.build(cfg)) == expected


@pytest.mark.parametrize('method', ['CrossStitchBackbone', 'NDDRBackbone', 'MTANBackbone'])
def test_channels_of_a_task_are_those_of_the_network(tiny, method: str) -> None:
    aligned = dict(type='AlignedBackbone', backbone=RESNET, channels=7)
    for cfg, expected in (HRNET, WIDTHS), (SEGNET, (4,)), (aligned, (7,)):
        assert feature_channels(MODELS.build(dict(type=method, tasks=tiny.tasks, backbone=cfg))) == expected


class Noisy(nn.Module):
    """Weights, statistics, random numbers and modes, none of which may change."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Conv2d(3, 4, 1).eval()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        maps = self.norm(self.frozen(images)) * torch.rand(4, 1, 1)
        return maps, torch.cat([maps, maps], dim=1)


def test_measuring_leaves_no_trace() -> None:
    net = Noisy()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    assert feature_channels(net) == (4, 8)
    assert torch.equal(torch.rand(5), expected)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert net.training and net.norm.training and not net.frozen.training
    assert all(p.grad is None for p in net.parameters())


def test_a_module_that_cannot_be_measured_is_named() -> None:
    with pytest.raises(ValueError, match=r'Linear.*feature_channels.*in_channels'):
        feature_channels(nn.Linear(2, 2))


def build(tiny, **parts: Any) -> MultiTaskSegmentor:
    model = MODELS.build(dict(type='MultiTaskSegmentor', tasks=tiny.TASKS, backbone=HRNET, **parts))
    assert isinstance(model, MultiTaskSegmentor)
    return model


def test_a_head_gets_the_channels_of_the_backbone_or_of_the_neck(tiny) -> None:
    assert build(tiny, decode_head=dict(type='MultiScaleHead')).decode_head.in_channels == list(WIDTHS)
    neck = dict(type='SelfAttentionNeck', num_heads=1)
    model = build(tiny, neck=neck, decode_head=dict(type='MultiScaleHead'))
    assert [next(stage.parameters()).shape[0] for stage in model.neck.stages] == list(WIDTHS)
    assert model.decode_head.in_channels == [2 * width for width in WIDTHS]
    gated = build(tiny, neck=dict(type='TaskSqueezeExcitation', reduction=1), decode_head=dict(type='TaskConvHead'))
    assert {conv.weight.shape[1] for conv in gated.decode_head.fuse.values()} == {WIDTHS[-1]}


def test_channels_of_a_config_are_kept(tiny) -> None:
    model = build(tiny, decode_head=dict(type='MultiScaleHead', in_channels=(1, 2)))
    assert model.decode_head.in_channels == [1, 2]
    with pytest.raises(ValueError, match=r'TaskConvHead: in_channels=5 .*\(5,\)'):
        build(tiny, decode_head=dict(type='TaskConvHead', in_channels=5))


def test_the_fast_network_is_as_wide_as_the_slow_one(tiny) -> None:
    slow, fast = (dict(type='AlignedBackbone', backbone=net) for net in (RESNET, MOBILENET))
    model = tiny.video_model(backbone=dict(slow, channels=7), fast_backbone=fast)
    assert model.fast_backbone.feature_channels == (7,)
    with pytest.raises(ValueError, match='MobileNetV2.*channels 9.*ResNet.*channels 7'):
        tiny.video_model(backbone=dict(slow, channels=7), fast_backbone=dict(fast, channels=9))
    other = dict(type='SegNet', channels=(tiny.CHANNELS, 4), depths=(1, 1))
    model = tiny.video_model(backbone=other, fast_backbone=other)
    assert model.fast_backbone.feature_channels == (tiny.CHANNELS,)


def test_a_neck_of_mmseg_needs_no_tasks_or_channels(tiny) -> None:
    neck = dict(type='mmseg.FPN', out_channels=6, num_outs=4)
    maps = build_neck(neck, MODELS.build(RESNET), tiny.tasks)(MODELS.build(RESNET)(torch.rand(1, 3, 32, 64)))
    assert [map_.shape[1] for map_ in maps] == [6] * 4


@pytest.mark.parametrize('device', ['cpu', 'meta'])
def test_the_channels_of_a_neck_of_mmseg_are_measured(tiny, device: str) -> None:
    with torch.device(device):
        model = build(
            tiny, neck=dict(type='mmseg.FPN', out_channels=6, num_outs=4), decode_head=dict(type='MultiScaleHead')
        )
    assert model.decode_head.in_channels == [6, 6, 6, 6]
    # mmseg's MobileNetV2 returns its only map as a bare tensor.
    single = dict(type='mmseg.FPN', out_channels=5, num_outs=1)
    with torch.device(device):
        net = MODELS.build(MOBILENET)
        assert feature_channels(net, build_neck(single, net, tiny.tasks)) == (5,)


class Sized(nn.Conv2d):
    """Maps of given sizes, whatever the image is."""

    def __init__(self, *sizes: tuple[int, ...]) -> None:
        super().__init__(3, 1, 1)
        self.sizes = sizes

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [torch.zeros(size) for size in self.sizes]


@pytest.mark.parametrize('other', [(1, 4, 8, 8), (1, 8)])
def test_maps_come_with_the_finest_first(other: tuple[int, ...]) -> None:
    assert feature_channels(Sized((1, 8, 4, 4), (1, 5, 4, 4), (1, 6, 2, 2))) == (8, 5, 6)
    with pytest.raises(ValueError, match=r'Sized must return .* finest first, not \[\(1, 8, 4, 4\)'):
        feature_channels(Sized((1, 8, 4, 4), other))


def test_only_the_maps_that_an_aligned_backbone_takes_have_an_order() -> None:
    sizes = (1, 8, 2, 2), (1, 5, 4, 4), (1, 6, 4, 4)
    assert feature_channels(Sized(*sizes), last=2) == (5, 6)
    fusing = dict(type='mmseg.FastSCNN', norm_cfg=dict(type='BN'))  # the last map is a fine one
    assert MODELS.build(dict(type='AlignedBackbone', backbone=fusing, channels=7)).feature_channels == (7,)
    with pytest.raises(ValueError, match='FastSCNN must return .* finest first'):
        MODELS.build(dict(type='AlignedBackbone', backbone=fusing, channels=(7, 7)))


class NoSlots(DecodeHead):
    def __init__(self, *, tasks: Any, in_channels: Any, init_cfg: Any = None) -> None:
        super().__init__(init_cfg)

    def forward(self, features: Any) -> HeadOutput:
        return HeadOutput({})


def test_parts_that_take_too_little_are_named(tiny) -> None:
    backbone = MODELS.build(dict(RESNET, out_indices=(3,)))
    with pytest.raises(ValueError, match=r"NoSlots.*'num_slots'.*video"):
        build_reader(dict(type=NoSlots), backbone, tasks=tiny.tasks, num_slots=3)
    with pytest.raises(ValueError, match=r'data_preprocessor.*not mmseg\.SegDataPreProcessor'):
        MultiTaskSegmentor(
            tasks=tiny.tasks,
            backbone=RESNET,
            decode_head=dict(type='MultiScaleHead'),
            data_preprocessor=dict(type='mmseg.SegDataPreProcessor', bgr_to_rgb=True),
        )
