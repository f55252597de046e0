"""The decoder of maps of several scales."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mmmtl.config import load_config
from mmmtl.models.decode_heads import MultiScaleHead
from mmmtl.profiling import build_on_meta, count_cost
from mmmtl.registry import MODELS

CHANNELS = (4, 6)


def head(tiny, **changes) -> MultiScaleHead:
    cfg = dict(type='MultiScaleHead', tasks=tiny.tasks, in_channels=CHANNELS)
    return tiny.scramble(MODELS.build({**cfg, **changes})).double().eval()


def pyramid(tiny, seed=0):
    return [tiny.pixels(2, 4, 5, 7, seed=seed), tiny.pixels(2, 6, 3, 4, seed=seed + 1)]


@pytest.mark.parametrize('upsample_first', [False, True])
def test_the_layers_by_hand(tiny, upsample_first):
    decoder, maps = head(tiny, upsample_first=upsample_first), pyramid(tiny)
    joined = torch.cat([maps[0], F.interpolate(maps[1], (5, 7), mode='bilinear')], dim=1)
    for name, logits in decoder(maps).logits.items():
        part = decoder.aggregation[name]
        norm, _, last = part.predict
        hidden = F.batch_norm(part.conv(joined), norm.running_mean, norm.running_var, norm.weight, norm.bias)
        assert part.conv.weight.shape == (10, 10, 1, 1)
        torch.testing.assert_close(logits, last(hidden.relu()))


def test_tasks_may_have_maps_of_their_own(tiny):
    decoder = head(tiny)
    maps = {name: pyramid(tiny, seed=2 * i) for i, name in enumerate(tiny.tasks)}
    found = decoder(maps)
    assert all(found.features[name] is own for name, own in maps.items())
    for name, own in maps.items():
        torch.testing.assert_close(found.logits[name], decoder(own).logits[name], rtol=0, atol=0)


@pytest.mark.parametrize('wrong', [slice(0, 1), slice(None, None, -1)])
def test_other_maps_are_refused(tiny, wrong):
    with pytest.raises(ValueError, match=r'in_channels=\[4, 6\]'):
        head(tiny)(pyramid(tiny)[wrong])


@pytest.mark.parametrize(
    ('tasks', 'params', 'gmac'),
    [(('semseg', 'depth'), 4.02, 12.77), (('semseg',), 3.945, 11.37), (('depth',), 3.935, 11.16)],
)
def test_what_the_baselines_on_hrnet_cost(tasks: tuple[str, ...], params: float, gmac: float) -> None:
    path = Path(__file__).parents[2] / 'configs' / 'baselines' / 'multi-task_hrnet18_1xb10-100e_nyuv2-480x640.py'
    total = count_cost(build_on_meta(load_config(path, tasks=tasks)), (480, 640)).total()
    assert total.params / 1e6 == pytest.approx(params, abs=0.005)
    assert total.macs['image'] / 1e9 == pytest.approx(gmac, abs=0.006)
