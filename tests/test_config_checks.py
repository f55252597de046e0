"""What a user asks for and would not get: refused before anything runs, with the key and the nearest name."""

from __future__ import annotations

import argparse
import math
import sys
from contextlib import nullcontext
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmmtl.cli.arguments import add_config_arguments, config_of
from mmmtl.config import load_config, resolve
from mmmtl.config.checks import check_validation
from mmmtl.config.components import check_components
from mmmtl.config.options import parse_value

CONFIGS = Path(__file__).parent / 'configs'
VIDEO, IMAGE = CONFIGS / 'tiny_video.py', CONFIGS / 'tiny_image.py'


def child(folder: Path, text: str, base: Path = VIDEO, name: str = 'child.py') -> Path:
    path = folder / name
    path.write_text(f'_base_ = {str(base)!r}\n{text}\n')
    return path


def with_options(*pairs: str, config: Path = VIDEO) -> Config:
    """The config of a command line, resolved."""
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    arguments = [str(config), *(['--cfg-options', *pairs] if pairs else [])]
    return resolve(config_of(parser.parse_args(arguments)))


# ---------------------------------------------------------------- keys of a file


@pytest.mark.parametrize(
    ('text', 'key', 'hint'),
    [
        ('optim_wraper = dict(optimizer=dict(lr=1.0))', 'optim_wraper', 'optim_wrapper'),
        ('train_dataloder = dict(batch_size=7)', 'train_dataloder', 'train_dataloader'),
        ('trainDataloader = dict(batch_size=7)', 'trainDataloader', 'train_dataloader'),
        ('val_evaluater = dict(details=True)', 'val_evaluater', 'val_evaluator'),
        ('default_hook = dict(logger=None)', 'default_hook', 'default_hooks'),
        ('custom_hook = [dict(type="EMAHook")]', 'custom_hook', 'custom_hooks'),
        ('env_cgf = dict(cudnn_benchmark=True)', 'env_cgf', 'env_cfg'),
        ('WORK_DIR = "/elsewhere"', 'WORK_DIR', 'work_dir'),
        ('Tasks = dict()', 'Tasks', 'tasks'),
        ('keyframe_interval = 3', 'keyframe_interval', 'key_frame_interval'),
        ('loadfrom = "x.pth"', 'loadfrom', 'load_from'),
        ('param_schedulers = []', 'param_schedulers', 'param_scheduler'),
        ('randomnes = dict(seed=3)', 'randomnes', 'randomness'),
        ('optimizer = dict(type="SGD", lr=1.0)', 'optimizer', 'optim_wrapper.optimizer'),
        ('lr_config = dict(policy="poly")', 'lr_config', 'param_scheduler'),
        ('resume_from = "x.pth"', 'resume_from', 'load_from'),
        ('seed = 7', 'seed', 'randomness.seed'),
        ('batch_size = 64', 'batch_size', 'train_dataloader.batch_size'),
        ('max_iters = 7', 'max_iters', 'train_cfg.max_iters'),
        ('env_cfg = dict(cudnn_benchmak=True)', 'cudnn_benchmak', 'cudnn_benchmark'),
        ('randomness = dict(sede=1)', 'sede', 'seed'),
        ('auto_scale_lr = dict(base_batchsize=4)', 'base_batchsize', 'base_batch_size'),
        ('default_hooks = dict(check_point=dict(interval=7))', 'check_point', 'checkpoint'),
        ('default_hooks = dict(mine=dict(interval=7))', 'mine', '`type`'),
        ('default_hooks = dict(checkpoint=dict(max_keep_ckpt=1))', 'max_keep_ckpt', 'max_keep_ckpts'),
    ],
)
def test_a_key_that_nothing_reads_is_refused_with_the_nearest(tmp_path: Path, text: str, key: str, hint: str) -> None:
    path = child(tmp_path, text)
    with pytest.raises(ValueError) as error:
        resolve(load_config(path))
    assert str(path) in str(error.value) and repr(key) in str(error.value)
    assert hint in str(error.value).partition(repr(key))[2]


