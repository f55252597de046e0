"""Cross-stitch networks: mixing by hand, independent networks, checkpoints to start from, learning rates."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from mmmtl.models.backbones import CrossStitchBackbone, NDDRBackbone, split_into_stages
from mmmtl.models.backbones.cross_stitch import CrossStitchUnit
from mmmtl.registry import MODELS

SEGNET = dict(type='SegNet', channels=(4, 5), depths=(1, 2))


def build(tiny, **changes) -> CrossStitchBackbone:
    cfg = dict(type='CrossStitchBackbone', tasks=tiny.tasks, backbone=SEGNET)
    return MODELS.build({**cfg, **changes})


def test_a_unit_by_hand() -> None:
    unit = CrossStitchUnit(['a', 'b'], 2, alpha=0.75)
    maps = {'a': torch.tensor([[[[4.0]], [[8.0]]]]), 'b': torch.tensor([[[[0.0]], [[-4.0]]]])}
    assert {task: out.flatten().tolist() for task, out in unit(maps).items()} == {'a': [3.0, 5.0], 'b': [1.0, -1.0]}
    with torch.no_grad():
        unit.weight['a']['b'][1] = 2.0
    assert unit(maps)['a'].flatten().tolist() == [3.0, -2.0]


@pytest.mark.parametrize('channelwise', [True, False])
def test_a_task_keeps_nine_tenths_and_the_others_share_the_rest(tiny, channelwise: bool) -> None:
    units = (build(tiny) if channelwise else build(tiny, channelwise=False)).units
    assert [len(branches) for branches in units] == [1] * 4  # two stages there, two back
    for (unit,), width in zip(units, (4, 5, 4, 4), strict=True):
        for target in tiny.tasks:
            for source in tiny.tasks:
                weight = unit.weight[target][source]
                assert weight.shape == (width if channelwise else 1, 1, 1)
                torch.testing.assert_close(weight, torch.full_like(weight, 0.9 if source == target else 0.05))


def test_with_identity_weights_networks_are_independent(tiny) -> None:
    net = tiny.scramble(build(tiny, alpha=1.0)).double().eval()
    with torch.no_grad():
        for name, weight in net.units.named_parameters():
            _, _, _, target, source = name.split('.')
            weight.fill_(float(target == source))
        images = tiny.pixels(2, 3, 13, 18)
        for task, maps in net(images).items():
            torch.testing.assert_close(maps, net.networks[task](images))


def test_each_stage_sees_mixed_maps(tiny) -> None:
    net = tiny.scramble(build(tiny)).double().eval()
    images = tiny.pixels(2, 3, 12, 16)
    names = list(tiny.tasks)
    with torch.no_grad():
        views = [split_into_stages(net.networks[name]) for name in names]
        maps: list[Tensor] = [images] * 3
        for i, (unit,) in enumerate(net.units):
            own = torch.stack([view.stages[i]((m,))[0] for view, m in zip(views, maps, strict=True)])
            weight = torch.stack([torch.stack([unit.weight[t][s][:, 0, 0] for s in names]) for t in names])
            maps = list(torch.einsum('tsc,snchw->tnchw', weight, own))
        for name, expected in zip(names, maps, strict=True):
            torch.testing.assert_close(net(images)[name][0], expected)


@pytest.mark.parametrize('kind', [CrossStitchBackbone, NDDRBackbone])
def test_one_task_has_nothing_to_mix(tiny, kind) -> None:
    net = kind(tasks={'depth': tiny.tasks['depth']}, backbone=SEGNET).eval()
    images = torch.rand(1, 3, 8, 8)
    # Features are not negative, so that NDDR's ReLU does nothing; its norm divides by sqrt(1 + eps) four times.
    torch.testing.assert_close(net(images)['depth'], net.networks['depth'](images), rtol=1e-4, atol=1e-6)


# Networks that were trained before


def checkpoint(tiny, path: Path, seed: int = 1, **changes) -> dict[str, Tensor]:
    """Save a single-task model and return the weights of its backbone."""
    model = tiny.image_model(
        {'depth': tiny.TASKS['depth']},
        backbone={**SEGNET, **changes},
        neck=None,
        decode_head=dict(type='TaskConvHead', in_channels=(4,), channels=(6, 5)),
    )
    tiny.scramble(model, seed)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, path)
    return model.backbone.state_dict()


def test_networks_start_from_single_task_checkpoints(tiny, tmp_path: Path) -> None:
    depth = checkpoint(tiny, tmp_path / 'depth.pth')
    net = build(tiny, pretrained={'depth': tmp_path / 'depth.pth'})
    before = {key: value.clone() for key, value in net.networks['semseg'].state_dict().items()}
    net.init_weights()
    assert all(torch.equal(value, depth[key].to(value)) for key, value in net.networks['depth'].state_dict().items())
    assert all(torch.equal(value, before[key]) for key, value in net.networks['semseg'].state_dict().items())


def test_networks_without_a_checkpoint_start_from_the_weights_of_the_backbone(tiny, tmp_path: Path) -> None:
    init = dict(init_cfg=dict(type='Constant', layer='Conv2d', val=0.5))
    depth = checkpoint(tiny, tmp_path / 'depth.pth', **init)
    net = build(tiny, backbone={**SEGNET, **init}, pretrained={'depth': tmp_path / 'depth.pth'})
    net.init_weights()
    assert all(torch.equal(value, depth[key].to(value)) for key, value in net.networks['depth'].state_dict().items())
    convs = [part for part in net.networks['semseg'].modules() if isinstance(part, nn.Conv2d)]
    assert convs and all((conv.weight == 0.5).all() for conv in convs)


def test_networks_start_from_a_wrapped_model(tiny, tmp_path: Path) -> None:
    depth = checkpoint(tiny, tmp_path / 'depth.pth')
    wrapped = {f'module.backbone.{key}': value for key, value in depth.items()}
    torch.save({'state_dict': wrapped}, tmp_path / 'wrapped.pth')
    net = build(tiny, pretrained={'depth': tmp_path / 'wrapped.pth'})
    net.init_weights()
    assert all(torch.equal(value, depth[key].to(value)) for key, value in net.networks['depth'].state_dict().items())


def test_a_checkpoint_that_does_not_fit_is_named(tiny, tmp_path: Path) -> None:
    checkpoint(tiny, tmp_path / 'other.pth', depths=(1, 1))
    with pytest.raises(ValueError, match=r"pretrained\['depth'\]: .*other\.pth .*SegNet"):
        build(tiny, pretrained={'depth': tmp_path / 'other.pth'}).init_weights()
    torch.save({'state_dict': {'fc.weight': torch.ones(1)}}, tmp_path / 'none.pth')
    with pytest.raises(ValueError, match=r'none\.pth .*SegNet'):
        build(tiny, pretrained={'depth': tmp_path / 'none.pth'}).init_weights()
    with pytest.raises(ValueError, match=r"pretrained: \['dept'\]"):
        build(tiny, pretrained={'dept': tmp_path / 'none.pth'})


@pytest.mark.parametrize('kind', [CrossStitchBackbone, NDDRBackbone])
def test_units_may_learn_faster(tiny, kind) -> None:
    model = nn.ModuleDict({'backbone': kind(tasks=tiny.tasks, backbone=SEGNET)})
    wrapper = build_optim_wrapper(
        model,
        dict(optimizer=dict(type='SGD', lr=0.001), paramwise_cfg=dict(custom_keys=dict(units=dict(lr_mult=100.0)))),
    )
    rates = {id(p): group['lr'] for group in wrapper.optimizer.param_groups for p in group['params']}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.1 if '.units.' in name else 0.001), name
