"""Building a runner: what every run gets, and which configs are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmengine.hooks
import pytest
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from mmmtl.config.components import check_components, check_evaluation, check_sampler
from mmmtl.engine import CheckpointHook, build_runner
from mmmtl.engine.build import HOOKS_OF_EVERY_RUN
from mmmtl.models import MultiTaskSegmentor, VideoMultiTaskSegmentor
from mmmtl.registry import accepts, parameters_of

from .conftest import MakeConfig


@pytest.mark.parametrize(
    ('name', 'model', 'loop'),
    [
        ('tiny_video', VideoMultiTaskSegmentor, IterBasedTrainLoop),
        ('tiny_video_epochs', VideoMultiTaskSegmentor, EpochBasedTrainLoop),
        ('tiny_image', MultiTaskSegmentor, IterBasedTrainLoop),
    ],
)
def test_a_runner_is_built_resolved(make_config: MakeConfig, name: str, model: type, loop: type) -> None:
    cfg = make_config(name)
    runner = build_runner(cfg)

    assert type(runner.model) is model
    assert type(runner.train_loop) is loop
    assert list(runner.model.tasks) == ['semseg', 'depth', 'normals']
    assert runner.train_dataloader.dataset.metainfo['tasks'] == cfg.tasks.to_dict()
    assert 'tasks' not in cfg.model, 'the config that was handed in is left alone'


@pytest.mark.parametrize('kind', ['DefaultSampler', 'mmengine.DefaultSampler', DefaultSampler])
def test_samplers_are_known_by_every_name(kind: Any) -> None:
    loader = dict(sampler=dict(type=kind))
    with pytest.raises(ValueError, match=r"train_dataloader\.sampler.*'EpochDrawSampler'"):
        check_sampler(Config(dict(train_dataloader=loader)))
    with pytest.raises(ValueError, match=r'val_dataloader\.sampler.*twice'):
        check_evaluation(Config(dict(val_dataloader=loader, launcher='pytorch')))


def test_samplers_that_repeat_samples_or_augmentations_are_refused() -> None:
    with pytest.raises(ValueError, match=r"train_dataloader\.sampler.*'InfiniteDrawSampler'"):
        check_sampler(Config(dict(train_dataloader=dict(sampler=dict(type='InfiniteSampler')))))
    with pytest.raises(ValueError, match=r"val_dataloader\.sampler.*'EpochDrawSampler'.*twice"):
        check_evaluation(Config(dict(val_dataloader=dict(sampler=dict(type='EpochDrawSampler')), launcher='pytorch')))


def test_arguments_of_a_base_count_where_they_are_passed_on() -> None:
    class Base:
        def __init__(self, *, width: int, depth: int = 1) -> None: ...

    class PassesOn(Base):
        def __init__(self, *, name: str, **rest: Any) -> None: ...

    class Closed(Base):
        def __init__(self, *, name: str) -> None: ...

    assert parameters_of(PassesOn) == {'name', 'width', 'depth'}
    assert parameters_of(Closed) == {'name'}
    assert parameters_of(len) == {'obj'} and parameters_of(None) == parameters_of(3) == set()
    assert accepts(dict(type='mmseg.ResNetV1c'), 'norm_eval'), 'an argument of ResNet'


@pytest.mark.parametrize('hook', HOOKS_OF_EVERY_RUN)
def test_every_run_has_the_hooks_that_guard_it(make_config: MakeConfig, hook: type) -> None:
    without = build_runner(make_config())
    with_hook = build_runner(make_config(custom_hooks=[dict(type=hook.__name__)]))

    for runner in (without, with_hook):
        assert [type(h) for h in runner.hooks].count(hook) == 1


def test_options_of_the_command_line_reach_model_and_data(make_config: MakeConfig) -> None:
    runner = build_runner(make_config(**{'tasks.depth.loss_weight': 3.0, 'key_frame_interval': 3}))

    assert runner.model.tasks['depth'].loss_weight == 3.0
    assert runner.train_dataloader.dataset.tasks['depth'].loss_weight == 3.0
    assert runner.model.key_frame_policy.interval == 3
    assert runner.val_dataloader.dataset.clip.interval == 3


@pytest.mark.parametrize(
    ('key', 'name', 'nearest'),
    [
        ('model.neck.type', 'ILANek', 'ILANeck'),
        ('model.backbone.backbone.type', 'mmseg.ResNett', 'mmseg.ResNet'),
        ('model.backbone.backbone.type', 'HRNet', 'mmseg.HRNet'),
        ('train_dataloader.dataset.type', 'SyntheticVideos', 'SyntheticVideo'),
        ('train_dataloader.sampler.type', 'InfinitDrawSampler', 'InfiniteDrawSampler'),
        ('optim_wrapper.optimizer.type', 'Adamm', 'Adam'),
        ('val_evaluator.type', 'MultitaskMetric', 'MultiTaskMetric'),
        ('visualizer.type', 'MultiTaskVisualiser', 'MultiTaskVisualizer'),
    ],
)
def test_an_unknown_component_is_refused_with_its_key_and_the_nearest_names(
    make_config: MakeConfig, key: str, name: str, nearest: str
) -> None:
    with pytest.raises(ValueError) as error:
        build_runner(make_config(**{key: name}))

    assert f"cfg.{key}='{name}'" in str(error.value)
    assert f"'{nearest}'" in str(error.value).partition('did you mean')[2].partition('?')[0]
    assert 'custom_imports' in str(error.value)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (
            {'model.decode_head.chanels': (8, 8)},
            r"decode_head\.type \(TaskConvHead\).*'chanels'.*'channels'",
        ),
        ({'param_scheduler.0.begn': 3}, r"param_scheduler\[0\].*PolyLR.*'begn'.*'begin'"),
        ({'train_dataloader.dataset.num_video': 3}, r"dataset.*SyntheticVideo.*'num_video'.*'num_videos'"),
        (
            {'optim_wrapper.constructor': 'DefaultOptimWrapperConstructr'},
            r"constructor=.*'DefaultOptimWrapperC",
        ),
        ({'runner_type': 'Runer'}, r"runner_type='Runer'.*'Runner'"),
        ({'default_scope': 'mmtl'}, r"default_scope.*'mmmtl'.*'mmtl'"),
        ({'randomness.seed': 'x'}, r"tiny_video\.py: randomness\.seed.*'x'"),
        ({'optim_wrapper.optimizer.lr': 'fast'}, r"tiny_video\.py: optim_wrapper\.optimizer\.lr.*'fast'"),
    ],
)
def test_misspelt_arguments_and_names_are_refused_with_the_nearest(
    make_config: MakeConfig, options: dict, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        build_runner(make_config(**options))


def test_an_unknown_component_in_a_list_is_named_by_its_place(make_config: MakeConfig) -> None:
    cfg = make_config()
    cfg.train_dataloader.dataset.pipeline[2].type = 'RandomFlipp'

    with pytest.raises(
        ValueError, match=r"cfg\.train_dataloader\.dataset\.pipeline\[2\]\.type='RandomFlipp'.*RandomFlip"
    ):
        build_runner(cfg)


def test_a_type_that_names_no_component_is_let_pass(make_config: MakeConfig) -> None:
    cfg = make_config(**{'optim_wrapper.clip_grad': dict(type='value', clip_value=0.5)})

    check_components(cfg)
    check_components(Config(dict(model=dict(type='torch.nn.Linear'))))


@pytest.mark.parametrize(
    ('options', 'error', 'words'),
    [
        ({'tasks.depth.type': 'DepthEstimaton'}, ValueError, "tasks.depth.*did you mean.*'DepthEstimation'"),
        ({'tasks.dept.max_depth': 3}, ValueError, "tasks.dept has no `type`.*did you mean 'depth'"),
        ({'tasks.depth.max_dept': 3}, ValueError, 'tasks.depth.*max_dept'),
        ({'tasks': None}, ValueError, 'declares no tasks'),
        ({'use_tasks': ['dept']}, ValueError, r"'dept'.*semseg.*depth.*normals"),
        ({'default_hooks.checkpoint.save_best': 'depth/abs_er'}, ValueError, "'depth/abs_er'.*'depth/abs_err'"),
        ({'default_hooks.checkpoint.save_best': ['depth/rmse', 'edge/ods']}, ValueError, "'edge/ods'"),
    ],
)
def test_a_config_that_cannot_work_is_refused(
    make_config: MakeConfig, options: dict, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=f'(?s){words}'):
        build_runner(make_config(**options))


@pytest.mark.parametrize(('metric', 'rule'), [('depth/abs_err', 'less'), ('semseg/mIoU', 'greater')])
def test_the_best_checkpoint_follows_the_direction_of_its_metric(
    make_config: MakeConfig, metric: str, rule: str
) -> None:
    runner = build_runner(make_config(**{'default_hooks.checkpoint.save_best': metric}))

    (hook,) = (hook for hook in runner.hooks if type(hook).__name__ == 'CheckpointHook')
    assert hook.rules == [rule]


@pytest.mark.parametrize(('registry', 'part'), [(MODELS, 'model'), (DATASETS, 'train_dataloader.dataset')])
def test_what_is_built_unresolved_names_the_call_that_is_missing(
    make_config: MakeConfig, registry: object, part: str
) -> None:
    cfg = make_config()
    init_default_scope('mmmtl')
    for key in part.split('.'):
        cfg = cfg[key]

    with pytest.raises(ValueError, match=r'resolve\(cfg\).*build_runner\(cfg\)'):
        registry.build(cfg)  # type: ignore[attr-defined]


def test_resume_without_a_name_takes_the_newest_checkpoint(make_config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / 'run').mkdir()
    for number in (4, 12):
        (tmp_path / 'run' / f'iter_{number}.pth').touch()

    for options in (dict(resume=True), dict(resume='auto', load_from='initial.pth')):
        runner = build_runner(make_config(**options))
        assert runner._resume is True and runner._load_from == str(tmp_path / 'run' / 'iter_12.pth')
    for options in (dict(resume=True), dict(resume='auto', load_from='initial.pth')):
        runner = build_runner(make_config('tiny_video', 'empty', **options))
        assert runner._resume is False and runner._load_from == options.get('load_from')


@pytest.mark.parametrize(
    ('name', 'instead'), [('DefaultSampler', 'EpochDrawSampler'), ('InfiniteSampler', 'InfiniteDrawSampler')]
)
def test_a_sampler_that_does_not_number_its_draws_is_refused(make_config: MakeConfig, name: str, instead: str) -> None:
    with pytest.raises(ValueError, match=f'train_dataloader.sampler.type={name!r}.*{instead}'):
        build_runner(make_config(**{'train_dataloader.sampler.type': name}))


def test_an_epoch_without_an_end_is_refused(make_config: MakeConfig) -> None:
    runner = build_runner(make_config('tiny_video_epochs', **{'train_dataloader.sampler.type': 'InfiniteDrawSampler'}))
    with pytest.raises(ValueError, match='train_dataloader: the first epoch of its InfiniteDrawSampler.*EpochDrawSamp'):
        runner.train()


@pytest.mark.parametrize('loader', ['val_dataloader', 'test_dataloader'])
def test_an_evaluation_that_would_depend_on_the_batch_or_the_processes_is_refused(
    make_config: MakeConfig, loader: str
) -> None:
    with pytest.raises(ValueError, match=f'{loader}.drop_last=True'):
        build_runner(make_config(**{f'{loader}.drop_last': True}))
    cfg = make_config()
    cfg[loader].sampler = dict(type='DefaultSampler', shuffle=False)
    check_evaluation(cfg)
    cfg.launcher = 'pytorch'
    with pytest.raises(ValueError, match=rf"{loader}.sampler.*'DefaultSampler'.*round_up=False"):
        check_evaluation(cfg)


@pytest.mark.parametrize('without', [{'num_workers': 0}, {}])
def test_without_workers_none_persist(make_config: MakeConfig, without: dict) -> None:
    cfg = make_config()
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        del loader['num_workers']
        loader.update(persistent_workers=True, **without)
    runner = build_runner(cfg)

    for loader in (runner.train_dataloader, runner.val_dataloader, runner.test_dataloader):
        assert (loader.num_workers, loader.persistent_workers) == (0, False)
    assert cfg.train_dataloader.persistent_workers, 'the config that was handed in is left alone'


def test_workers_persist_where_asked_for(make_config: MakeConfig) -> None:
    changes = {'train_dataloader.num_workers': 1, 'train_dataloader.persistent_workers': True}
    loader = build_runner(make_config(**changes)).train_dataloader

    assert (loader.num_workers, loader.persistent_workers) == (1, True)


def test_a_run_without_validation_is_built(make_config: MakeConfig) -> None:
    cfg = make_config(val_cfg=None, val_dataloader=None, val_evaluator=None)

    assert build_runner(cfg)._val_dataloader is None


def test_mmengines_own_checkpoint_hook_is_refused(make_config: MakeConfig) -> None:
    own = dict(type='CheckpointHook', interval=3)
    (ours,) = (hook for hook in build_runner(make_config(**{'default_hooks.checkpoint': own})).hooks if is_saver(hook))
    assert type(ours) is CheckpointHook

    with pytest.raises(ValueError, match=r"CheckpointHook is mmengine's.*mmmtl\.engine\.CheckpointHook"):
        build_runner(make_config(**{'default_hooks.checkpoint.type': 'mmengine.CheckpointHook'}))


def is_saver(hook: object) -> bool:
    return isinstance(hook, mmengine.hooks.CheckpointHook)


def test_a_test_leaves_the_config_of_the_training_alone(make_config: MakeConfig) -> None:
    cfg = make_config(**{'train_cfg.max_iters': 1})
    build_runner(cfg).train()
    written = Path(cfg.work_dir) / Path(cfg.filename).name
    trained = written.read_text()
    build_runner(make_config(load_from='other.pth'))
    assert written.read_text() == trained
    build_runner(make_config(**{'train_cfg.max_iters': 2})).train()
    assert written.read_text() != trained, 'what trains is written'
