"""Whole models of configs at a size that no stride divides: losses, gradients and maps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmmtl.config import resolve
from mmmtl.registry import MODELS

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.mark.parametrize(
    ('name', 'scales'), [('sca/sca', 4), ('sca/sca-released', 4), ('mti_net/mti-net', 4), ('pad_net/pad-net', 1)]
)
def test_the_whole_model_at_an_odd_size(tiny, name: str, scales: int) -> None:
    cfg = resolve(Config.fromfile(CONFIGS / f'{name}_hrnet18_1xb10-100e_nyuv2-480x640.py'))
    model = MODELS.build(cfg.model).train()
    sample = tiny.sample(size=(61, 83), tasks=('semseg', 'depth'))
    losses = model(torch.randn(2, 3, 61, 83), [sample, sample], mode='loss')
    tasks = dict(semseg='loss_ce', depth='loss_l1')
    prefixes = ['', *(f'preliminary.{i}.' for i in range(scales))]
    assert set(losses) == {f'{prefix}{task}.{loss}' for prefix in prefixes for task, loss in tasks.items()}
    sum(losses.values()).backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    with torch.no_grad():
        (predicted,) = model.eval()(torch.randn(1, 3, 61, 83), [sample], mode='predict')
    assert predicted.pred.semseg.shape == predicted.pred.depth.shape == (1, 61, 83)
