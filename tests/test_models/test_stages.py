"""Backbones stage by stage: the same as at once, with the widths that they declare."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mmmtl.models.backbones import BackbonePass, Stage, as_maps, split_into_stages
from mmmtl.registry import MODELS

RESNET = dict(type='mmseg.ResNet', depth=18, stem_channels=4, base_channels=2)
DILATED = dict(deep_stem=True, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), out_indices=(3,))


def hrnet(stage1: int = 2, modules: tuple[int, int, int] = (1, 2, 2), **changes: Any) -> dict[str, Any]:
    stages = {
        f'stage{i}': dict(
            num_modules=n, num_branches=i, block='BASIC', num_blocks=(1,) * i, num_channels=(2, 3, 4, 5)[:i]
        )
        for i, n in zip((2, 3, 4), modules, strict=True)
    }
    first = dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(stage1,), num_channels=(2,))
    return dict(type='mmseg.HRNet', extra=dict(stage1=first, **stages), **changes)


BACKBONES = {
    'resnet': RESNET,
    'resnet-bottleneck': dict(RESNET, depth=50, style='caffe', out_indices=(1, 3)),
    'resnet-dilated': dict(RESNET, depth=50, **DILATED),
    'resnet-v1d': dict(
        RESNET, type='mmseg.ResNetV1d', num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)
    ),
    'hrnet': hrnet(),
    'hrnet-one-block': hrnet(stage1=1, modules=(2, 1, 1)),
    'hrnet-one-map': hrnet(multiscale_output=False),
    'segnet': dict(type='SegNet', channels=(2, 3, 4), depths=(2, 1, 3)),
    'aligned': dict(type='AlignedBackbone', backbone=dict(RESNET, **DILATED), channels=3),
}


@pytest.mark.parametrize('size', [(32, 64), (61, 83)])
@pytest.mark.parametrize('name', BACKBONES)
def test_stage_by_stage_is_at_once(tiny, name: str, size: tuple[int, int]) -> None:
    net = tiny.scramble(MODELS.build(BACKBONES[name])).double()
    net.eval()
    images = tiny.pixels(2, 3, *size)
    with torch.no_grad():
        expected = as_maps(net(images))
        for _ in range(2):  # nothing is left of a pass
            found = split_into_stages(net)(images)
            assert len(found) == len(expected) > 0
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize('name', BACKBONES)
def test_stages_have_the_widths_that_they_say(tiny, name: str) -> None:
    net = MODELS.build(BACKBONES[name])
    net.eval()
    maps = (torch.rand(1, 3, 33, 40),)
    stages = split_into_stages(net).stages
    assert len(stages) == {'segnet': 6, 'resnet-v1d': 3}.get(name, 4)
    for stage in stages:
        first = stage.first(maps)
        assert tuple(m.shape[1] for m in first) == stage.first_channels
        maps = stage.last(first)
        assert tuple(m.shape[1] for m in maps) == stage.channels
        maps = maps if stage.pool is None else stage.pool(maps)


def test_the_last_block_is_alone() -> None:
    """`first` leaves out exactly the last block."""
    net = MODELS.build(dict(RESNET, depth=50))
    net.eval()
    stage = split_into_stages(net).stages[0]
    first = stage.first((torch.rand(1, 3, 16, 16),))
    assert torch.equal(stage.last(first)[0], net.layer1[2](first[0]))
    net = MODELS.build(hrnet())
    net.eval()
    stages = split_into_stages(net).stages
    maps = stages[0]((torch.rand(1, 3, 32, 32),))
    first = stages[1].first(maps)  # one module in stage 2: what is before it is the transition
    assert torch.equal(first[1], net.transition1[1](maps[0]))
    first = stages[2].first(stages[1](maps))
    assert torch.equal(stages[2].last(first)[2], net.stage3[1](list(first))[2])


def test_a_backbone_may_say_its_stages_itself(tiny) -> None:
    class Net(nn.Module):
        def split_into_stages(self) -> BackbonePass:
            double = Stage(lambda m: m, lambda m: (2 * m[0],), (3,), (3,))
            return BackbonePass((double, double), lambda maps: (maps[0][0] + maps[1][0],))

    assert torch.equal(split_into_stages(Net())(torch.ones(1, 3, 2, 2))[0], torch.full((1, 3, 2, 2), 6.0))


def test_an_unknown_backbone_is_named(tiny) -> None:
    with pytest.raises(ValueError, match='stages of MobileNetV2 are not known: use SegNet, mmseg.HRNet'):
        split_into_stages(MODELS.build(dict(type='mmseg.MobileNetV2', widen_factor=0.1)))
