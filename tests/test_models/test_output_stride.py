"""Backbones with a finer output stride: trained weights mean the same, and cost and names are those of mmseg."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmmtl.models.backbones import MobileNetV2, MobileNetV3Small, as_maps, build_resnet, set_output_stride
from mmmtl.models.backbones.mobilenet import ChannelGate
from mmmtl.registry import MODELS

CONFIGS = Path(__file__).parents[2] / 'configs'
TRAINED = 32
RESNETS = [dict(depth=18), dict(depth=50, style='caffe'), dict(depth=50, style='pytorch', deep_stem=True)]


def dilated(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every backbone of a config that has an output stride of its own."""
    if isinstance(value, dict):
        if value.get('output_stride', TRAINED) != TRAINED:
            yield {key: item for key, item in value.items() if key != 'init_cfg'}
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from dilated(item)


def shipped() -> list[dict[str, Any]]:
    """Return the dilated backbones of all configs, each once."""
    found = []
    for path in sorted(CONFIGS.glob('_base_/models/*.py')) + sorted(CONFIGS.glob('baselines/*.py')):
        for backbone in dilated(Config.fromfile(path)._cfg_dict.to_dict().get('model', {})):
            if backbone not in found:
                found.append(backbone)
    return found


SHIPPED = shipped()


def give_statistics(net: nn.Module) -> None:
    """Let batch norm shift and scale, so that a wrong border or dilation cannot hide."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.normal_(0, 0.1, generator=generator)
            module.running_mean.normal_(0, 0.1, generator=generator)  # type: ignore[union-attr]


def maps_at(strides: tuple[int, int], cfg: dict[str, Any], *, sides: tuple[int, int] = (96, 128)) -> list[Tensor]:
    """Return the last map of the same weights at two output strides, float64."""
    images = torch.randn(1, 3, *sides, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    nets: list[nn.Module] = [MODELS.build(dict(cfg, output_stride=stride)) for stride in strides]
    give_statistics(nets[0])
    nets[1].load_state_dict(nets[0].state_dict())
    maps = []
    for net in nets:
        net.eval()
        with torch.no_grad():
            maps.append(as_maps(net.double()(images))[-1])
    return maps


@pytest.mark.parametrize(
    'cfg',
    [cfg for cfg in SHIPPED if cfg['type'] != 'MobileNetV3Small'],
    ids=lambda cfg: '-'.join(str(v) for v in cfg.values()),
)
def test_every_shipped_backbone_keeps_what_it_learnt(cfg: dict[str, Any]) -> None:
    """The map at the finer stride, at every second or fourth pixel, is the map at stride 32."""
    step = TRAINED // cfg['output_stride']
    coarse, fine = maps_at((TRAINED, cfg['output_stride']), cfg)
    assert fine.shape[2:] == (coarse.shape[2] * step, coarse.shape[3] * step)
    torch.testing.assert_close(fine[..., ::step, ::step], coarse, rtol=0, atol=1e-12 * coarse.abs().max().item())


def test_the_shipped_backbones_are_found() -> None:
    assert {(cfg['type'], cfg.get('depth'), cfg['output_stride']) for cfg in SHIPPED} == {
        ('MobileNetV2', None, 16), ('MobileNetV3Small', None, 16), ('ResNet', 50, 16), ('ResNet', 101, 8),
        ('ResNet', 18, 8),
    }  # fmt: skip


@pytest.mark.parametrize('stride', [16, 8])
@pytest.mark.parametrize(
    'cfg',
    [dict(type='MobileNetV2', widen_factor=0.25), *(dict(type='ResNet', base_channels=8, **r) for r in RESNETS)],
    ids=lambda cfg: '-'.join(str(v) for v in cfg.values()),
)
def test_both_strides_are_exact(cfg: dict[str, Any], stride: int) -> None:
    coarse, fine = maps_at((TRAINED, stride), cfg)
    step = TRAINED // stride
    torch.testing.assert_close(fine[..., ::step, ::step], coarse, rtol=0, atol=1e-12 * coarse.abs().max().item())


@pytest.mark.parametrize('stride', [16, 8])
def test_mobilenet_v3_is_exact_but_for_its_gates(stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate reads the mean of all pixels, of which the finer map has more."""
    monkeypatch.setattr(ChannelGate, 'forward', lambda self, features: features)
    coarse, fine = maps_at((TRAINED, stride), dict(type='MobileNetV3Small'))
    step = TRAINED // stride
    torch.testing.assert_close(fine[..., ::step, ::step], coarse, rtol=0, atol=1e-12 * coarse.abs().max().item())