PIPE = [dict(type='LoadFrames')]


@pytest.mark.parametrize(
    ('text', 'key', 'value'),
    [
        ('widths = (1, 2)\ndilated = True\ndata_root = "x"\nmy_note = dict(a=1)', 'my_note.a', 1),
        ('max_iters = 7\ntrain_cfg = dict(max_iters=max_iters)', 'train_cfg.max_iters', 7),
        ('task = dict(type="SurfaceNormals")\ntasks = dict(more=task)', 'tasks.more.type', 'SurfaceNormals'),
        (f'pipe = {PIPE}\nval_dataloader = dict(dataset=dict(pipeline=pipe))', 'val_dataloader.dataset.pipeline', PIPE),
        (f'pipe = {PIPE}', 'pipe', PIPE),
        ('randomness = dict(seed=3, _scope_="mmengine")', 'randomness._scope_', 'mmengine'),
        ('default_hooks = dict(visualization=None)', 'default_hooks.visualization', None),
        (
            'val_dataloader = dict(dataset=dict(metainfo=dict(dataset="NYU")))',
            'val_dataloader.dataset.metainfo.dataset',
            'NYU',
        ),
    ],
)
def test_variables_and_keys_without_a_fixed_meaning_are_allowed(
    tmp_path: Path, text: str, key: str, value: Any
) -> None:
    assert reduce(getitem, key.split('.'), resolve(load_config(child(tmp_path, text)))) == value


@pytest.mark.parametrize(
    'key',
    ['train_dataloader', 'model', 'default_hooks', 'tasks', 'env_cfg', 'custom_hooks', 'default_hooks.logger'],
)
def test_a_part_of_another_kind_is_refused(key: str) -> None:
    cfg = load_config(VIDEO)
    cfg.merge_from_dict({key: 'nonsense'})
    with pytest.raises(ValueError, match=rf"tiny_video\.py.*{key} must be a (dict|list).*'nonsense'"):
        resolve(cfg)


# ---------------------------------------------------------------- variables of a file

BASE = """
train_pipeline = [dict(type='LoadFrames'), dict(type='PackMultiTaskInputs')]
size = (8, 9)
folder = 'here'
tasks = dict(depth=dict(type='DepthEstimation', max_depth=10.0))
train_dataloader = dict(dataset=dict(type='VideoFolder', data_root=folder, pipeline=train_pipeline))
"""
NEW = "[dict(type='LoadFrames'), dict(type='RandomFlip'), dict(type='PackMultiTaskInputs')]"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / 'base.py').write_text(BASE)
    return tmp_path / 'base.py'


@pytest.mark.parametrize(
    ('text', 'key'),
    [
        (f'train_pipeline = {NEW}', 'train_pipeline'),
        (f'test_pipeline = {NEW}', 'test_pipeline'),
        ("folder = 'there'", 'folder'),
    ],
)
def test_an_override_without_effect_is_refused(base: Path, tmp_path: Path, text: str, key: str) -> None:
    path = child(tmp_path, text, base)
    with pytest.raises(ValueError, match=rf"child\.py: '{key}' has no effect"):
        resolve(load_config(path))
    # The file that does it is named also where another one inherits from it.
    with pytest.raises(ValueError, match=rf"{'grand' * (key == 'test_pipeline')}child\.py: '{key}' has no effect"):
        resolve(load_config(child(tmp_path, 'work_dir = "x"', path, 'grandchild.py')))


def test_a_variable_that_a_child_reads_has_an_effect(base: Path, tmp_path: Path) -> None:
    path = child(tmp_path, f"folder = 'there'\ntta_pipeline = {NEW}", base)
    text = "work_dir = _base_.folder + '/runs'\nval_dataloader = dict(dataset=dict(pipeline=_base_.tta_pipeline[:1]))"
    cfg = resolve(load_config(child(tmp_path, text, path, 'grandchild.py')))
    assert cfg.work_dir == 'there/runs' and cfg.val_dataloader.dataset.pipeline == PIPE


