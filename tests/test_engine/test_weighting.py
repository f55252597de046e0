"""Weightings in runs: interrupted ones, mixed precision, two optimisers, and checkpoints of another weighting."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import Runner
from torch import nn

from mmmtl.engine import AmpOptimWrapper, build_runner

from .conftest import MakeConfig

needs_torchjd = pytest.mark.skipif(not find_spec('torchjd'), reason='needs torchjd')
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason='float16 is the default on a GPU')
AMP = {'optim_wrapper.type': 'AmpOptimWrapper'}
TWICE = {'optim_wrapper.accumulative_counts': 2}
AVERAGED = {'custom_hooks': [dict(type='EMAHook', momentum=0.1)]}


def run(make_config: MakeConfig, work_dir: str, weighting: dict[str, Any], **options: Any) -> Runner:
    short = {'train_cfg.max_iters': 4, 'default_hooks.checkpoint.interval': 2, 'train_dataloader.dataset.num_videos': 2}
    cfg = make_config('tiny_image', work_dir, **{**short, **options})
    cfg.model.weighting = weighting
    runner = build_runner(cfg)
    runner.train()
    return runner


@pytest.mark.parametrize(
    ('weighting', 'options'),
    [
        pytest.param(dict(type='DWA', interval=1), AMP, id='DWA-AMP'),
        pytest.param(dict(type='FAMO'), {}, id='FAMO', marks=needs_torchjd),
        pytest.param(dict(type='FAMO'), TWICE, id='FAMO-accumulated', marks=[needs_torchjd, pytest.mark.slow]),
        pytest.param(dict(type='PCGrad'), AVERAGED, id='PCGrad-EMA', marks=[needs_torchjd, pytest.mark.slow]),
        pytest.param(dict(type='PCGrad'), AMP, id='PCGrad-AMP', marks=[needs_torchjd, pytest.mark.slow]),
        pytest.param(dict(type='RandomWeighting'), {}, id='RandomWeighting', marks=[needs_torchjd, pytest.mark.slow]),
        pytest.param(dict(type='UncertaintyWeighting'), {}, id='Uncertainty', marks=[needs_torchjd, pytest.mark.slow]),
    ],
)
def test_a_resumed_run_is_the_same(
    make_config: MakeConfig, tmp_path: Path, weighting: dict[str, Any], options: dict[str, Any]
) -> None:
    run(make_config, 'whole', {**weighting, 'log_interval': 2}, **options)
    checkpoint = str(tmp_path / 'whole' / 'iter_2.pth')
    run(make_config, 'again', {**weighting, 'log_interval': 2}, resume=True, load_from=checkpoint, **options)
    first, second = (torch.load(tmp_path / name / 'iter_4.pth', weights_only=True) for name in ('whole', 'again'))
    for name, value in first['state_dict'].items():
        assert torch.equal(value, second['state_dict'][name]), name
    moments = [[state['exp_avg'] for state in c['optimizer']['state'].values()] for c in (first, second)]
    assert len(moments[0]) > 10 and all(torch.equal(*pair) for pair in zip(*moments, strict=True))
    keys = [key for key in first['message_hub']['log_scalars'] if key.startswith('train/grad_cosine/')]
    assert sorted(keys) == [f'train/grad_cosine/{pair}' for pair in ('depth-normals', 'depth-semseg', 'normals-semseg')]
    assert all(len(first['message_hub']['log_scalars'][key][0]) == 2 for key in keys)


def test_a_run_goes_on_only_with_its_weighting(make_config: MakeConfig, tmp_path: Path) -> None:
    run(make_config, 'first', dict(type='DWA', interval=1), **{'train_cfg.max_iters': 2})
    checkpoint = {'load_from': str(tmp_path / 'first' / 'iter_2.pth')}
    fixed = dict(type='FixedWeighting')
    with pytest.raises(ValueError, match=r'weighting\.counts.*model\.weighting.*load_from'):
        run(make_config, 'second', fixed, resume=True, **checkpoint)
    run(make_config, 'third', fixed, **checkpoint, **{'train_cfg.max_iters': 1})


@pytest.mark.parametrize('other_tasks', [False, True])
@pytest.mark.parametrize(
    'weighting',
    [
        pytest.param(dict(type='DWA', interval=1), id='DWA'),
        pytest.param(dict(type='UncertaintyWeighting'), id='Uncertainty', marks=[needs_torchjd, pytest.mark.slow]),
    ],
)
def test_load_from_begins_a_weighting_anew(
    make_config: MakeConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    weighting: dict[str, Any],
    other_tasks: bool,
) -> None:
    short = {'train_cfg.max_iters': 2}
    first = run(make_config, 'first', weighting, **short).model
    load_from = str(tmp_path / 'first' / 'iter_2.pth')
    short |= {'train_cfg.max_iters': 0, 'load_from_other_tasks': other_tasks}
    new, second = (run(make_config, 'new', weighting, **short, **more).model for more in ({}, {'load_from': load_from}))

    assert all(
        torch.equal(*pair) for pair in zip(second.backbone.parameters(), first.backbone.parameters(), strict=True)
    )
    learnt, initial = first.weighting.state_dict(), new.weighting.state_dict()
    assert any(not torch.equal(value, initial[name]) for name, value in learnt.items())
    assert all(torch.equal(value, initial[name]) for name, value in second.weighting.state_dict().items())
    printed = capsys.readouterr()
    assert ('weighting.' in printed.err + printed.out) and 'begins anew' in printed.err + printed.out


@needs_torchjd
def test_two_optimisers_weigh_the_step_of_the_model_alone(make_config: MakeConfig) -> None:
    cfg = make_config('tiny_video', **{'train_cfg.max_iters': 2})
    cfg.model.align_loss.mode = 'alternating'
    cfg.model.weighting = dict(type='MGDA', log_interval=1)
    one = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
    cfg.optim_wrapper = dict(constructor='AlternatingOptimWrapperConstructor', model=one, discriminator=one)
    cfg.param_scheduler = []
    runner = build_runner(cfg)
    before = {name: value.clone() for name, value in runner.model.named_parameters()}
    runner.train()
    moved = {name for name, value in runner.model.named_parameters() if not torch.equal(value, before[name])}
    assert {name.partition('.')[0] for name in moved} >= {'backbone', 'decode_head', 'align_loss'}
    weights = [runner.message_hub.get_scalar(f'train/weight/{task}').data[0] for task in cfg.tasks]
    assert sum(weights) == pytest.approx([1.0, 1.0]), "MGDA's weights of the tasks"


@no_gpu
def test_the_scale_of_float16_alone() -> None:
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    assert not AmpOptimWrapper(optimizer=optimizer).loss_scaler.is_enabled()
    with pytest.raises(ValueError, match='bfloat16'):
        AmpOptimWrapper(optimizer=optimizer, dtype='float16')
    for scale, fixed in ((512, 512.0), (512.0, 512.0), ('dynamic', None), ({'init_scale': 512.0}, None)):
        assert AmpOptimWrapper(optimizer=optimizer, loss_scale=scale)._scale_update_param == fixed
    for wrong in (True, '512', None):
        with pytest.raises(ValueError, match='loss_scale'):
            AmpOptimWrapper(optimizer=optimizer, loss_scale=wrong)


@no_gpu
def test_float16_goes_on_with_a_run_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    state = AmpOptimWrapper(optimizer=optimizer).state_dict()
    assert state['loss_scaler'] == {}
    wrapper = AmpOptimWrapper(optimizer=optimizer)
    monkeypatch.setattr(wrapper, 'loss_scaler', torch.amp.GradScaler('cpu', init_scale=8.0))
    state['param_groups'][0]['lr'] = 0.5
    wrapper.load_state_dict(state)
    assert (wrapper.loss_scaler.get_scale(), optimizer.param_groups[0]['lr']) == (8.0, 0.5)