def test_strides_of_all_maps() -> None:
    images = torch.zeros(1, 3, 64, 96)
    for net, expected in [
        (MobileNetV2(out_indices=range(7), widen_factor=0.1), [2, 4, 8, 16, 16, 32, 32]),
        (MobileNetV2(out_indices=range(7), widen_factor=0.1, output_stride=8), [2, 4, 8, 8, 8, 8, 8]),
        (MobileNetV3Small(out_indices=range(13)), [2, 4, 8, 8, *[16] * 5, *[32] * 4]),
        (MobileNetV3Small(out_indices=range(13), output_stride=16), [2, 4, 8, 8, *[16] * 9]),
        (build_resnet(depth=18, base_channels=2, output_stride=16), [4, 8, 16, 16]),
    ]:
        with torch.no_grad():
            assert [64 // m.shape[2] for m in net(images)] == expected


@pytest.mark.parametrize(
    'cfg',
    [dict(type='MobileNetV3Small'), dict(type='MobileNetV2', widen_factor=0.1), dict(type='ResNet', depth=50)],
    ids=lambda cfg: cfg['type'],
)
def test_no_kernel_of_one_pixel_is_dilated(cfg: dict[str, Any]) -> None:
    """It would change nothing but the speed: PyTorch computes it one channel at a time."""
    net = MODELS.build(dict(cfg, output_stride=8))
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert {conv.dilation for conv in convolutions if conv.kernel_size == (1, 1)} == {(1, 1)}
    assert max(conv.dilation for conv in convolutions) > (1, 1)


def test_the_caffe_resnet_is_that_of_mmseg() -> None:
    """`dilations` of mmseg is right for blocks whose first 1x1 convolution strides."""
    ours = build_resnet(depth=50, style='caffe', output_stride=16, base_channels=4)
    give_statistics(ours)
    dilated = dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
    theirs = MODELS.build(dict(type='mmseg.ResNet', depth=50, style='caffe', base_channels=4, **dilated))
    theirs.load_state_dict(ours.state_dict())
    ours.eval(), theirs.eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for mine, other in zip(ours(images), theirs(images), strict=True):
            torch.testing.assert_close(mine, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    ('net', 'other'),
    [
        (MobileNetV2(widen_factor=0.25), dict(type='mmseg.MobileNetV2', widen_factor=0.25)),
        (MobileNetV3Small(), dict(type='mmseg.MobileNetV3', arch='small')),
        (build_resnet(depth=18, output_stride=8), dict(type='mmseg.ResNet', depth=18)),
    ],
    ids=['MobileNetV2', 'MobileNetV3Small', 'ResNet'],
)
def test_names_and_shapes_are_those_of_mmseg(net: nn.Module, other: dict[str, Any]) -> None:
    expected = {name: value.shape for name, value in MODELS.build(other).state_dict().items()}
    assert {name: value.shape for name, value in net.state_dict().items()} == expected


@pytest.mark.data
@pytest.mark.parametrize(
    ('net', 'name'), [(MobileNetV2(), 'mobilenet_v2'), (MobileNetV3Small(), 'mobilenet_v3_small')], ids=['v2', 'v3']
)
def test_imagenet_weights_fit(net: nn.Module, name: str) -> None:
    file = Path(f'data/weights/{name}_imagenet.pth')
    if not file.exists():
        pytest.skip(f'needs {file}')
    weights = torch.load(file, weights_only=True)
    net.load_state_dict(weights, strict=True)
    assert all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())


def test_refusals() -> None:
    with pytest.raises(ValueError, match='output_stride=64'):
        MobileNetV2(widen_factor=0.1, output_stride=64)
    with pytest.raises(ValueError, match=r'out_indices=\(7,\).*0 to 6'):
        MobileNetV2(widen_factor=0.1, out_indices=(7,))
    with pytest.raises(ValueError, match='output_stride=12'):
        set_output_stride([nn.Conv2d(1, 1, 3, stride=2)], stem_stride=4, output_stride=12)
