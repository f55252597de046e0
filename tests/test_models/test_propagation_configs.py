"""The rows of MILA's tables 2 to 6 as configs and options, as configs/mila/README.md lists them: built and counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config, DictAction

from mmmtl.models import VideoMultiTaskSegmentor
from mmmtl.profiling import build_on_meta, count_cost

CONFIGS = Path(__file__).parents[2] / 'configs'
CITYSCAPES = 'd101-d18-k5_1xb4-50e_cityscapes-256x512'
D34, K10 = 'model.fast_backbone.backbone.depth=34', 'key_frame_interval=10'
ILA, FLOW = 'mila/mila-single-task-semseg_', 'flow_warp/flow-warp-single-task-semseg_'


def build(name: str, *options: str) -> tuple[VideoMultiTaskSegmentor, Config]:
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    pairs = dict(option.split('=', 1) for option in options)
    cfg.merge_from_dict({key: DictAction._parse_iterable(value) for key, value in pairs.items()})
    model = build_on_meta(cfg)
    assert isinstance(model, VideoMultiTaskSegmentor)
    return model, cfg


@pytest.mark.parametrize(
    ('name', 'options', 'neck', 'losses'),
    [
        (f'multinet_pp/multinet-pp_{CITYSCAPES}', (), 'ConcatNeck', None),
        (
            f'mila/mila-no-mf-ts_{CITYSCAPES}',
            ('model.neck.type=ConcatNeck', 'model.align_loss.beta=0'),
            'ConcatNeck',
            (1, 0),
        ),
        (f'mila/mila-no-mf-ts_{CITYSCAPES}', ('model.align_loss=None',), 'ILANeck', None),
        (f'mila/mila-no-mf-ts_{CITYSCAPES}', ('model.align_loss.beta=0',), 'ILANeck', (1, 0)),
        (f'mila/mila-no-mf-ts_{CITYSCAPES}', (), 'ILANeck', (1, 1)),
        (f'svc/svc_{CITYSCAPES}', (), 'SVCNeck', (1, 1)),
        (f'multinet_pp/multinet-pp_{CITYSCAPES}', ('model.neck.type=NoPropagationNeck',), 'NoPropagationNeck', None),
    ],
)
def test_tables_3_and_6(name: str, options: tuple[str, ...], neck: str, losses: tuple[int, int] | None) -> None:
    model, _ = build(name, *options)
    assert type(model.neck).__name__ == neck
    assert model.neck.num_slots == (1 if neck == 'NoPropagationNeck' else 2)
    assert list(model.neck.excite) == ['shared']
    align = model.align_loss
    assert (align and (align.alpha, align.beta)) == losses


@pytest.mark.parametrize('window', [3, 5, 7, 15, 'global'])
def test_table_4(window: int | str) -> None:
    model, _ = build(f'mila/mila_{CITYSCAPES}', f'model.neck.window={window}')
    assert model.neck.window == window


@pytest.mark.parametrize(
    ('name', 'options', 'gmac'),
    [
        (FLOW, (), 52.2),
        (ILA, (), 55.3),
        (FLOW, (K10, D34), 65.3),
        (ILA, (K10, D34), 68.1),
        ('svc/svc_', (), 63.8),
        ('multinet_pp/multinet-pp_', (), 59.0),
        ('flow_warp/flow-warp_', (), 61.1),
    ],
)
def test_costs_of_an_average_frame(name: str, options: tuple[str, ...], gmac: float) -> None:
    model, cfg = build(f'{name}{CITYSCAPES}', *options)
    cost = count_cost(model, (256, 512))
    assert cost.interval == cfg.key_frame_interval == (10 if K10 in options else 5)
    assert (cost.average(cost.total().macs) or 0) / 1e9 == pytest.approx(gmac, abs=0.06)
    assert model.tasks['semseg'].out_channels == (19 if 'single-task' in name else 7)
