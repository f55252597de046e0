"""The self-attention neck: widths, order, reach, sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mmmtl.models.necks import SelfAttentionNeck
from mmmtl.registry import MODELS

CHANNELS = (6, 12)


def neck(tiny, **changes: Any) -> SelfAttentionNeck:
    cfg = dict(type='SelfAttentionNeck', tasks=tiny.tasks, in_channels=CHANNELS, num_heads=3)
    return tiny.scramble(MODELS.build({**cfg, **changes})).double()


def maps(tiny, size=(9, 10)):
    return tiny.pixels(2, 6, *size), tiny.pixels(2, 12, *((side + 1) // 2 for side in size), seed=1)


def test_attention_comes_before_the_map(tiny) -> None:
    layer, features = neck(tiny), maps(tiny)
    out = layer(features)
    assert [tuple(o.shape) for o in out] == [(2, 12, 9, 10), (2, 24, 5, 5)]
    for o, f, stage in zip(out, features, layer.stages, strict=True):
        assert torch.equal(o[:, f.shape[1] :], f)
        torch.testing.assert_close(o[:, : f.shape[1]], stage(f))


def test_attention_is_applied_twice_the_second_time_shifted(tiny) -> None:
    layer = neck(tiny)
    assert [[block.attention.shift for block in stage.blocks] for stage in layer.stages] == [[0, 3], [0, 3]]
    assert {block.attention.window for stage in layer.stages for block in stage.blocks} == {7}


@pytest.mark.parametrize(('depth', 'reach'), [(1, 7), (2, 14)])
def test_how_far_a_pixel_reaches(tiny, depth: int, reach: int) -> None:
    """Pixel 6 is in the window 0 to 6 and in the shifted one 3 to 9, whose pixels have seen 0 to 6 and 7 to 13."""
    layer = neck(tiny, depth=depth).eval()
    features = tuple(f.requires_grad_() for f in maps(tiny, (1, 20)))
    (gradient,) = torch.autograd.grad(layer(features)[0][0, :6, 0, 6].sum(), features[0])
    touched = gradient[0].abs().sum(dim=0)[0].nonzero().flatten()
    assert touched.tolist() == list(range(reach))


def test_drop_path_and_padding_reach_the_blocks(tiny) -> None:
    blocks = [b for s in neck(tiny, drop_path=0.2, padding='zero').stages for b in s.blocks]
    assert [block.drop_path.drop_prob for block in blocks] == [0.0, 0.2] * 2
    assert {block.attention.padding for block in blocks} == {'zero'}
    assert {block.drop_path.drop_prob for s in neck(tiny).stages for block in s.blocks} == {0.0}


def test_parameters_of_the_released_widths(tiny) -> None:
    with torch.device('meta'):
        layer = SelfAttentionNeck(tasks=tiny.tasks, in_channels=(18, 36, 72, 144))
    # Embedding c^2 + 3c, two blocks of 4c^2 + 6c + 6 * 169, a norm of 2c.
    expected = sum(9 * c**2 + 17 * c + 2 * 6 * 169 for c in (18, 36, 72, 144))
    assert sum(p.numel() for p in layer.parameters()) == expected
    assert expected == pytest.approx(0.26e6, rel=0.01)


def test_another_number_of_maps_is_refused(tiny) -> None:
    with pytest.raises(ValueError, match=r'\b1\b.*\b2\b'):
        neck(tiny)(maps(tiny)[:1])