def test_a_pipeline_that_nothing_uses_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'alone.py').write_text(f'{BASE}tta_pipeline = {NEW}\n')
    with pytest.raises(ValueError, match=r"alone\.py: 'tta_pipeline'") as caught:
        resolve(load_config(tmp_path / 'alone.py'))
    assert 'base file' not in str(caught.value) and 'tta_dataloader' not in str(caught.value)


@pytest.mark.parametrize(
    'text',
    [
        f'train_pipeline = {NEW}\ntrain_dataloader = dict(dataset=dict(pipeline=train_pipeline))',
        f'train_dataloader = dict(dataset=dict(pipeline={NEW}))',
        f'train_pipeline = {NEW}\nlast = train_pipeline[1:]',
        'train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))',
        "folder = 'here'",
        'size = (1, 2)\ndepth = size',
    ],
)
def test_an_override_with_an_effect_is_allowed(base: Path, tmp_path: Path, text: str) -> None:
    cfg = resolve(load_config(child(tmp_path, text, base)))
    assert 'train_pipeline' not in cfg, 'a resolved config holds what counts'


def test_a_resolved_config_can_be_written_and_read_again(base: Path, tmp_path: Path) -> None:
    cfg = load_config(child(tmp_path, '', base), options={'train_dataloader.dataset.pipeline.0.type': 'LoadMaps'})
    resolve(cfg).dump(tmp_path / 'dumped.py')
    again = resolve(load_config(tmp_path / 'dumped.py'))
    assert [step.type for step in again.train_dataloader.dataset.pipeline] == ['LoadMaps', 'PackMultiTaskInputs']


# ---------------------------------------------------------------- --cfg-options


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('1', 1), ('-1', -1), ('1e-3', 1e-3), ('-0.5', -0.5), ('true', True), ('False', False), ('None', None),
        ('{[1]: 2}', '{[1]: 2}'),
        ('abc', 'abc'), ('', ''), ("''", ''), ('mmseg.ResNet', 'mmseg.ResNet'), ('-inf', float('-inf')), ('+1', 1),
        ('1,2', [1, 2]), ('[1,2]', [1, 2]), ('(1,2)', (1, 2)), ('(1,2),(3,4)', [(1, 2), (3, 4)]), ('1,', [1]),
        ('[(1,2),[a,b],c]', [(1, 2), ['a', 'b'], 'c']), ('semseg,depth', ['semseg', 'depth']), ('[]', []), ('{}', {}),
        ('/data/my pictures/a', '/data/my pictures/a'), ('a b', 'a b'), ("'a, b=c'", 'a, b=c'), ('"1"', '1'),
        ('/a b,/c', ['/a b', '/c']), ("'/a, b',/c d", ['/a, b', '/c d']), ('[/a b, /d]', ['/a b', '/d']),
        ("{'type': 'SGD', 'lr': -1e-2, 'b': {'c': [None, True]}}",
         {'type': 'SGD', 'lr': -0.01, 'b': {'c': [None, True]}}),
        ("dict(type='SGD', b=dict(c=(1,)))", {'type': 'SGD', 'b': {'c': (1,)}}), ('{type: SGD}', {'type': 'SGD'}),
        ("[dict(type='PolyLR', end=3)]", [{'type': 'PolyLR', 'end': 3}]), ('__import__("os")', '__import__("os")'),
        ('dict(SGD)', 'dict(SGD)'), ('2024_01_05', '2024_01_05'), ('-1_0', '-1_0'), ('1_0,2', ['1_0', 2]),
        ("dict(a=1, **{'b': 2})", "dict(a=1, **{'b': 2})"),
        ('10_000', 10_000), ('-1_000.5', -1000.5), ('[10_000, a_b]', [10_000, 'a_b']),
        ("'a_1'", 'a_1'),
    ],
)  # fmt: skip
def test_values_of_options(text: str, value: Any) -> None:
    found = parse_value(text)
    assert found == value and type(found) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(parse_value('nan')) and parse_value('[NaN, 1]')[1] == 1


