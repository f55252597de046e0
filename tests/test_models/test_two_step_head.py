"""Heads that are open to losses: their two steps are the head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmmtl.models.decode_heads import TwoStepHead
from mmmtl.registry import MODELS

SCA = dict(type='SCAHead', in_channels=(8, 16), fpma=dict(type='FPMA', num_heads=2), ctam=dict(type='CTAM'))
SHARED = (8, 6, 8), (16, 3, 4)
HEADS = {
    'sca': (dict(SCA, csam=dict(type='CSAM')), SHARED),
    'sca without csam': (dict(SCA, csam=None), SHARED),
    'multi-scale': (dict(type='MultiScaleHead', in_channels=(8, 16)), SHARED),
    'convolutions': (dict(type='TaskConvHead', in_channels=(8,), channels=(10, 5)), SHARED[:1]),
    'slots': (dict(type='TaskConvHead', in_channels=(8,), channels=(10, 5), num_slots=2), (*SHARED[:1], *SHARED[:1])),
}


def features(tiny, shapes: Sequence[Sequence[int]]) -> tuple[Tensor, ...]:
    return tuple(tiny.pixels(2, *shape, seed=seed) for seed, shape in enumerate(shapes))


@pytest.mark.parametrize('name', HEADS)
@pytest.mark.parametrize('training', [False, True])
def test_two_steps_are_the_head(tiny, name: str, training: bool) -> None:
    config, shapes = HEADS[name]
    head = tiny.scramble(MODELS.build({**config, 'tasks': tiny.tasks})).double().train(training)
    given = features(tiny, shapes)
    assert isinstance(head, TwoStepHead)

    with torch.no_grad():
        # Batch norm in training gives the same both times.
        expected = head(given)
        maps, preliminary = head.task_features(given)
        logits = head.task_logits(maps)

    tiny.assert_same(logits | preliminary, expected, rtol=0, atol=0)
    assert list(logits) == list(maps) == list(tiny.tasks)
    assert bool(preliminary) == (training and name.startswith('sca'))
    for own in maps.values():
        assert [map_.shape[1] for map_ in own] == list(head.feature_channels)
    assert len(head.feature_channels) == (2 if 'in_channels' in config and name[:2] in ('sc', 'mu') else 1)


def test_maps_of_each_task_stay_apart(tiny) -> None:
    head = MODELS.build({**HEADS['multi-scale'][0], 'tasks': tiny.tasks}).eval()
    given: Mapping[str, Any] = {n: [f.float() + i for f in features(tiny, SHARED)] for i, n in enumerate(tiny.tasks)}

    maps, _ = head.task_features(given)
    assert all(own is given[name] for name, own in maps.items())


def test_other_heads_are_not_open() -> None:
    assert not isinstance(nn.Conv2d(1, 1, 1), TwoStepHead)
