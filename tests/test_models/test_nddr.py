"""NDDR-CNN: its fusion by hand and as one convolution of concatenated maps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmmtl.models.backbones import NDDRBackbone, split_into_stages
from mmmtl.models.backbones.nddr import NDDRUnit
from mmmtl.registry import MODELS

NAMES = ('semseg', 'depth', 'normals')


def unit(tiny, tasks=NAMES) -> NDDRUnit:
    return NDDRUnit(tasks, 4, alpha=0.9, norm_cfg=dict(type='BN', momentum=0.05)).double().eval()


def maps(tiny, count: int = 2):
    return {name: tiny.pixels(count, 4, 5, 6, seed=i) for i, name in enumerate(NAMES)}


def test_it_starts_as_a_mixture(tiny) -> None:
    layer, features = unit(tiny), maps(tiny)
    for norm in layer.norm.values():
        norm.eps = 0.0
    out = layer(features)
    for name in NAMES:
        others = sum(features[other] for other in NAMES if other != name)
        torch.testing.assert_close(out[name], (0.9 * features[name] + 0.05 * others).relu(), rtol=1e-6, atol=1e-7)


def test_it_is_a_convolution_of_the_concatenated_maps(tiny) -> None:
    layer, features = tiny.scramble(unit(tiny)), maps(tiny)
    joined = torch.cat([features[name] for name in NAMES], dim=1)
    for name, out in layer(features).items():
        weight = torch.cat([layer.reduce[name][source].weight for source in NAMES], dim=1)
        norm = layer.norm[name]
        hidden = F.batch_norm(F.conv2d(joined, weight), norm.running_mean, norm.running_var, norm.weight, norm.bias)
        torch.testing.assert_close(out, hidden.relu())


def test_each_stage_sees_fused_maps(tiny) -> None:
    net: NDDRBackbone = MODELS.build(
        dict(type='NDDRBackbone', tasks=tiny.tasks, backbone=dict(type='SegNet', channels=(4, 5), depths=(1, 2)))
    )
    assert {m.momentum for m in net.units.modules() if isinstance(m, nn.BatchNorm2d)} == {0.05}
    net = tiny.scramble(net).double().eval()
    images = tiny.pixels(2, 3, 13, 18)
    with torch.no_grad():
        views = {name: split_into_stages(network) for name, network in net.networks.items()}
        current = dict.fromkeys(views, images)
        for i, (fuse,) in enumerate(net.units):
            current = fuse({name: view.stages[i]((current[name],))[0] for name, view in views.items()})
        found = net(images)
    for name in NAMES:
        torch.testing.assert_close(found[name][0], current[name])


@pytest.mark.parametrize('alpha', [0.9, 0.5])
def test_alpha_is_the_share_of_the_task_itself(alpha: float) -> None:
    layer = NDDRUnit(['a', 'b'], 3, alpha=alpha, norm_cfg=dict(type='BN'))
    torch.testing.assert_close(layer.reduce['a']['a'].weight[:, :, 0, 0], alpha * torch.eye(3))
    torch.testing.assert_close(layer.reduce['a']['b'].weight[:, :, 0, 0], (1 - alpha) * torch.eye(3))