def test_options_reach_the_config() -> None:
    cfg = with_options(
        'work_dir=/my runs/a b', 'param_scheduler.0.end=7', "optim_wrapper.optimizer={'type': 'SGD', 'lr': 0.5}",
        'tasks.depth.max_depth=5', 'use_tasks=normals,depth', 'train_dataloader.dataset.num_videos=2',
        "custom_hooks=[dict(type='EMAHook')]", 'tasks.depth.min_depth=0.5', 'auto_scale_lr.base_batch_size=4',
    )  # fmt: skip
    assert cfg.work_dir == '/my runs/a b' and cfg.param_scheduler[0].end == 7
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.5)
    assert list(cfg.model.tasks) == ['normals', 'depth'] and cfg.model.tasks.depth.min_depth == 0.5
    assert cfg.custom_hooks == [dict(type='EMAHook')]


@pytest.mark.parametrize('chosen', ['depth', 'depth,normals'])
def test_options_of_tasks_that_are_left_out_are_refused(chosen: str) -> None:
    assert with_options(f'use_tasks={chosen}', 'tasks.depth.max_depth=5').model.tasks.depth.max_depth == 5
    with pytest.raises(ValueError, match=r'tasks\.semseg\.loss_weight: has no effect.*left out'):
        with_options(f'use_tasks={chosen}', 'tasks.semseg.loss_weight=2')
    with pytest.raises(ValueError, match='must be a list of names of tasks, not 5'):
        with_options('use_tasks=5', 'tasks.semseg.loss_weight=2')
    with pytest.raises(ValueError, match=r"use_tasks.*names \['dept'\].*did you mean \['depth'\]"):
        with_options('use_tasks=dept', 'tasks.depth.max_depth=5')


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('optim_wraper.type=X', r"'optim_wraper'.*'optim_wrapper'"),
        ('nonsense=1', r"'nonsense'.*'train_cfg'"),
        ('train_pipeline.0.type=X', r"'train_pipeline'"),
        ('data=3', r"'data'.*variable"),
        ('max_iters=3', r"'max_iters'.*train_cfg\.max_iters"),
        ('param_scheduler.1.end=3', r'param_scheduler is a list of 1.*\'1\''),
        ('param_scheduler.x.end=3', r'param_scheduler is a list of 1.*\'x\''),
        ('train_dataloader.dataset.pipeline.9.type=x', r'pipeline is a list of 5.*\'9\''),
        ('train_cfg.max_iter=3', r"train_cfg has no 'max_iter'.*'max_iters'"),
        ('model.backbone.channel=3', r"model\.backbone has no 'channel'.*'channels'"),
        ('train_dataloader.batchsize=3', r"'batchsize'.*'batch_size'"),
        ('train_dataloader.dataset.num_video=3', r"'num_video'.*'num_videos'"),
        ('optim_wrapper.optimizr.lr=3', r"'optimizr'.*'optimizer'"),
        ('log_processor.by_epoch.x=3', r'by_epoch is False'),
        ('model..type=3', 'empty part'),
    ],
)
def test_options_that_reach_nothing_are_refused(option: str, words: str) -> None:
    with pytest.raises(ValueError, match=f'--cfg-options {option.partition("=")[0]}: .*{words}'):
        with_options(option)


