"""The plain SCA-MTL of the benchmark and ours: the same predictions and gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmmtl.registry import MODELS

BENCHMARKS = Path(__file__).parents[2] / 'benchmarks'
WIDTHS = (6, 12, 24)
DECODERS: dict[str, dict[str, Any]] = dict(
    paper=dict(fpma=dict(type='FPMA'), ctam=dict(type='CTAM'), csam=dict(type='CSAM')),
    released=dict(
        fpma=dict(type='FPMA', mask_axis='adjacent', padding='zero'),
        ctam=dict(type='CTAM', fusion='basic_block', shared_fusion=True, query_convs=2),
        csam=dict(type='CSAM', source='ctam', query_convs=2),
        fpma_entry='input',
        hidden_channels='input',
    ),
)


class Pyramid(nn.Module):
    """A backbone of strided convolutions: maps of stride 4, 8 and 16."""

    def __init__(self) -> None:
        super().__init__()
        strides = zip((3, *WIDTHS), WIDTHS, (4, 2, 2), strict=False)
        self.layers = nn.ModuleList(nn.Conv2d(i, o, 3, stride, padding=1) for i, o, stride in strides)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = [images]
        for layer in self.layers:
            maps.append(layer(maps[-1]).relu())
        return tuple(maps[1:])


@pytest.mark.parametrize('tasks', [2, 3])
@pytest.mark.parametrize('reading', DECODERS)
def test_the_plain_model_is_the_same_function(tiny, monkeypatch, reading: str, tasks: int) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from sca import TOLERANCE, disagreement
    from sca_plain import PlainSCA

    cfg = ConfigDict(
        type='MultiTaskSegmentor',
        tasks={name: tiny.tasks[name] for name in ('semseg', 'depth', 'normals')[:tasks]},
        backbone=dict(type=Pyramid),
        neck=dict(type='SelfAttentionNeck', in_channels=WIDTHS, padding='mask' if reading == 'paper' else 'zero'),
        decode_head=dict(type='SCAHead', in_channels=tuple(2 * c for c in WIDTHS), **DECODERS[reading]),
    )
    images = tiny.pixels(2, 3, 61, 83)
    ours = tiny.scramble(MODELS.build(cfg)).train()
    plain = PlainSCA(cfg, {name: task.out_channels for name, task in ours.tasks.items()})
    plain.load(ours)
    assert disagreement(plain, ours, images) < TOLERANCE
    with torch.no_grad():
        ours.decode_head.exchange[0].attend['semseg']['depth'].key[0].bn.bias += 0.1
    assert disagreement(plain, ours, images) > 1e3 * TOLERANCE
