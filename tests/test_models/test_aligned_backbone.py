"""Backbones of mmseg by scope, and the alignment of their widths."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmmtl.models.backbones import AlignedBackbone, as_maps
from mmmtl.registry import MODELS

DILATED = dict(
    type='mmseg.ResNet',
    depth=18,
    deep_stem=True,
    stem_channels=128,
    strides=(1, 2, 1, 1),
    dilations=(1, 1, 2, 4),
    out_indices=(3,),
)


def build(backbone, **kwargs) -> AlignedBackbone:
    return MODELS.build(dict(type='AlignedBackbone', backbone=backbone, **kwargs))


def test_the_paper_s_fast_network():
    """ResNet-18 of mmseg with a 128-channel deep stem: 512 channels at output stride 8, so no alignment."""
    network = build(DILATED, channels=512)
    assert network.alignment is None
    stem = [layer.weight.shape[0] for layer in network.backbone.stem if isinstance(layer, nn.Conv2d)]
    assert stem == [64, 64, 128]
    (features,) = network(torch.rand(2, 3, 32, 48))
    assert features.shape == (2, 512, 4, 6)
    assert (features >= 0).all()


def test_another_width_is_aligned_by_a_1x1_convolution(tiny):
    network = tiny.scramble(build(dict(type=tiny.TinyNet, hidden=4), channels=6)).double().eval()
    images = tiny.pixels(2, 3, 16, 24)
    (features,) = network(images)
    assert features.shape == (2, 6, 4, 6)
    (raw,) = network.backbone(images)
    conv, norm = network.alignment.conv, network.alignment.bn
    assert conv.weight.shape == (6, 8, 1, 1)
    torch.testing.assert_close(features, norm(conv(raw)).relu())


def test_the_alignment_has_the_norm_of_the_config(tiny):
    backbone = dict(type=tiny.TinyNet, hidden=4)
    norm = build(backbone, channels=6, norm_cfg=dict(type='GN', num_groups=2)).alignment.norm
    assert isinstance(norm, nn.GroupNorm) and norm.num_groups == 2


def test_only_the_last_map_is_used():
    cfg = {**DILATED, 'out_indices': (0, 3), 'stem_channels': 8, 'base_channels': 4}
    network = build(cfg, channels=32)
    assert [tuple(x.shape[1:]) for x in network(torch.rand(2, 3, 32, 32))] == [(32, 4, 4)]


def test_a_backbone_that_gives_a_bare_tensor():
    """MobileNetV2 of mmseg returns a bare tensor for one out index; its last row is not its last map."""
    cfg = dict(
        type='mmseg.MobileNetV2',
        widen_factor=0.1,
        strides=(1, 2, 2, 2, 1, 1, 1),
        dilations=(1, 1, 1, 1, 1, 2, 2),
        out_indices=(6,),
    )
    network = build(cfg, channels=16)
    images = torch.rand(2, 3, 32, 64)
    assert isinstance(network.backbone(images), torch.Tensor)
    assert network(images)[0].shape == (2, 16, 2, 4)
    assert [tuple(x.shape) for x in as_maps(network.backbone(images))] == [(2, 32, 2, 4)]
    assert [tuple(x.shape) for x in as_maps([images, images])] == [(2, 3, 32, 64)] * 2


def test_modes_reach_backbones_whose_train_returns_nothing(tiny):
    """`ResNet.train()` and `.eval()` of mmseg 1.4.2 return None; the models around them must not depend on it."""
    small = {**DILATED, 'stem_channels': 8, 'base_channels': 2}
    aligned = dict(type='AlignedBackbone', backbone=small, channels=tiny.CHANNELS)
    model = tiny.video_model(backbone=aligned, fast_backbone=aligned)
    assert model.train() is model
    assert all(module.training for module in model.modules())
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    assert model.backbone.train() is model.backbone


def test_several_widths_align_the_last_maps():
    small = {**DILATED, 'stem_channels': 8, 'base_channels': 2, 'out_indices': (0, 1, 2, 3)}
    network = build(small, channels=(4, 6, 16)).eval()
    images = torch.rand(2, 3, 32, 48)
    given, maps = network.backbone(images), network(images)
    assert [map_.shape[1] for map_ in given] == [2, 4, 8, 16]
    assert network.feature_channels == tuple(map_.shape[1] for map_ in maps) == (4, 6, 16)
    assert torch.equal(maps[0], given[1])
    assert torch.equal(maps[2], given[3])
    assert all(map_.shape[2:] == other.shape[2:] for map_, other in zip(maps, given[1:], strict=True))
    with pytest.raises(ValueError, match='channels'):
        build(small, channels=(1, 2, 3, 4, 5))