@pytest.mark.parametrize(
    ('key', 'option'),
    [
        ('model.key_frame_policy.interval', 'model.key_frame_policy.interval=3'),
        ('model.key_frame_policy.interval', 'model.key_frame_policy={type:FixedInterval,interval:3}'),
        (
            'model.key_frame_policy.policy.interval',
            'model.key_frame_policy={type:CostBudget,budget:1.,key_cost:2.,non_key_cost:1.,'
            'policy:{type:FixedInterval,interval:3}}',
        ),
        ('test_dataloader.dataset.clip.interval', 'test_dataloader.dataset.clip.interval=3'),
        ('train_dataloader.dataset.dataset.clip.interval', 'train_dataloader.dataset.dataset.clip.interval=3'),
    ],
)
def test_an_interval_that_the_key_frame_interval_replaces_is_refused(key: str, option: str, tmp_path: Path) -> None:
    repeated = child(
        tmp_path,
        '_base_.train_dataloader.dataset = dict(type="RepeatDataset", times=2, dataset=_base_.train_dataloader.dataset)'
        '\ntrain_dataloader = dict(dataset=dict(_delete_=True, **_base_.train_dataloader.dataset))',
    )
    config = repeated if 'dataset.dataset' in key else VIDEO
    with pytest.raises(ValueError, match=f'--cfg-options {key}=3: .*key_frame_interval=3'):
        with_options(option, config=config)
    with_options(option, 'key_frame_interval=3', config=config)

    # A resolved config has the old one.
    with_options(config=config).dump(tmp_path / 'resolved.py')
    cfg = with_options('key_frame_interval=3', config=tmp_path / 'resolved.py')
    assert cfg.model.key_frame_policy.interval == cfg.test_dataloader.dataset.clip.interval == 3


def test_names_of_tasks_and_of_what_describes_a_data_set_are_free() -> None:
    metainfo = 'val_dataloader.dataset.metainfo'
    cfg = with_options(
        "tasks.depth2={'type': 'SurfaceNormals'}", f"{metainfo}={{'city': 'Bern'}}", f'{metainfo}.citys=2'
    )
    assert list(cfg.tasks) == ['semseg', 'depth', 'normals', 'depth2']
    assert cfg.val_dataloader.dataset.metainfo.citys == 2, "not taken for a misspelt 'city'"


def test_modules_that_an_option_names_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'my_late_components.py').touch()
    with_options('custom_imports.imports=[my_late_components]')
    assert sys.modules.pop('my_late_components')
    with pytest.raises(ValueError, match="--cfg-options custom_imports: ModuleNotFoundError: .*'my_absent_components'"):
        with_options('custom_imports.imports=[my_absent_components]')


def test_a_key_of_ones_own_may_be_an_option(tmp_path: Path) -> None:
    path = child(tmp_path, 'my_flag = 1')
    assert with_options('my_flag=2', config=path).my_flag == 2


def test_an_option_without_a_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        with_options('work_dir=/my', 'runs')
    assert "'runs'" in capsys.readouterr().err


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('x = [1,\n', r'broken\.py:[12]: SyntaxError'),
        ('x = 1\ny = z\n', r"broken\.py:2: NameError: .*'z'"),
        ("_base_ = './absent.py'\n", r'absent\.py'),
        ("custom_imports = dict(imports=['not_there'])\n", 'not_there'),
    ],
)
def test_a_broken_config_is_named_with_the_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / 'broken.py'
    path.write_text(text)
    for config in (path, child(tmp_path, 'work_dir = "x"', path)):
        with pytest.raises(ValueError, match=words) as error:
            load_config(config)
        assert '\n' not in str(error.value)


@pytest.mark.parametrize('name', ['broken.json', 'broken.yml'])
def test_a_broken_config_of_another_format_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"a": [1, }')
    with pytest.raises(ValueError, match=name):
        load_config(tmp_path / name)


# ---------------------------------------------------------------- metrics, loops and clips


@pytest.mark.parametrize(
    ('metric', 'words'),
    [
        ('depth/abs_er', "'depth/abs_er'.*'depth/abs_err'"),
        ('boundary/f1', "'boundary/f1'"),
        ('mIoU', "'mIoU'"),
        ('x/depth/abs_err', "'x/depth/abs_err'"),
        ('temporal/depth/warp_err', '--stream'),
        ('delta_m', 'baseline'),
        ('offset_2/depth/rmse', 'details'),
        ('pooled/depth/rmse', 'details'),
        ('per_image/depth/rmse', r'val_evaluator\.per_image=True'),
        (['depth/rmse', 'normals/maen'], "'normals/maen'"),
        (7, '7'),
        (True, 'True'),
    ],
)
def test_a_metric_that_validation_will_not_have_is_refused(metric: Any, words: str) -> None:
    for options, key in (
        ({'default_hooks.checkpoint.save_best': metric}, r'default_hooks\.checkpoint\.save_best'),
        ({'custom_hooks': [dict(type='EarlyStoppingHook', monitor=metric)]}, r'custom_hooks\[0\]\.monitor'),
    ):
        with pytest.raises(ValueError, match=rf'tiny_video\.py: {key}: .*{words}'):
            resolve(load_config(VIDEO, options=options))


