"""PAD-Net: spatial attention and head by hand, and costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from mmmtl.models.decode_heads import PADNetHead, SpatialAttention
from mmmtl.profiling import build_on_meta, count_cost
from mmmtl.registry import MODELS

CHANNELS = (4, 6)
SIZES = ((5, 7), (3, 4))
NAMES = ('semseg', 'depth', 'normals')
CONFIG = Path(__file__).parents[2] / 'configs' / 'pad_net' / 'pad-net_hrnet18_1xb10-100e_nyuv2-480x640.py'


def head(tiny, names: Sequence[str] = NAMES, **changes) -> PADNetHead:
    tasks = {name: tiny.tasks[name] for name in names}
    exchange = dict(type='SpatialAttention')
    cfg = dict(type='PADNetHead', tasks=tasks, in_channels=CHANNELS, channels=8, exchange=exchange)
    return tiny.scramble(MODELS.build({**cfg, **changes})).double().eval()


def maps(tiny, n: int = 2) -> list[torch.Tensor]:
    return [tiny.pixels(n, c, *size, seed=c) for c, size in zip(CHANNELS, SIZES, strict=True)]


# Spatial attention


def test_spatial_attention_by_hand() -> None:
    module = SpatialAttention(tasks=['a', 'b'], channels=1)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.zero_()
            # The gate of what a tells b is sigmoid(ln 3 * 1) = 3/4; of what b tells a, sigmoid(0) = 1/2.
            parameter[0, 0, 1, 1] = {'gate': math.log(3) if name.startswith('attend.b') else 0, 'message': 2}[
                name.split('.')[3]
            ]
    out = module({'a': torch.ones(1, 1, 1, 1), 'b': torch.full((1, 1, 1, 1), 10.0)})
    assert out['a'].item() == 1 + 0.5 * 2 * 10
    assert out['b'].item() == pytest.approx(10 + 0.75 * 2 * 1, rel=1e-6)


def test_spatial_attention_of_three_tasks(tiny) -> None:
    module = tiny.scramble(SpatialAttention(tasks=NAMES, channels=4)).double()
    features = {name: tiny.pixels(2, 4, 5, 6, seed=i) for i, name in enumerate(NAMES)}
    out = module(features)
    state = module.state_dict()
    for target in NAMES:
        expected = features[target].clone()
        for source in set(NAMES) - {target}:
            gate, message = (state[f'attend.{target}.{source}.{part}.weight'] for part in ('gate', 'message'))
            told = F.conv2d(features[source], message, padding=1)
            expected += told / (1 + (-F.conv2d(features[source], gate, padding=1)).exp())
        torch.testing.assert_close(out[target], expected)
    assert len(state) == 3 * 2 * 2, 'convolutions of its own for each pair, without bias'


def test_spatial_attention_of_one_task_passes_its_features(tiny) -> None:
    module = SpatialAttention(tasks=['a'], channels=4)
    features = {'a': tiny.pixels(2, 4, 5, 6)}
    assert module(features)['a'] is features['a']
    assert not list(module.parameters())


# The head


@pytest.mark.parametrize('upsample_first', [False, True])
def test_the_road_through_the_head(tiny, upsample_first: bool) -> None:
    decoder, features = head(tiny, upsample_first=upsample_first), maps(tiny)
    joined = torch.cat([features[0], F.interpolate(features[1], SIZES[0], mode='bilinear')], dim=1)
    aggregation, norm, _ = decoder.fuse
    shared = norm(aggregation.conv(joined)).relu()
    own = {name: decoder.heads[name](shared) for name in NAMES}
    exchanged = decoder.exchange(own)
    output = decoder(features)
    last = output.features
    for name, logits in output.logits.items():
        torch.testing.assert_close(logits, decoder.final[name](exchanged[name]))
        torch.testing.assert_close(last[name][0], decoder.final[name][:2](exchanged[name]))
        assert last[name][0].shape[1] == decoder.feature_channels[0]
        assert [block.layers[1].conv.weight.shape for block in decoder.heads[name]] == [(2, 2, 3, 3)] * 2
    out = decoder.train()(features)
    assert [list(scale) for scale in out.preliminary] == [list(NAMES)]
    shared = norm(aggregation.conv(joined)).relu()
    for name in NAMES:
        expected = decoder.preliminary[name](decoder.heads[name](shared))
        torch.testing.assert_close(out.preliminary[0][name], expected)


def test_without_exchange_tasks_are_apart(tiny) -> None:
    together, alone = head(tiny, exchange=None), head(tiny, ['depth'])
    alone.load_state_dict({key: value for key, value in together.state_dict().items() if key in alone.state_dict()})
    torch.testing.assert_close(alone(maps(tiny)).logits['depth'], together(maps(tiny)).logits['depth'])


def test_what_the_head_refuses(tiny) -> None:
    with pytest.raises(ValueError, match=r'\[4\] channels, expected in_channels=\[4, 6\]'):
        head(tiny)(maps(tiny)[:1])
    with pytest.raises(ValueError, match='num_blocks.*0'):
        head(tiny, num_blocks=0)


# The config


@pytest.mark.slow
def test_what_it_costs() -> None:
    """Like the released code: 7.02 M parameters and 70.25 GMAC at 480 x 640 with two tasks."""
    cost = count_cost(build_on_meta(Config.fromfile(CONFIG)), (480, 640))
    total, preliminary = cost.total(), cost.total('decode_head.preliminary')
    assert (total.params + preliminary.params) / 1e6 == pytest.approx(7.02, abs=0.005)
    # Preliminary predictions (41 channels at stride 4), which are computed in training alone.
    assert (total.macs['image'] + 41 * 256 * 120 * 160) / 1e9 == pytest.approx(70.25, abs=0.005)
    assert not preliminary.at_inference
    parts = {name: cost.total(f'decode_head.{name}') for name in PADNetHead.cost_parts}
    assert {name: round(part.params / 1e6, 3) for name, part in parts.items()} == dict(
        fuse=0.074, heads=0.423, preliminary=0.011, exchange=2.359, final=0.292
    )
    cheap = Config.fromfile(CONFIG)
    cheap.model.decode_head.upsample_first = False
    assert count_cost(build_on_meta(cheap), (480, 640)).total().macs['image'] / 1e9 == pytest.approx(68.82, abs=0.005)
