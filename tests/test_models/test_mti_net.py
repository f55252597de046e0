"""MTI-Net, its propagation by hand, order of the modules, and costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor

from mmmtl.models.decode_heads import FPM, MTINetHead
from mmmtl.models.decode_heads.feature_propagation import task_mask
from mmmtl.profiling import build_on_meta, count_cost
from mmmtl.registry import MODELS

WIDTHS = (8, 12, 16)
SIZES = ((7, 9), (4, 5), (2, 3))
NAMES = ('semseg', 'depth', 'normals')
CONFIG = Path(__file__).parents[2] / 'configs' / 'mti_net' / 'mti-net_hrnet18_1xb10-100e_nyuv2-480x640.py'


def head(tiny, names: Sequence[str] = NAMES, **changes: Any) -> MTINetHead:
    cfg = Config.fromfile(CONFIG).model.decode_head.to_dict()
    cfg |= dict(tasks={name: tiny.tasks[name] for name in names}, in_channels=WIDTHS)
    cfg['propagation']['reduction'] = 2
    return tiny.scramble(MODELS.build({**cfg, **changes})).double().eval()


def maps(tiny, n: int = 2) -> list[Tensor]:
    return [tiny.pixels(n, c, *size, seed=c) for c, size in zip(WIDTHS, SIZES, strict=True)]


# FPM


def test_fpm_by_hand() -> None:
    """Two tasks of one channel. All weights of the stage are zero but the last bias, which prefers b four to one."""
    module = FPM(tasks=['a', 'b'], channels=1, reduction=1).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.stage[2].bias.copy_(torch.tensor([0.0, 3.0]).log1p())  # ln 1, ln 4
        # The residual block: its shortcut sums the tasks, everything else is off.
        module.fuse.shortcut.conv.weight.fill_(1)
        module.fuse.shortcut.bn.weight.fill_((1 + module.fuse.shortcut.bn.eps) ** 0.5)
    out = module({'a': torch.full((1, 1, 2, 2), 5.0), 'b': torch.full((1, 1, 2, 2), 10.0)})
    # 1/5 * 5 + 4/5 * 10 = 9, gated by sigmoid(0) = 1/2.
    torch.testing.assert_close(out['a'], torch.full((1, 1, 2, 2), 5 + 4.5))
    torch.testing.assert_close(out['b'], torch.full((1, 1, 2, 2), 10 + 4.5))


@pytest.mark.parametrize('axis', ['task', 'adjacent'])
def test_the_layers_of_fpm(tiny, axis) -> None:
    module = tiny.scramble(FPM(tasks=['a', 'b'], channels=8, mask_axis=axis)).double().eval()
    features = {name: tiny.pixels(2, 8, 5, 6, seed=i) for i, name in enumerate('ab')}
    out = module({'b': features['b'], 'a': features['a']})
    stacked = torch.cat([features['a'], features['b']], dim=1)
    first, second, last = module.stage
    scores = last(second(first(stacked)))
    shared = module.fuse(task_mask(scores, 2, axis) * stacked)
    for name in 'ab':
        gate = module.excite[name].gate(shared.mean((2, 3), keepdim=True))
        torch.testing.assert_close(out[name], shared * gate + features[name])
    assert first.conv1.conv.weight.shape == (4, 16, 3, 3) and second.conv1.conv.weight.shape == (4, 4, 3, 3)


def test_fpm_of_one_task_has_no_mask(tiny) -> None:
    module = tiny.scramble(FPM(tasks=['a'], channels=4)).double().eval()
    features = {'a': tiny.pixels(2, 4, 5, 6)}
    assert module.stage is None
    shared = module.fuse(features['a'])
    torch.testing.assert_close(module(features)['a'], module.excite['a'](shared) + features['a'])


# The head


@pytest.mark.parametrize('source', ['initial', 'augmented'])
def test_the_road_through_the_head(tiny, source: str) -> None:
    """Coarse to fine: task heads, exchange, FPM of the features before (or after) the exchange; then aggregation."""
    decoder, features = head(tiny, propagated=source), maps(tiny)
    coarse: dict[str, Tensor] = {}
    exchanged: dict[int, dict[str, Tensor]] = {}
    for i in (2, 1, 0):
        own = {}
        for name, part in decoder.heads[i].items():
            enters = [F.interpolate(coarse[name], SIZES[i], mode='bilinear')] if coarse else []
            own[name] = part.blocks(torch.cat([features[i], *enters], dim=1))
        exchanged[i] = decoder.exchange[i](own)
        coarse = decoder.propagation[i - 1](own if source == 'initial' else exchanged[i]) if i else {}
    for name, logits in decoder(features).logits.items():
        scales = [F.interpolate(exchanged[i][name], SIZES[0], mode='bilinear') for i in range(3)]
        part = decoder.aggregation[name]
        assert part.conv.weight.shape == (36, 36, 1, 1)
        torch.testing.assert_close(logits, part.predict(part.conv(torch.cat(scales, dim=1))))


def test_what_propagates_matters_only_with_an_exchange(tiny) -> None:
    initial, augmented = (head(tiny, ('depth', 'semseg'), propagated=source) for source in ('initial', 'augmented'))
    assert (initial(maps(tiny)).logits['depth'] - augmented(maps(tiny)).logits['depth']).abs().max() > 1e-3
    initial, augmented = (head(tiny, exchange=None, propagated=source) for source in ('initial', 'augmented'))
    tiny.assert_same(initial(maps(tiny)).logits, augmented(maps(tiny)).logits, rtol=0, atol=0)
    with pytest.raises(ValueError, match="propagated.*'augmented', 'initial'.*'ctam'"):
        head(tiny, propagated='ctam')


# The config


@pytest.mark.slow
def test_what_it_costs() -> None:
    """As the released code costs: 8.58 M parameters and 17.14 GMAC at 480 x 640 with two tasks."""
    cost = count_cost(build_on_meta(Config.fromfile(CONFIG)), (480, 640))
    total = cost.total()
    assert total.params / 1e6 == pytest.approx(8.58, abs=0.005)
    # Preliminary predictions (41 channels at all scales), which are computed in training alone.
    places = {c: 19200 // 4**i for i, c in enumerate((18, 36, 72, 144))}
    preliminary = sum(41 * c * n for c, n in places.items())
    assert (total.macs['image'] + preliminary) / 1e9 == pytest.approx(17.14, abs=0.005)
    cheap = Config.fromfile(CONFIG)
    cheap.model.decode_head.upsample_first = False
    assert count_cost(build_on_meta(cheap), (480, 640)).total().macs['image'] / 1e9 == pytest.approx(14.67, abs=0.005)


def test_propagated_features_enter_where_they_should(tiny) -> None:
    """At the input they make the first block wider; at the output they are added, and nothing else changes."""
    at_input, at_output = (head(tiny, entry=entry) for entry in ('input', 'output'))
    for scale, width in enumerate(WIDTHS[:-1]):
        wide, plain = at_input.heads[scale]['depth'], at_output.heads[scale]['depth']
        assert wide.blocks[0].conv1.conv.in_channels == width + WIDTHS[scale + 1] and wide.merge is None
        shared, coarse = tiny.pixels(2, width, 6, 8), tiny.pixels(2, WIDTHS[scale + 1], 6, 8, seed=1)
        torch.testing.assert_close(plain(shared, coarse), plain.blocks(shared) + plain.merge(coarse))
