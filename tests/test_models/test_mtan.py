"""MTAN: its masks, the path of attended features through SegNet, ResNet and HRNet by hand, its costs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import nn

from mmmtl.models.backbones import MTANBackbone
from mmmtl.models.layers import Bottleneck
from mmmtl.profiling import build_on_meta, count_cost
from mmmtl.registry import MODELS

SEGNET = dict(type='SegNet', channels=(4, 5), depths=(2, 3))
RESNET = dict(type='mmseg.ResNet', depth=18, stem_channels=4, base_channels=2, out_indices=(3,))
WIDTHS = (2, 3, 4, 5)
HRNET = dict(
    type='mmseg.HRNet',
    extra=dict(
        stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(2,), num_channels=(2,)),
        stage2=dict(num_modules=1, num_branches=2, block='BASIC', num_blocks=(1,) * 2, num_channels=WIDTHS[:2]),
        stage3=dict(num_modules=2, num_branches=3, block='BASIC', num_blocks=(1,) * 3, num_channels=WIDTHS[:3]),
        stage4=dict(num_modules=2, num_branches=4, block='BASIC', num_blocks=(1,) * 4, num_channels=WIDTHS),
    ),
)
CONFIGS = Path(__file__).parents[2] / 'configs'


def build(tiny, backbone, **changes) -> MTANBackbone:
    cfg = dict(type='MTANBackbone', tasks=tiny.tasks, backbone=backbone, **changes)
    return tiny.scramble(MODELS.build(cfg)).double().eval()


@pytest.mark.parametrize('backbone', [SEGNET, RESNET, HRNET], ids=['segnet', 'resnet', 'hrnet'])
def test_where_all_masks_are_one_tasks_share_all_features(tiny, backbone) -> None:
    net = build(tiny, backbone)
    with torch.no_grad():
        for masks in net.masks.values():
            for mask in masks.modules():
                if isinstance(mask, nn.Sequential):
                    mask[1].bn.weight.zero_()
                    mask[1].bn.bias.fill_(50.0)  # whose sigmoid is 1 in float64
        images = tiny.pixels(2, 3, 61, 83)
        expected, found = net.backbone(images), net(images)
        for maps in found.values():
            assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))


def test_a_mask_by_hand(tiny) -> None:
    net = build(tiny, SEGNET)
    first, second = net.masks['depth'][1][0]
    x = tiny.pixels(2, 10, 6, 7)  # five channels of the shared network, five attended ones
    hidden = first.bn(F.conv2d(x, first.conv.weight)).relu()
    expected = torch.sigmoid(second.bn(F.conv2d(hidden, second.conv.weight)))
    torch.testing.assert_close(net.masks['depth'][1][0](x), expected)
    assert net.masks['depth'][0][0][0].conv.weight.shape == (4, 4, 1, 1)  # the first sees no attended features
    assert first.conv.weight.shape == (5, 10, 1, 1)


def test_the_road_through_segnet_by_hand(tiny) -> None:
    """Figure 2 of the paper, with two stages there and two back."""
    net = build(tiny, SEGNET)
    encoder, decoder = net.backbone.encoder, net.backbone.decoder
    images = tiny.pixels(2, 3, 12, 16)
    with torch.no_grad():
        u1 = encoder[0][0](images)
        s1 = encoder[0][1](u1)
        p1, places1 = F.max_pool2d(s1, 2, return_indices=True)
        u2 = encoder[1][0](p1)
        s2 = encoder[1][2](encoder[1][1](u2))
        p2, places2 = F.max_pool2d(s2, 2, return_indices=True)
        u3 = F.max_unpool2d(p2, places2, 2)
        s3 = decoder[0](u3)
        u4 = F.max_unpool2d(s3, places1, 2)
        s4 = decoder[1](u4)
        (down,), (bottom,), (up,) = net.passages
        assert [down.after, up.before] == [None, None]
        found = net(images)
        for name, masks in net.masks.items():
            (m1,), (m2,), (m3,), (m4,) = masks
            a = m1(u1) * s1
            a = F.max_pool2d(down.before(a), 2)
            a = m2(torch.cat([u2, a], dim=1)) * s2
            a = F.max_pool2d(bottom.before(a), 2)
            a = bottom.after(F.interpolate(a, scale_factor=2, mode='bilinear'))
            a = m3(torch.cat([u3, a], dim=1)) * s3
            a = up.after(F.interpolate(a, scale_factor=2, mode='bilinear'))
            a = m4(torch.cat([u4, a], dim=1)) * s4
            torch.testing.assert_close(found[name], (a,))


def test_the_road_through_a_resnet_by_hand(tiny) -> None:
    net = build(tiny, RESNET, reduction=4, refine='bottleneck')
    resnet = net.backbone
    with torch.no_grad():
        images = tiny.pixels(2, 3, 64, 64)
        x = resnet.maxpool(resnet.norm1(resnet.conv1(images)).relu())
        u, s = [], []
        for layer in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4):
            u.append(layer[0](x))
            x = layer[1](u[-1])
            s.append(x)
        found = net(images)
        for name, masks in net.masks.items():
            a = masks[0][0](u[0]) * s[0]
            for i in (1, 2, 3):
                (passage,) = net.passages[i - 1]
                assert isinstance(passage.before, Bottleneck)
                a = F.max_pool2d(passage.before(a), 2)
                a = masks[i][0](torch.cat([u[i], a], dim=1)) * s[i]
            torch.testing.assert_close(found[name], (a,))
    assert net.masks['depth'][3][0][0].conv.out_channels == 16 // 4


def test_a_new_branch_of_hrnet_continues_the_coarsest(tiny) -> None:
    net = build(tiny, HRNET)
    shapes = [[tuple(passage.before.conv.weight.shape[:2]) for passage in stage] for stage in net.passages]
    assert shapes == [[(2, 8), (3, 8)], [(2, 2), (3, 3), (4, 3)], [(2, 2), (3, 3), (4, 4), (5, 4)]]
    passage, size = net.passages[1][2], (3, 4)
    attended = tiny.pixels(1, 3, 5, 8)
    torch.testing.assert_close(passage(attended, size), F.max_pool2d(passage.before(attended), 2, ceil_mode=True))


def test_a_wrong_refine_is_named(tiny) -> None:
    with pytest.raises(ValueError, match="refine must be 'conv' or 'bottleneck', not 'residual'"):
        build(tiny, SEGNET, refine='residual')


@pytest.mark.parametrize(
    ('config', 'shape', 'component', 'gmac'),
    [
        # The released code: 216.0 and 146.7 without decoder; ours has a 1x1 convolution more in each decoder of SegNet.
        ('mtan/mtan_segnet_1xb4-50e_nyuv2-288x384.py', (288, 384), None, 216.0 + 3 * 64 * 64 * 288 * 384 / 1e9),
        (
            'mtan/mtan_d101_1xb4-50e_cityscapes-256x512.py',
            (256, 512),
            'backbone',
            146.7 + 2 * 2048 * 512 * 32 * 64 / 1e9,
        ),
        # MILA, table 2, prints 161 for MTAN, 187 for cross-stitch networks.
        ('mtan/mtan_d101_1xb4-50e_cityscapes-256x512.py', (256, 512), None, 161),
        ('cross_stitch/cross-stitch_d101_1xb4-50e_cityscapes-256x512.py', (256, 512), 'backbone', 187),
        ('cross_stitch/cross-stitch_segnet_1xb4-50e_nyuv2-288x384.py', (288, 384), None, 181.1),
    ],
)
def test_what_it_costs(config: str, shape: tuple[int, int], component: str | None, gmac: float) -> None:
    cost = count_cost(build_on_meta(Config.fromfile(CONFIGS / config)), shape)
    assert cost.total(component).macs['image'] / 1e9 == pytest.approx(gmac, rel=0.01)
