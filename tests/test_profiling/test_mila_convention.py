"""The paper's way of counting by hand, on layers and on a tiny video model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmmtl.models.backbones import as_maps
from mmmtl.profiling import build_on_meta
from mmmtl.profiling.mila_convention import module_macs, paper_macs

PIXELS, C = 8 * 16, 8
SET = 9 * C * 4, 9 * C * 6
"""MACs per pixel of h, and of the fusing convolution of one slot."""


def test_layers_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.Conv2d(8, 4, 1, groups=2),
        nn.BatchNorm2d(4),
        nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1, groups=2),
        nn.Linear(32, 10),
    ).to('meta')
    images = torch.empty(1, 3, 16, 32, device='meta')
    once = module_macs(net, lambda: net(images))
    assert once == {
        '0': 8 * 16 * 8 * 3 * 9,
        '1': 8 * 16 * 4 * 4,
        '3': 16 * 32 * 6 * 2 * 16,  # as if each output saw a full kernel
        '4': 6 * 16 * 10 * 32,
    }
    assert not net[0]._forward_hooks
    assert module_macs(net, lambda: (net(images), net(images))) == {name: 2 * count for name, count in once.items()}


def config(interval: int = 5, *, size_divisor: int = 1, **neck: Any) -> Config:
    conv = dict(type='mmseg.ResNet', depth=18, stem_channels=4, base_channels=4, strides=(1, 2, 1, 1), out_indices=(3,))
    aligned = dict(type='AlignedBackbone', backbone={**conv, 'dilations': (1, 1, 2, 4)}, channels=C)
    fast = {**aligned, 'backbone': {**aligned['backbone'], 'base_channels': 2}}
    return Config(
        dict(
            tasks=dict(
                semseg=dict(type='SemanticSegmentation', classes=['a', 'b']),
                depth=dict(type='DepthEstimation', max_depth=10.0),
            ),
            model=dict(
                type='VideoMultiTaskSegmentor',
                backbone=aligned,
                fast_backbone=fast,
                data_preprocessor=dict(size_divisor=size_divisor),
                neck={**dict(type='ILANeck', in_channels=(C,), attention_channels=4, reduction=8), **neck},
                decode_head=dict(type='TaskConvHead', in_channels=(C,), channels=(6, 4)),
                key_frame_policy=dict(type='FixedInterval', interval=interval),
            ),
        )
    )


@pytest.mark.parametrize(
    ('neck', 'key', 'non_key'),
    [
        # (sets, sources) of each kind of frame
        (dict(), (2, 1), (2, 2)),
        (dict(task_specific=False), (1, 1), (1, 2)),
        (dict(multi_frame=False, task_specific=False), (1, 0), (1, 1)),
    ],
    ids=['MILA', 'w/o TS', 'w/o MF&TS'],
)
def test_sets_by_hand(neck: dict[str, Any], key: tuple[int, int], non_key: tuple[int, int]) -> None:
    model = build_on_meta(config(**neck))
    images = torch.empty(1, 3, 64, 128, device='meta')
    networks = dict(key=model.eval().backbone, non_key=model.fast_backbone)
    h, fuse = SET
    gate = 2 * C  # of SE, C // 8 = 1 hidden unit, once for each set and source
    expected = {}
    for kind, (sets, sources) in dict(key=key, non_key=non_key).items():
        slots = 1 + sources if sources else 0
        pixels = sources * h + slots * fuse
        encoder = sum(module_macs(model, lambda kind=kind: networks[kind](images)).values())
        expected[kind] = encoder + sets * (PIXELS * pixels + sources * gate)
    expected['average'] = (expected['key'] + 4 * expected['non_key']) / 5
    found = paper_macs(model, (64, 128))
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_padded_size_is_counted() -> None:
    padded = build_on_meta(config(size_divisor=64))
    assert paper_macs(padded, (60, 100)) == paper_macs(padded, (64, 128))


def test_with_an_interval_of_one_both_networks_run() -> None:
    model = build_on_meta(config()).eval()
    fast = module_macs(model, lambda: model.fast_backbone(torch.empty(1, 3, 64, 128, device='meta')))
    found = paper_macs(build_on_meta(config(interval=1)), (64, 128))
    assert found['key'] == found['average'] == paper_macs(model, (64, 128))['key'] + sum(fast.values())


def test_a_network_may_give_a_bare_map() -> None:
    """mmseg's MobileNetV2 does so with one of `out_indices`."""
    expected = paper_macs(build_on_meta(config()), (64, 128))
    model = build_on_meta(config())
    forward = model.fast_backbone.forward
    model.fast_backbone.forward = lambda images: as_maps(forward(images))[-1]
    assert paper_macs(model, (64, 128)) == expected


def test_another_decoder_is_refused() -> None:
    cfg = config()
    model = build_on_meta(cfg)
    model.decode_head = nn.Identity()
    with pytest.raises(ValueError, match='Identity.*SlotConv'):
        paper_macs(model, (64, 128))


def test_a_video_model_without_a_fast_network_is_refused() -> None:
    model = build_on_meta(config())
    del model.fast_backbone
    with pytest.raises(ValueError, match='VideoMultiTaskSegmentor.*fast_backbone'):
        paper_macs(model, (64, 128))
