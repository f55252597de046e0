"""Checkpoints and models: what fits is loaded, also of older versions; what does not is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from torch import nn

from mmmtl.checkpoint import check_weights, fitting_weights, load_weights, trained_tasks
from mmmtl.convolutions import geometry
from mmmtl.engine import build_runner
from mmmtl.registry import TASKS
from mmmtl.tasks import DepthEstimation
from mmmtl.tasks.recorded import check_tasks

from .conftest import MakeConfig, last


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (
            {'tasks.disparity': dict(type='DisparityEstimation')},
            r"\['disparity'\].*--tasks semseg,depth",
        ),
        ({'tasks.semseg.classes': 'nyuv2_13'}, "'semseg'.*classes=.*'ground'.*, not .*'bed'"),
        ({'tasks.depth.scale': 1.0}, "'depth'.*scale=4.0, not 1.0"),
    ],
)
def test_a_checkpoint_of_other_tasks_is_refused(
    trained: Runner, make_config: MakeConfig, options: dict, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        build_runner(make_config(load_from=str(last(trained)), **options)).test()


def test_a_task_of_another_kind_is_refused() -> None:
    ours = {'depth': dict(type='DepthEstimation', max_depth=10.0)}
    theirs = {'depth': dict(type='DisparityEstimation')}

    with pytest.raises(ValueError, match="'depth'.*type=DisparityEstimation, not DepthEstimation"):
        check_tasks(ours, theirs)


@pytest.mark.parametrize('kind', ['torch.hub.load', 'hubconf.DepthEstimation', 'an_import_that_leaves_a_mark.Task'])
def test_the_kind_of_a_task_is_no_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    canary = tmp_path / 'canary'
    for name in ('hubconf', 'an_import_that_leaves_a_mark'):
        (tmp_path / f'{name}.py').write_text(f'import os\nos.mkdir({str(canary)!r})\ndef f(**_): pass\n')
    monkeypatch.syspath_prepend(tmp_path)
    ours = {'depth': dict(type='DepthEstimation', max_depth=10.0)}
    theirs = {'depth': dict(type=kind, repo_or_dir=str(tmp_path), model='f', source='local')}

    with pytest.raises((ValueError, TypeError), match='depth'):
        check_tasks(ours, theirs)
    assert not canary.exists()


@pytest.mark.parametrize('kind', ['DepthEstimation', 'evilscope.DepthEstimation', 'AKindThatIsNotHere'])
def test_the_scope_of_a_task_is_no_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    canary = tmp_path / 'canary'
    (tmp_path / 'evilscope').mkdir()
    for name in ('__init__', 'registry'):
        (tmp_path / 'evilscope' / f'{name}.py').write_text(f'import os\nos.makedirs({str(canary)!r}, exist_ok=True)\n')
    monkeypatch.syspath_prepend(tmp_path)
    ours = {'depth': dict(type='DepthEstimation', max_depth=10.0)}
    theirs = {'depth': {'type': kind, 'max_depth': 10.0, '_scope_': 'evilscope'}}

    with pytest.raises(ValueError, match='_scope_|AKindThatIsNotHere'):
        check_tasks(ours, theirs)
    assert not canary.exists()


def endless() -> list:
    value: list = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    'theirs',
    [
        'DepthEstimation',
        ['DepthEstimation'],
        {'max_depth': 10.0},
        {'type': ['DepthEstimation'], 'max_depth': 10.0},
        {'type': 'DepthEstimation'},
        {'type': 'DepthEstimation', 'max_depth': 'far'},
        {'type': 'DepthEstimation', 'max_depth': 10.0, 'name': 'other'},
        {'type': 'DepthEstimation', 'max_depth': 10.0, 'self': 1},
        {'type': 'DepthEstimation', 'max_depth': 10.0, 'further': 1},
        {'type': 'DepthEstimation', 'max_depth': 10.0, 3: 1},
        {'type': 'DepthEstimation', 'max_depth': torch.ones(2)},
        {'type': 'DepthEstimation', 'max_depth': endless()},
        {'type': 'DepthEstimation', 'max_depth': [[0] * 9_000] * 9_000},
    ],
)
def test_a_task_that_is_not_plain_data_is_refused(theirs: Any) -> None:
    ours = {'depth': dict(type='DepthEstimation', max_depth=10.0)}

    with pytest.raises(ValueError, match=r"the checkpoint's meta\.dataset_meta\.tasks\.depth"):
        check_tasks(ours, {'depth': theirs})


def test_a_subclass_may_pass_arguments_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fathoms(DepthEstimation):
        def __init__(self, *, fathoms: float, **rest: Any) -> None:
            super().__init__(max_depth=1.8288 * fathoms, **rest)

    monkeypatch.setitem(TASKS.module_dict, 'Fathoms', Fathoms)
    cfg = {'depth': dict(type='Fathoms', fathoms=10.0, scale=4.0)}

    check_tasks(cfg, cfg)
    with pytest.raises(ValueError, match=r'scale=2\.0, not 4\.0'):
        check_tasks(cfg, {'depth': dict(type='Fathoms', fathoms=10.0, scale=2.0)})
    assert trained_tasks({'meta': {'dataset_meta': {'tasks': cfg}}}) == cfg


def test_what_leaves_the_meaning_of_outputs_alone_may_differ() -> None:
    ours = {
        'semseg': dict(type='SemanticSegmentation', classes=['a', 'b'], unscored=['a'], class_weights=[1.0, 2.0]),
        'depth': dict(type='DepthEstimation', max_depth=10.0, loss_weight=3.0),
    }
    theirs = {
        'semseg': dict(type='SemanticSegmentation', classes=['a', 'b'], loss_weight=0.5),
        'depth': dict(type='DepthEstimation', max_depth=80.0, source='lidar'),
        'edge': dict(type='AKindThatIsNotHere'),
    }

    check_tasks(ours, theirs)


def test_an_optimizer_of_another_order_of_tasks_is_refused(
    trained: Runner, make_config: MakeConfig, tmp_path: Path
) -> None:
    # Version 0.1 built models in the order of their config, which it did not store by itself.
    checkpoint = torch.load(last(trained), weights_only=True)
    assert checkpoint['meta'].pop('task_order') == ['depth', 'normals', 'semseg']
    path = str(tmp_path / 'old.pth')
    torch.save(checkpoint, path)
    options = {'train_cfg.max_iters': 5}

    with pytest.raises(ValueError, match=r"order \['semseg', 'depth', 'normals'\].*load_from"):
        build_runner(make_config(load_from=path, resume=True, **options)).train()
    build_runner(make_config('tiny_video', 'again', load_from=path, **options)).train()


def test_some_of_the_tasks_of_a_checkpoint_can_be_tested(trained: Runner, make_config: MakeConfig) -> None:
    metrics = build_runner(make_config(load_from=str(last(trained)), use_tasks=['depth'])).test()
    of_all = build_runner(make_config('tiny_video', 'all', load_from=str(last(trained)))).test()

    assert {key.split('/')[-2] for key in metrics if '/' in key} == {'depth'}
    assert metrics['offset_3/depth/abs_err'] == pytest.approx(of_all['offset_3/depth/abs_err'])


def test_a_checkpoint_of_another_model_is_refused(trained: Runner, make_config: MakeConfig) -> None:
    # mmengine would only warn and test the initial weights.
    with pytest.raises(ValueError, match=r'weight.*missing'):
        build_runner(make_config('tiny_image', load_from=str(last(trained)))).test()


def test_training_may_start_from_a_part_of_the_weights(trained: Runner, make_config: MakeConfig) -> None:
    runner = build_runner(make_config('tiny_image', load_from=str(last(trained)), **{'train_cfg.max_iters': 0}))
    runner.train()

    name = 'backbone.backbone.conv1.weight'
    assert torch.equal(runner.model.state_dict()[name], trained.model.state_dict()[name])


def test_nothing_in_common_is_refused_even_as_a_start() -> None:
    model = nn.Linear(2, 3)

    check_weights(model, {'weight': torch.zeros(3, 2)}, partly=True)
    with pytest.raises(ValueError, match='2 of 2 weights'):
        check_weights(model, {'weight': torch.zeros(2, 2)}, partly=True)
    with pytest.raises(ValueError, match='1 of 2 weights'):
        check_weights(model, {'weight': torch.zeros(3, 2)})


def test_weights_that_fit_are_loaded_and_the_others_kept() -> None:
    tasks = {'depth': dict(type='DepthEstimation', max_depth=10.0)}
    checkpoint = {
        'state_dict': {'module.weight': torch.ones(3, 2), 'module.bias': torch.ones(4), 'more': torch.ones(1)}
    }
    model = nn.Linear(2, 3)
    bias = model.bias.detach().clone()

    model.load_state_dict(fitting_weights(model, checkpoint, tasks=tasks, partly=True), strict=False)
    assert torch.equal(model.weight, torch.ones(3, 2)) and torch.equal(model.bias, bias)
    with pytest.raises(ValueError, match='bias'):
        load_weights(model, checkpoint, tasks=tasks)
    checkpoint['meta'] = {'dataset_meta': {'tasks': {'edge': dict(type='EdgeDetection')}}}
    with pytest.raises(ValueError, match='depth'):
        fitting_weights(model, checkpoint, tasks=tasks, partly=True)


@pytest.mark.parametrize('child', ['levels', 'csam', 'fpma', 'ctam', 'distillation'])
def test_a_head_may_use_a_name_of_version_0_1(child: str) -> None:
    model = nn.ModuleDict({'decode_head': nn.ModuleDict({child: nn.Linear(2, 3)})})
    weights = {name: torch.ones_like(value) for name, value in model.state_dict().items()}

    assert fitting_weights(model, {'state_dict': weights}, tasks={}).keys() == weights.keys()
    load_weights(model, {'state_dict': weights}, tasks={})
    assert all((value == 1).all() for value in model.state_dict().values())


def test_weights_with_a_place_of_their_own_do_not_move_to_that_of_a_newer_name() -> None:
    model = nn.ModuleDict({'decode_head': nn.ModuleDict({name: nn.Linear(2, 3) for name in ('levels', 'label_space')})})
    weights = {name: value for name, value in model.state_dict().items() if 'levels' in name}

    assert fitting_weights(model, {'state_dict': weights}, tasks={}, partly=True).keys() == weights.keys()


def test_a_weight_of_an_older_name_does_not_replace_that_of_the_newer_name() -> None:
    model = nn.ModuleDict({'decode_head': nn.ModuleDict({'label_space': nn.Linear(2, 3)})})
    newer = {name: torch.ones_like(value) for name, value in model.state_dict().items()}
    older = {name.replace('label_space', 'levels'): torch.zeros_like(value) for name, value in newer.items()}

    fitting = fitting_weights(model, {'state_dict': newer | older}, tasks={}, partly=True)
    assert fitting.keys() == newer.keys() and all((value == 1).all() for value in fitting.values())


def test_weights_that_the_model_lacks_are_refused() -> None:
    tasks = dict(depth=dict(type='DepthEstimation', max_depth=10.0), normals=dict(type='SurfaceNormals'))
    model = nn.ModuleDict({'predict': nn.ModuleDict({'depth': nn.Linear(1, 1)})})
    meta = {'dataset_meta': {'tasks': tasks}}
    fine = ('predict.normals.weight', 'weighting.means', 'align_loss.discriminator.0.weight', 'distillation.x', 'steps')
    stored = {**model.state_dict(), **{name: torch.ones(1) for name in fine}}
    depth = {'depth': tasks['depth']}
    for checkpoint in ({'state_dict': stored, 'meta': meta}, {'state_dict': stored}):
        assert fitting_weights(model, checkpoint, tasks=depth).keys() == model.state_dict().keys()

    stored['neck.excite.depth.weight'] = torch.ones(1)
    for checkpoint in ({'state_dict': stored, 'meta': meta}, {'state_dict': stored}):
        with pytest.raises(ValueError, match=r'has 1 weight that this one lacks \(neck\.excite\.depth\.weight\)'):
            load_weights(model, checkpoint, tasks=depth)
    assert len(fitting_weights(model, {'state_dict': stored, 'meta': meta}, tasks=depth, partly=True)) == 2


@pytest.mark.parametrize('resume', [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_average_of_version_0_1_is_converted_too(make_config: MakeConfig, tmp_path: Path, resume: bool) -> None:
    options = {
        'model.decode_head': dict(_delete_=True, type='PADNetHead', exchange=dict(type='CTAM', shared_fusion=True)),
        'custom_hooks': [dict(type='EMAHook', momentum=0.5)],
        'train_cfg.max_iters': 2,
        'default_hooks.checkpoint.interval': 2,
    }
    first = build_runner(make_config('tiny_image', 'first', **options))
    first.train()
    checkpoint = torch.load(Path(first.work_dir) / 'iter_2.pth', weights_only=True)
    for part in ('state_dict', 'ema_state_dict'):
        checkpoint[part] = {
            name.replace('decode_head.exchange.', 'decode_head.distillation.'): value
            for name, value in checkpoint[part].items()
            if not name.endswith('.positions')
        }
    torch.save(checkpoint, tmp_path / 'old.pth')

    more = {'load_from': str(tmp_path / 'old.pth'), 'resume': resume, 'train_cfg.max_iters': 2 if resume else 0}
    second = build_runner(make_config('tiny_image', 'second', **{**options, **more}))
    second.train()

    (average_of_first,), (average,) = (
        [hook.ema_model.module.state_dict() for hook in runner.hooks if isinstance(hook, EMAHook)]
        for runner in (first, second)
    )
    assert any(not torch.equal(value, average_of_first[name]) for name, value in first.model.state_dict().items())
    model = second.model.state_dict()
    expected = first.model.state_dict() if resume else average_of_first
    for name, value in average_of_first.items():
        assert torch.equal(average[name], value), name
        assert torch.equal(model[name], expected[name]), name


def test_strides_and_dilations_are_stored(trained: Runner) -> None:
    stored = torch.load(last(trained), weights_only=True)['meta']['convolutions']
    assert stored == geometry(trained.model)
    assert stored['backbone.backbone.layer4.1.conv1'] == [1, 1, 4, 4]


def test_the_versions_of_modules_are_kept() -> None:
    stored = nn.BatchNorm2d(1).state_dict()
    assert stored._metadata[''] == {'version': 2}

    assert fitting_weights(nn.BatchNorm2d(1), {'state_dict': stored}, tasks={})._metadata == stored._metadata


def test_weights_alone_cannot_be_resumed_from(trained: Runner, make_config: MakeConfig, tmp_path: Path) -> None:
    torch.save({'state_dict': trained.model.state_dict()}, tmp_path / 'weights.pth')

    with pytest.raises(ValueError, match='cannot be resumed.*load_from'):
        build_runner(make_config(load_from=str(tmp_path / 'weights.pth'), resume=True)).train()