def test_a_metric_of_another_evaluator_has_the_direction_of_the_config() -> None:
    evaluators = [dict(type='MultiTaskMetric', details=False), dict(type='mmseg.IoUMetric')]
    both = {'default_hooks.checkpoint.save_best': ['mIoU', 'depth/rmse'], 'default_hooks.checkpoint.rule': 'greater'}
    hook = dict(type='EarlyStoppingHook', monitor='aAcc')
    cfg = load_config(VIDEO, options={**both, 'custom_hooks': [{**hook, 'rule': 'greater'}]})
    with pytest.raises(ValueError, match=r"save_best: .*'mIoU'"):
        resolve(cfg)
    cfg.val_evaluator = evaluators
    found = resolve(cfg)
    assert found.default_hooks.checkpoint.rule == ['greater', 'less'] and found.custom_hooks[0].rule == 'greater'
    cfg.custom_hooks = [hook]
    with pytest.raises(ValueError, match=r"monitor: .*'aAcc'.*`rule`"):
        resolve(cfg)


def test_offsets_of_save_best_are_those_of_the_clips() -> None:
    best = {'default_hooks.checkpoint.save_best': 'offset_7/depth/rmse', 'val_evaluator.details': True}
    with pytest.raises(ValueError, match=r"'offset_7/depth/rmse'.*\[0, 1, 2, 3, 4\]"):
        resolve(load_config(VIDEO, options=best))
    with pytest.raises(ValueError, match=r"'offset_7/depth/rmse'.*\[\]"):
        resolve(load_config(IMAGE, options={**best, 'key_frame_interval': 8, 'val_dataloader.dataset.clip': {}}))
    with pytest.raises(ValueError, match=r"'offset_7/depth/rmse'.*\[0, 1\]"):  # those of training do not count
        resolve(
            load_config(VIDEO, options={**best, 'key_frame_interval': 8, 'val_dataloader.dataset.clip.offsets': [0, 1]})
        )
    assert (
        resolve(load_config(VIDEO, options={**best, 'key_frame_interval': 8})).default_hooks.checkpoint.rule == 'less'
    )


def test_details_are_there_unless_they_are_left_out() -> None:
    cfg = load_config(VIDEO, options={'default_hooks.checkpoint.save_best': 'offset_2/depth/rmse'})
    assert not cfg.val_evaluator.pop('details')
    assert resolve(cfg).default_hooks.checkpoint.rule == 'less'


@pytest.mark.parametrize(('begin', 'refused'), [(None, False), (4, False), (5, True)])
def test_a_validation_that_would_come_too_late(begin: int | None, refused: bool) -> None:
    options = {'default_hooks.checkpoint.save_best': 'depth/rmse', 'train_cfg.max_iters': 4}
    options |= {'train_cfg.val_begin': begin} if begin else {}
    cfg = resolve(load_config(VIDEO, options=options))
    with pytest.raises(ValueError, match=r'save_best=.*val_begin be at most 4') if refused else nullcontext():
        check_validation(cfg)


def test_early_stopping_goes_the_way_of_its_metric() -> None:
    hooks = [dict(type='EarlyStoppingHook', monitor=metric) for metric in ('depth/abs_err', 'semseg/mIoU')]
    found = resolve(load_config(VIDEO, options={'custom_hooks': hooks})).custom_hooks
    assert [hook.rule for hook in found] == ['less', 'greater']


