"""Checkpoints: nothing in them runs, none is left half written, and models refuse those that do not fit."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import get_file_backend
from mmengine.hooks import EMAHook
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from torch import nn

from mmmtl.apis import MultiTaskInferencer
from mmmtl.checkpoint import check_weights, fitting_weights, load_weights, trained_tasks
from mmmtl.config import resolve
from mmmtl.convolutions import geometry
from mmmtl.engine import build_runner, find_checkpoint
from mmmtl.engine.checkpoint_files import make_plain
from mmmtl.io.checkpoints import load_from_local
from mmmtl.io.outputs import remove_partial_files
from mmmtl.registry import MODELS, TASKS
from mmmtl.tasks import DepthEstimation
from mmmtl.tasks.recorded import check_tasks

MakeConfig = Callable[..., Config]


class Trap:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable, tuple]:
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Path]:
    """A checkpoint with a trap in it, which must not go off during the test."""
    canary = tmp_path / 'canary'
    path = tmp_path / 'foreign.pth'
    contents = {'state_dict': {'weight': torch.zeros(1)}, 'meta': {'author': Trap(canary)}, 'message_hub': {}}
    torch.save(contents, path)
    yield path
    assert not canary.exists(), 'the trap went off'
    torch.load(path, weights_only=False)
    assert canary.exists(), 'the trap would not have gone off for anybody'


def last(runner: Runner) -> Path:
    path = find_checkpoint(runner.work_dir)
    assert path is not None and path.name == 'iter_4.pth'
    return path


def test_a_foreign_checkpoint_is_refused_by_our_loader(trap: Path) -> None:
    with pytest.raises(ValueError, match=r'foreign\.pth: refused.*mkdir.*torch\.save'):
        load_from_local(trap)


@pytest.mark.parametrize('save', ['pickle', 'legacy'])
def test_a_foreign_checkpoint_is_refused_in_every_format(trap: Path, tmp_path: Path, save: str) -> None:
    path = tmp_path / f'{save}.pth'
    contents = {'state_dict': Trap(tmp_path / 'canary')}
    if save == 'pickle':
        path.write_bytes(pickle.dumps(contents))
    else:
        torch.save(contents, path, _use_new_zipfile_serialization=False)

    with pytest.raises(ValueError, match=rf'{save}\.pth: '):
        load_from_local(path)


@pytest.mark.parametrize('what', ['foreign', 'nan'])
def test_no_way_of_loading_takes_it(trap: Path, make_config: MakeConfig, tmp_path: Path, what: str) -> None:
    words = dict(foreign=r'foreign\.pth: refused', nan=r'nan\.pth: 1 weights are not finite \(neck\.weight\)')[what]
    path = str(tmp_path / f'{what}.pth')
    if what == 'nan':
        torch.save({'state_dict': {'neck.weight': torch.tensor(float('nan'))}}, path)
    cfg = resolve(make_config(**{'model.backbone.backbone.init_cfg': dict(type='Pretrained', checkpoint=path)}))
    init_default_scope('mmmtl')
    for load in (
        lambda: build_runner(make_config(load_from=path)).test(),
        lambda: build_runner(make_config(load_from=path)).train(),
        lambda: build_runner(make_config(load_from=path, resume=True)).train(),
        lambda: MultiTaskInferencer(make_config(), path),
        lambda: MODELS.build(cfg.model).init_weights(),
        lambda: CheckpointLoader.load_checkpoint(path),
    ):
        with pytest.raises(ValueError, match=words):
            load()


def test_the_config_in_a_checkpoint_is_not_run(trained: Runner, make_config: MakeConfig, tmp_path: Path) -> None:
    # mmengine executes meta['config'] of a checkpoint when it resumes; a string passes `weights_only=True`.
    checkpoint = torch.load(last(trained), weights_only=True)
    checkpoint['meta']['config'] = f'import os\nos.mkdir({str(tmp_path / "canary")!r})\n'
    torch.save(checkpoint, tmp_path / 'iter_4.pth')

    build_runner(make_config(load_from=str(tmp_path / 'iter_4.pth'), resume=True, **{'train_cfg.max_iters': 4})).train()

    assert not (tmp_path / 'canary').exists()


def test_a_checkpoint_cannot_have_a_folder_deleted(trained: Runner, make_config: MakeConfig, tmp_path: Path) -> None:
    # mmengine deletes the best checkpoint, named in the message hub, when a better one comes.
    checkpoint = torch.load(last(trained), weights_only=True)
    (tmp_path / 'precious').mkdir()
    checkpoint['message_hub']['runtime_info'] |= {'best_ckpt': str(tmp_path / 'precious'), 'best_score': 1e9}
    torch.save(checkpoint, tmp_path / 'iter_4.pth')
    options = {
        'train_cfg.max_iters': 5,
        'train_cfg.val_interval': 1,
        'default_hooks.checkpoint.save_best': 'normals/mean',
    }
    runner = build_runner(make_config(load_from=str(tmp_path / 'iter_4.pth'), resume=True, **options))

    with pytest.raises(ValueError, match=r"iter_4\.pth: .*runtime_info\.best_ckpt must.*precious'"):
        runner.train()
    assert (tmp_path / 'precious').exists()


@pytest.mark.parametrize('name', ['iter_4', 'best_normals_mean_iter_*'])
def test_our_checkpoints_load_with_torch_alone(trained: Runner, name: str) -> None:
    allowed = torch.serialization.get_safe_globals()  # parts of torch add some of theirs
    torch.serialization.clear_safe_globals()
    try:
        (path,) = Path(trained.work_dir).glob(f'{name}.pth')
        checkpoint = torch.load(path, weights_only=True)
    finally:
        torch.serialization.add_safe_globals(allowed)

    iteration = int(path.stem.rpartition('_')[2])
    assert checkpoint['meta']['iter'] == iteration
    assert list(checkpoint['meta']['dataset_meta']['tasks']) == ['semseg', 'depth', 'normals']
    assert checkpoint['state_dict'].keys() == trained.model.state_dict().keys()
    assert len(checkpoint['message_hub']['log_scalars']['train/loss'][0]) == iteration
    if name == 'iter_4':
        assert checkpoint['optimizer']['state'] and checkpoint['param_schedulers'][0]['last_step'] == 4
        assert isinstance(checkpoint['message_hub']['runtime_info']['best_score'], float)


def test_resuming_restores_what_was_logged(trained: Runner, make_config: MakeConfig) -> None:
    runner = build_runner(make_config(load_from=str(last(trained)), resume=True, **{'train_cfg.max_iters': 4}))
    runner.train()

    assert runner.iter == 4
    for name, buffer in trained.message_hub.log_scalars.items():
        if name.startswith('train/') and 'time' not in name:
            history, counts = runner.message_hub.get_scalar(name).data
            assert len(history) == 4
            np.testing.assert_array_equal(history, buffer.data[0])
            np.testing.assert_array_equal(counts, buffer.data[1])
    assert runner.message_hub.get_info('best_score') == trained.message_hub.get_info('best_score')
    assert runner.optim_wrapper.get_lr() == trained.optim_wrapper.get_lr()
    assert all(
        torch.equal(a, b)
        for a, b in zip(runner.model.state_dict().values(), trained.model.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize('keep', [0.0, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_told_from_a_foreign_one(trained: Runner, tmp_path: Path, keep: float) -> None:
    whole = last(trained).read_bytes()
    path = tmp_path / 'cut.pth'
    path.write_bytes(whole[: int(keep * len(whole))])

    with pytest.raises(ValueError, match=r'cut\.pth: not a .*truncated'):
        load_from_local(path)


@pytest.mark.parametrize('contents', [b'<html>Not Found</html>', b'\x80\x04.', bytes(range(256))])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / 'page.pth').write_bytes(contents)

    with pytest.raises(ValueError, match=r'page\.pth: not a '):
        load_from_local(tmp_path / 'page.pth')


def test_a_checkpoint_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r'nowhere/iter_1\.pth: no such checkpoint'):
        load_from_local('nowhere/iter_1.pth')


def test_a_tensor_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save(torch.zeros(1), tmp_path / 'tensor.pth')

    with pytest.raises(ValueError, match='holds a Tensor, not a dict'):
        load_from_local(tmp_path / 'tensor.pth')


# Checkpoints of other tasks and models


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


# Writing


def test_a_crash_before_the_file_is_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'iter_2.pth'
    backend = get_file_backend(str(path), backend_args=dict(backend='atomic_local'))
    backend.put(b'old and whole', path)

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, 'replace', crash)
        patch.setattr(Path, 'unlink', lambda *_, **__: None)  # a killed process does not clean up
        with pytest.raises(KeyboardInterrupt):
            backend.put(b'new', path)

    assert path.read_bytes() == b'old and whole'
    assert find_checkpoint(tmp_path) == path, 'what the crash left is no checkpoint'
    backend.put(b'new', path)
    assert path.read_bytes() == b'new'
    assert len(os.listdir(tmp_path)) == 2, 'the crash left something'
    (tmp_path / '.own.tmp').touch()
    remove_partial_files(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ['.own.tmp', 'iter_2.pth']


def test_the_backend_writes_text_too(tmp_path: Path) -> None:
    backend = get_file_backend(str(tmp_path), backend_args=dict(backend='atomic_local'))
    backend.put_text('Straße', tmp_path / 'new' / 'notes.txt')

    assert (tmp_path / 'new' / 'notes.txt').read_text(encoding='utf-8') == 'Straße'


def test_weights_that_are_not_finite_are_not_saved(trained: Runner, make_config: MakeConfig, tmp_path: Path) -> None:
    runner = build_runner(make_config(load_from=str(last(trained)), resume=True, **{'train_cfg.max_iters': 4}))
    runner.train()
    with torch.no_grad():
        runner.model.backbone.backbone.conv1.weight[0] = float('nan')

    with pytest.raises(FloatingPointError, match=r'1 weights.*backbone\.conv1\.weight'):
        runner.save_checkpoint(str(tmp_path), 'iter_5.pth', by_epoch=False)

    assert not (tmp_path / 'iter_5.pth').exists()


def test_what_is_saved_is_made_plain() -> None:
    tensor = torch.ones(2)
    value = {'a': np.float64(0.5), 'b': [np.int64(3), (np.arange(2), 'x')], 'c': OrderedDict({np.int32(1): tensor})}

    plain = make_plain(value, 'meta')

    assert plain == {'a': 0.5, 'b': [3, ([0, 1], 'x')], 'c': {1: tensor}}
    assert [type(plain['a']), type(plain['b'][0]), type(plain['c'])] == [float, int, dict]
    with pytest.raises(ValueError, match=r'meta\.dataset_meta\.root of the checkpoint is a PosixPath'):
        make_plain({'dataset_meta': {'root': Path('/')}}, 'meta')
    with pytest.raises(ValueError, match=r'meta\.signal of the checkpoint is a Signals'):
        make_plain({'signal': signal.SIGKILL}, 'meta')  # a subclass of int


# Finding


@pytest.mark.parametrize(
    ('record', 'found'),
    [
        (None, 'iter_100.pth'),
        ('', 'iter_100.pth'),
        ('\n', 'iter_100.pth'),
        ('/moved/away/iter_20.pth', 'iter_20.pth'),
        ('/moved/away/iter_30.pth', 'iter_100.pth'),
        ('iter_2', 'iter_100.pth'),
    ],
)
def test_the_newest_checkpoint_is_found(tmp_path: Path, record: str | None, found: str) -> None:
    partial = '.0123456789ab.partial.pth'
    for name in ('iter_100.pth', 'iter_20.pth', 'best_depth_rmse_iter_900.pth', partial, 'weights.pth'):
        (tmp_path / name).touch()
    if record is not None:
        (tmp_path / 'last_checkpoint').write_text(record)

    assert find_checkpoint(tmp_path) == tmp_path / found


def test_a_checkpoint_outside_the_work_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / 'out').mkdir()
    (tmp_path / 'work').mkdir()
    (tmp_path / 'out' / 'epoch_3.pth').touch()
    (tmp_path / 'work' / 'last_checkpoint').write_text(str(tmp_path / 'out' / 'epoch_3.pth'))

    assert find_checkpoint(tmp_path / 'work') == tmp_path / 'out' / 'epoch_3.pth'

    (tmp_path / 'work' / 'epoch_3.pth').touch()  # of an earlier run, which wrote here

    assert find_checkpoint(tmp_path / 'work') == tmp_path / 'out' / 'epoch_3.pth'


def test_a_copied_work_directory_has_its_own_checkpoint(tmp_path: Path) -> None:
    for name in ('work', 'copy'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'epoch_3.pth').touch()
        (tmp_path / name / 'last_checkpoint').write_text(str(tmp_path / 'work' / 'epoch_3.pth'))

    assert find_checkpoint(tmp_path / 'copy') == tmp_path / 'copy' / 'epoch_3.pth'


@pytest.mark.parametrize('name', ['empty', 'absent'])
def test_there_may_be_no_checkpoint(tmp_path: Path, name: str) -> None:
    (tmp_path / 'empty').mkdir()

    assert find_checkpoint(tmp_path / name) is None


def test_a_moved_work_directory_can_be_resumed(trained: Runner, make_config: MakeConfig, tmp_path: Path) -> None:
    shutil.copytree(trained.work_dir, tmp_path / 'run')

    runner = build_runner(make_config(resume=True, **{'train_cfg.max_iters': 4}))
    runner.train()

    assert runner._load_from == str(tmp_path / 'run' / 'iter_4.pth')
    assert runner.iter == 4


def test_mmengines_own_function_reads_our_checkpoints(trained: Runner, make_config: MakeConfig) -> None:
    cfg = resolve(make_config())
    init_default_scope('mmmtl')
    model = MODELS.build(cfg.model)

    load_checkpoint(model, str(last(trained)), strict=True)

    name = 'neck.embed.depth.weight'
    assert torch.equal(model.state_dict()[name], trained.model.state_dict()[name])