def test_a_lower_rate_follows_a_validation() -> None:
    plateau = dict(type='ReduceOnPlateauLR', monitor='semseg/mIoU')
    for scheduler in (plateau, dict(type='ReduceOnPlateauLR')):
        (found,) = resolve(load_config(VIDEO, options={'param_scheduler': [scheduler]})).param_scheduler
        assert (found.monitor, found.rule) == ('semseg/mIoU', 'greater')
    for options, words in (
        ({'param_scheduler': [{**plateau, 'monitor': 'loss'}]}, r'\(ReduceOnPlateauLR\)\.monitor: .*loss'),
        ({'param_scheduler': [{**plateau, 'by_epoch': False}]}, 'with by_epoch=False not even then'),
    ):
        with pytest.raises(ValueError, match=words):
            resolve(load_config(VIDEO, options=options))


def test_schedulers_of_each_optimiser() -> None:
    scheduler = dict(type='PolyLR', by_epoch=False, end=7)
    warm_up = dict(type='LinearLR', by_epoch=False, end=2)
    named = dict(model=[warm_up, scheduler], discriminator=scheduler)
    assert resolve(load_config(VIDEO, options={'param_scheduler': named})).param_scheduler == named


INTERVALS = ('train_cfg.val_interval', 'key_frame_interval', 'checkpoint_interval', 'log_interval')


@pytest.mark.parametrize('key', ['train_cfg.max_iters', *INTERVALS])
def test_lengths_and_intervals_are_whole_numbers(key: str) -> None:
    endless = [] if key.startswith('train_cfg') else [float('inf')]
    for value in (-1, -3, 2.5, True, '7', [1], *endless):
        with pytest.raises(ValueError, match=rf'tiny_video\.py: {key}\b.*at least [01]'):
            resolve(load_config(VIDEO, options={key: value}))


@pytest.mark.parametrize('key', INTERVALS)
def test_intervals_are_not_zero_but_lengths_may_be(key: str) -> None:
    with pytest.raises(ValueError, match=rf'{key} must be a whole number of at least 1, not 0'):
        resolve(load_config(VIDEO, options={key: 0}))
    assert resolve(load_config(VIDEO, options={'train_cfg.max_iters': 0})).train_cfg.max_iters == 0


@pytest.mark.parametrize(
    ('key', 'right', 'wrong'),
    [
        ('randomness.seed', (0, 2**32 - 1, None), (-1, 2**32, 1.5, True, '7')),
        ('optim_wrapper.optimizer.lr', (0, 1e-3, 1), (-1e-3, float('inf'), float('nan'), True, '1e-3')),
    ],
)
def test_seeds_and_learning_rates_are_numbers(key: str, right: tuple[Any, ...], wrong: tuple[Any, ...]) -> None:
    for value in right:
        assert reduce(getitem, key.split('.'), resolve(load_config(VIDEO, options={key: value}))) == value
    for value in wrong:
        with pytest.raises(ValueError, match=rf'tiny_video\.py: {key} must be'):
            resolve(load_config(VIDEO, options={key: value}))


@pytest.mark.parametrize(
    ('config', 'options', 'words'),
    [
        (
            VIDEO,
            {'train_dataloader.dataset.clip': None},
            r'train_dataloader.*SyntheticVideo.*no clip.*key_frame_policy',
        ),
        (VIDEO, {'val_dataloader.dataset.clip.single': True}, r'val_dataloader.*clip\.single=True.*key_frame_policy'),
        (IMAGE, {'test_dataloader.dataset.clip': dict(single=False)}, r'test_dataloader.*clip\.single=False'),
    ],
)
def test_a_model_and_data_that_do_not_go_together_are_refused(
    config: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        resolve(load_config(config, options=options))


def test_a_model_that_takes_no_tasks_is_refused() -> None:
    cfg = resolve(load_config(IMAGE, options={'model.type': 'mmseg.EncoderDecoder'}))
    with pytest.raises(ValueError, match=r"model\.type='mmseg\.EncoderDecoder'.*MultiTaskSegmentor"):
        check_components(cfg)
