"""Resolving a config: where the tasks go, what follows from them, and what is refused."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmmtl import zoo
from mmmtl.config import dataset_configs, input_size, load_config, resolve
from mmmtl.datasets import SyntheticVideo
from mmmtl.tasks import DepthEstimation, SemanticSegmentation, build_tasks, metric_direction
from mmmtl.tasks.build import to_plain

TASK_CONFIGS = dict(
    semseg=dict(type='SemanticSegmentation', classes=('wall', 'floor'), palette=((0, 0, 0), (9, 9, 9))),
    depth=dict(type='DepthEstimation', max_depth=10.0, loss_weight=0.5),
)


def make_config(**changes: Any) -> Config:
    def dataset(**more: Any) -> dict[str, Any]:
        return dict(type='VideoFolder', data_root='data', clip=dict(offsets='all'), **more)

    config = dict(
        tasks=TASK_CONFIGS,
        key_frame_interval=7,
        model=dict(type='VideoMultiTaskSegmentor', key_frame_policy=dict(type='FixedInterval')),
        train_dataloader=dict(
            dataset=dict(
                type='RepeatDataset',
                times=2,
                dataset=dict(
                    type='ConcatDataset',
                    datasets=[
                        dataset(metainfo=dict(camera=dict(fov=60))),
                        dict(type='RepeatDataset', times=3, dataset=dataset(metainfo=dict(tasks=dict(stale=1)))),
                        dict(type='StillsOfSomebody', clip=None),
                    ],
                ),
            )
        ),
        val_dataloader=dict(dataset=dataset()),
        test_dataloader=None,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best='depth/abs_err')),
    )
    return Config(copy.deepcopy({**config, **changes}))


def data_sets(cfg: Config) -> list[Any]:
    """The four data sets of `make_config`."""
    folder, repeated, stills = cfg.train_dataloader.dataset.dataset.datasets
    return [folder, repeated.dataset, stills, cfg.val_dataloader.dataset]


def only_plain(value: Any) -> bool:
    """Return whether a value holds only what `torch.load(weights_only=True)` reads."""
    if type(value) is dict:
        return all(type(key) is str and only_plain(item) for key, item in value.items())
    if type(value) in (list, tuple):
        return all(only_plain(item) for item in value)
    return value is None or type(value) in (str, int, float, bool)


def save_and_load(value: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


EXPECTED = dict(
    semseg=dict(type='SemanticSegmentation', classes=['wall', 'floor'], palette=[[0, 0, 0], [9, 9, 9]]),
    depth=dict(type='DepthEstimation', max_depth=10.0, loss_weight=0.5),
)

# ---------------------------------------------------------------- resolve


def test_model_and_every_data_set_get_the_tasks() -> None:
    cfg = resolve(make_config())

    assert cfg.model.tasks == EXPECTED
    assert list(cfg.model.tasks) == ['semseg', 'depth']
    assert [dataset.metainfo.tasks for dataset in data_sets(cfg)] == [EXPECTED] * 4
    # The rest of the metainfo stays; wrappers get none.
    assert data_sets(cfg)[0].metainfo.camera == dict(fov=60)
    assert 'metainfo' not in cfg.train_dataloader.dataset
    assert 'metainfo' not in cfg.train_dataloader.dataset.dataset


def test_the_config_itself_is_left_alone() -> None:
    cfg = make_config()
    before = copy.deepcopy(cfg.to_dict())
    resolve(cfg)

    assert cfg.to_dict() == before


LAZY = {
    'base': """
from mmengine.hooks import EarlyStoppingHook
from mmengine.optim import OptimWrapper
from mmmtl.datasets import VideoFolder
from mmmtl.datasets.transforms import Resize
from mmmtl.evaluation import MultiTaskMetric
from mmmtl.tasks import DepthEstimation
tasks = dict(depth=dict(type=DepthEstimation, max_depth=10.0))
test_pipeline = [dict(type=Resize, size=(32, 64))]
test_dataloader = dict(dataset=dict(type=VideoFolder, data_root='data', pipeline=test_pipeline))
val_evaluator = dict(type=MultiTaskMetric)
optim_wrapper = dict(type=OptimWrapper)
custom_hooks = [dict(type=EarlyStoppingHook, monitor='depth/abs_err')]
""",
    'child': """
from mmengine.config import read_base
from mmmtl.datasets.transforms import Resize
with read_base():
    from .base import *
test_dataloader.dataset.pipeline = [dict(type=Resize, size=(64, 64))]
""",
}


def test_classes_of_lazy_configs_are_what_their_names_are(tmp_path: Path) -> None:
    for name, text in LAZY.items():
        (tmp_path / f'{name}.py').write_text(text)
    cfg = resolve(load_config(tmp_path / 'child.py'))

    assert input_size(cfg) == (64, 64)
    assert cfg.custom_hooks[0].rule == 'less'
    with pytest.raises(ValueError, match='per_image=True'):
        cfg.custom_hooks[0].monitor = 'per_image/depth/abs_err'
        resolve(cfg)


def test_lazy_configs_read_variables_of_their_bases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through two files, and from an installed package."""
    package = tmp_path / 'lazy_configs'
    package.mkdir()
    depth = 'tasks = dict(depth=dict(type=DepthEstimation, max_depth=float(size + 1)))'
    for name, text in {
        '__init__': '',
        'first': 'from mmengine.optim import OptimWrapper\nsize = 32',
        'second': 'with read_base():\n    from lazy_configs.first import *\nsize = 64',
        'third': f'from mmmtl.tasks import DepthEstimation\nwith read_base():\n    from .second import *\n{depth}',
    }.items():
        (package / f'{name}.py').write_text(f'from mmengine.config import read_base\n{text}\n')
    monkeypatch.syspath_prepend(tmp_path)
    cfg = resolve(load_config(package / 'third.py'))
    assert cfg.tasks.depth.max_depth == 65.0


def test_twice_is_once() -> None:
    once = resolve(make_config())
    before = copy.deepcopy(once.to_dict())

    assert resolve(once).to_dict() == before


def test_what_stood_there_is_overwritten() -> None:
    cfg = resolve(make_config())
    cfg.merge_from_dict({'tasks.depth.loss_weight': 2.0, 'key_frame_interval': 3})
    del cfg['tasks']['semseg']
    cfg = resolve(cfg)

    changed = dict(depth=dict(EXPECTED['depth'], loss_weight=2.0))
    assert cfg.model.tasks == changed
    assert [dataset.metainfo.tasks for dataset in data_sets(cfg)] == [changed] * 4
    assert cfg.model.key_frame_policy.interval == 3


def test_receivers_do_not_share_the_tasks() -> None:
    cfg = resolve(make_config())
    cfg.model.tasks.depth.max_depth = 99.0

    assert [dataset.metainfo.tasks.depth.max_depth for dataset in data_sets(cfg)] == [10.0] * 4


def test_the_interval_reaches_policy_and_clips() -> None:
    cfg = resolve(make_config())

    assert cfg.model.key_frame_policy == dict(type='FixedInterval', interval=7)
    clips = [dataset.clip for dataset in data_sets(cfg)]
    assert clips == [dict(offsets='all', interval=7), dict(offsets='all', interval=7), None, clips[0]]


@pytest.mark.parametrize('leftover', [{}, dict(interval=4)])
def test_the_interval_reaches_only_policies_that_have_one(leftover: dict[str, int]) -> None:
    cfg = make_config()
    cfg.model.key_frame_policy = dict(type='FrameChange', threshold=0.1, **leftover)
    resolved = resolve(cfg)
    assert resolved.model.key_frame_policy == dict(type='FrameChange', threshold=0.1)
    assert resolved.val_dataloader.dataset.clip.interval == 7

    cfg.model.key_frame_policy = dict(type='CostBudget', budget=1.0, policy=dict(type='FixedInterval'), **leftover)
    inner = dict(type='FixedInterval', interval=7)
    assert resolve(cfg).model.key_frame_policy == dict(type='CostBudget', budget=1.0, policy=inner)


def test_without_an_interval_nothing_is_set() -> None:
    cfg = resolve(make_config(key_frame_interval=None))

    assert 'interval' not in cfg.model.key_frame_policy
    assert 'interval' not in cfg.val_dataloader.dataset.clip


@pytest.mark.parametrize(
    ('key', 'rule'),
    [
        ('depth/abs_err', 'less'),
        ('depth/delta1', 'greater'),
        ('semseg/mIoU', 'greater'),
        ('offset_2/depth/rmse', 'less'),
        ('pooled/semseg/pixel_acc', 'greater'),
        ('delta_m', 'greater'),
        (['depth/rmse', 'semseg/mIoU'], ['less', 'greater']),
    ],
)
def test_save_best_goes_the_way_of_the_metric(key: str | list[str], rule: str | list[str]) -> None:
    hooks = dict(checkpoint=dict(type='CheckpointHook', save_best=key, rule='stale'))
    assert resolve(make_config(default_hooks=hooks)).default_hooks.checkpoint.rule == rule


@pytest.mark.parametrize('hooks', [None, {}, dict(checkpoint=None)])
def test_without_save_best_no_rule(hooks: dict[str, Any] | None) -> None:
    cfg = resolve(make_config(default_hooks=hooks))
    assert 'rule' not in ((cfg.default_hooks or {}).get('checkpoint') or {})


def test_automatic_save_best_is_the_primary_metric_of_the_first_task() -> None:
    cfg = resolve(make_config(default_hooks=dict(checkpoint=dict(save_best='auto'))))
    assert (cfg.default_hooks.checkpoint.save_best, cfg.default_hooks.checkpoint.rule) == ('semseg/mIoU', 'greater')


def test_parts_may_be_absent() -> None:
    cfg = resolve(Config(dict(tasks=TASK_CONFIGS)))
    assert cfg.to_dict() == dict(tasks=Config(dict(tasks=TASK_CONFIGS)).tasks.to_dict())

    cfg = resolve(make_config(model=dict(type='MultiTaskSegmentor', key_frame_policy=None)))
    assert cfg.model == dict(type='MultiTaskSegmentor', key_frame_policy=None, tasks=EXPECTED)


@pytest.mark.parametrize('chosen', [['depth'], 'depth'])
def test_use_tasks_leaves_only_those(chosen: list[str] | str) -> None:
    cfg = resolve(make_config(use_tasks=chosen))

    only = dict(depth=EXPECTED['depth'])
    assert cfg.tasks == cfg.model.tasks == only
    assert [dataset.metainfo.tasks for dataset in data_sets(cfg)] == [only] * 4
    assert resolve(cfg).to_dict() == cfg.to_dict()


def test_use_tasks_names_only_declared_ones() -> None:
    with pytest.raises(ValueError, match=r"\['normals'\].*\['semseg', 'depth'\]"):
        resolve(make_config(use_tasks=['normals', 'depth']))


@pytest.mark.parametrize(
    ('chosen', 'hint'),
    [
        (['dept'], r".*\['depth'\]\?"),
        ('semsg', r".*\['semseg'\]\?"),
        (['semsge', 'depth', 'dpeth'], r".*\['semseg', 'depth'\]\?"),
        (['normals'], ''),  # nothing is near
        (['dept', 'normals'], r".*\['depth'\]\?"),
    ],
)
def test_use_tasks_suggests_the_nearest(chosen: list[str] | str, hint: str) -> None:
    with pytest.raises(ValueError, match=rf"\['semseg', 'depth'\]{hint}$"):
        resolve(make_config(use_tasks=chosen))


def test_use_tasks_of_no_tasks() -> None:
    with pytest.raises(ValueError, match=r"\['depth'\].*\[\]$"):
        resolve(make_config(tasks=None, use_tasks=['depth']))


def test_data_sets_are_found_in_any_nesting_and_in_order() -> None:
    cfg = make_config()
    found = list(dataset_configs(cfg.train_dataloader.dataset))

    assert len(found) == 3
    assert all(a is b for a, b in zip(found, data_sets(cfg), strict=False)), 'the same objects'
    (alone,) = dataset_configs(cfg.val_dataloader.dataset)
    assert alone is cfg.val_dataloader.dataset
    assert list(dataset_configs(None)) == []


def test_a_clip_of_one_frame_has_the_interval_of_the_clips() -> None:
    cfg = make_config(model=dict(type='MultiTaskSegmentor'))
    cfg.val_dataloader.dataset.clip.single = True
    assert resolve(cfg).val_dataloader.dataset.clip == dict(offsets='all', single=True, interval=7)


def test_a_model_without_key_frames_reads_single_frames() -> None:
    model = dict(type='MultiTaskSegmentor')
    cfg = make_config(model=model)
    folder, repeated, stills, val = data_sets(resolve(resolve(cfg)))
    assert folder.clip.single and repeated.clip.single
    assert stills.clip is None
    assert val.clip == dict(offsets='all', single=True, interval=7)
    assert all('single' not in (data.clip or {}) for data in data_sets(resolve(make_config())))


def loop(**changes: Any) -> Config:
    hooks = dict(logger=dict(type='LoggerHook'), checkpoint=dict(type='CheckpointHook'))
    changes = dict(default_hooks=hooks, log_processor={}, log_interval=3, checkpoint_interval=5) | changes
    return make_config(train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2), **changes)


def test_hooks_and_log_count_as_the_training_loop_does() -> None:
    for by_epoch, cfg in (True, loop()), (False, loop()):
        if not by_epoch:
            cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
        for _ in range(2):
            cfg = resolve(cfg)
            assert cfg.default_hooks.logger == dict(type='LoggerHook', log_metric_by_epoch=by_epoch, interval=3)
            assert cfg.default_hooks.checkpoint == dict(type='CheckpointHook', by_epoch=by_epoch, interval=5)
            assert cfg.log_processor == dict(by_epoch=by_epoch)


def test_what_hooks_say_themselves_is_kept() -> None:
    own = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4), logger=None)
    cfg = resolve(loop(default_hooks=own, log_processor=None))
    assert cfg.default_hooks == own
    assert cfg.log_processor is None
    assert resolve(loop(log_interval=None)).default_hooks.logger == dict(type='LoggerHook', log_metric_by_epoch=True)


def test_a_class_becomes_its_name() -> None:
    tasks = resolve(make_config(tasks=dict(depth=dict(type=DepthEstimation, max_depth=5)))).model.tasks
    assert tasks.depth.type == 'DepthEstimation'


@pytest.mark.parametrize('tasks', [None, {}])
def test_a_config_must_declare_tasks(tasks: dict | None) -> None:
    with pytest.raises(ValueError, match=r'tasks=dict\(<name>=dict\(type='):
        resolve(make_config(tasks=tasks))


def test_save_best_needs_a_metric_that_exists() -> None:
    hooks = dict(checkpoint=dict(type='CheckpointHook', save_best='depth/mIoU'))
    with pytest.raises(ValueError, match=r"'depth/mIoU'.*'depth/abs_err'"):
        resolve(make_config(default_hooks=hooks))


# ---------------------------------------------------------------- plain values


def test_plain_is_plain_all_the_way() -> None:
    metainfo = data_sets(resolve(make_config()))[0].metainfo
    result = to_plain(metainfo)

    assert not only_plain(metainfo)  # a Config turns every dict into a ConfigDict
    assert only_plain(result)
    assert result == dict(camera=dict(fov=60), tasks=EXPECTED)
    assert save_and_load(result) == result


def test_metainfo_of_a_built_data_set_survives_a_safe_checkpoint() -> None:
    data_set = dict(type='SyntheticVideo', split='train', num_videos=1, length=2, size=(16, 24), lazy_init=True)
    tasks = dict(normals=dict(type='SurfaceNormals'), depth=dict(type='DepthEstimation', max_depth=10.0))
    cfg = resolve(Config(dict(tasks=tasks, train_dataloader=dict(dataset=data_set))))
    arguments = {key: value for key, value in cfg.train_dataloader.dataset.items() if key != 'type'}
    metainfo = SyntheticVideo(**arguments).metainfo

    assert only_plain(metainfo)
    assert save_and_load(metainfo) == metainfo
    assert metainfo['tasks'] == tasks


# ---------------------------------------------------------------- build_tasks


def test_tasks_are_built_in_order_and_by_name() -> None:
    tasks = build_tasks(resolve(make_config()).model.tasks, 'the test')

    assert list(tasks) == ['semseg', 'depth']
    assert type(tasks['semseg']) is SemanticSegmentation
    assert tasks['semseg'].palette == ((0, 0, 0), (9, 9, 9))
    assert tasks['depth'].name == 'depth'
    assert tasks['depth'].loss_weight == 0.5


def test_a_task_is_taken_as_it_is() -> None:
    task = DepthEstimation(name='depth', max_depth=1.0)
    assert build_tasks({'depth': task}, 'the test')['depth'] is task


@pytest.mark.parametrize('tasks', [None, {}])
def test_unresolved_names_who_and_the_call(tasks: dict | None) -> None:
    with pytest.raises(ValueError, match=r'model Foo.*resolve\(cfg\).*build_runner'):
        build_tasks(tasks, 'model Foo')


@pytest.mark.parametrize(
    ('kind', 'near'), [('DepthEstimatoin', 'DepthEstimation'), ('SurfaceNormal', 'SurfaceNormals'), ('semseg', 'Seman')]
)
def test_unknown_kind_suggests_near_ones(kind: str, near: str) -> None:
    with pytest.raises(ValueError, match=rf'tasks\.x\.type: .*{kind!r}.*custom_imports.*{near}'):
        build_tasks({'x': dict(type=kind)}, 'the test')


@pytest.mark.parametrize('name', ['shape', 'keys', 'get', 'metainfo', 'numpy', 'train', 'forward', 'float', 'training'])
def test_a_name_may_not_shadow_an_attribute(name: str) -> None:
    with pytest.raises(ValueError, match=rf'{name!r}.*PixelData.*source={name!r}'):
        build_tasks({name: dict(type='SurfaceNormals')}, 'the test')


@pytest.mark.parametrize(
    'name',
    [
        *('align', 'distill', 'preliminary', 'label_space', 'search'),
        *('pooled', 'per_image', 'offset_3', 'stream', 'temporal', 'delta_m'),
    ],
)
def test_a_name_may_not_be_a_word_of_the_keys(name: str) -> None:
    with pytest.raises(ValueError, match=f'{name!r}.*source={name!r}'):
        build_tasks({name: dict(type='SurfaceNormals')}, 'the test')
    longer = f'{name}_x'  # has no meaning
    assert list(build_tasks({longer: dict(type='SurfaceNormals')}, 'the test')) == [longer]


@pytest.mark.parametrize('name', ['2d', 'a-b', 'a.b', 'a/b', '', 'class', '_data_fields'])
def test_a_name_must_be_an_identifier(name: str) -> None:
    with pytest.raises(ValueError, match=f'{name!r}.*identifier'):
        build_tasks({name: dict(type='SurfaceNormals')}, 'the test')


@pytest.mark.parametrize('config', [None, 'SurfaceNormals', dict(loss_weight=1.0)])
def test_a_task_needs_a_type(config: Any) -> None:
    with pytest.raises(ValueError, match=r'tasks\.x.*`type`'):
        build_tasks({'x': config}, 'the test')


def test_an_unknown_argument_names_the_task() -> None:
    with pytest.raises(ValueError, match=r"tasks\.x: .*'max_deph'"):
        build_tasks({'x': dict(type='DepthEstimation', max_deph=10.0)}, 'the test')


def test_metric_direction_needs_a_whole_name() -> None:
    tasks = build_tasks(TASK_CONFIGS, 'the test')

    assert metric_direction('semseg/mIoU', tasks) is True
    assert metric_direction('pooled/depth/rel_err', tasks) is False
    for wrong in ('mIoU', 'depth', 'xdepth/rmse', 'depth/rmse/x', ''):
        with pytest.raises(ValueError, match=repr(wrong)):
            metric_direction(wrong, tasks)


@pytest.mark.parametrize('scope', ['mmengine', 'mmseg'])
def test_tasks_are_built_in_any_default_scope(scope: str) -> None:
    with DefaultScope.overwrite_default_scope(scope):
        tasks = build_tasks({'depth': dict(type='DepthEstimation', max_depth=10.0)}, 'the test')

    assert tasks['depth'].max_depth == 10.0


def test_the_input_size_is_that_of_the_last_resize() -> None:
    pipeline = [dict(type='LoadFrames'), *(dict(type='mmmtl.Resize', size=size) for size in ((8, 9), (4, 6)))]
    assert input_size(Config(dict(test_dataloader=dict(dataset=dict(pipeline=pipeline))))) == (4, 6)
    assert input_size(Config(dict(test_dataloader=dict(dataset=dict(pipeline=pipeline[:1]))))) is None


@pytest.mark.skipif(not (zoo.PACKAGE / '.mim').exists(), reason='mmmtl is not installed')
def test_a_config_of_the_package_is_a_base_from_any_folder(tmp_path: Path) -> None:
    name = 'multi-task_tiny-fast_1xb8-demo_synthetic-64x128'
    config = tmp_path / 'config.py'
    config.write_text(f"_base_ = 'mmmtl::baselines/{name}.py'\n")
    assert load_config(config).to_dict() == load_config(name).to_dict()

    parts = ('models/mila_tiny', 'datasets/synthetic_video_64x128', 'schedules/adam_demo', 'default_runtime')
    bases = [f'mmmtl::_base_/{part}.py' for part in parts]
    config.write_text(f'_base_ = {bases}\ntasks = dict(depth=dict(loss_weight=3.0))\n')
    for scope in ('', "default_scope = 'of_a_project'\n"):
        config.write_text(f'{config.read_text()}{scope}')
        cfg = resolve(load_config(config))
        assert cfg.model.tasks.depth.loss_weight == 3.0
        assert '_scope_' not in cfg.pretty_text

    config.write_text(f"_base_ = 'mmmtl::baselines/{name}s.py'\n")
    with pytest.raises(ValueError, match=rf'config\.py: FileNotFoundError: .*configs/baselines/{name}s\.py'):
        load_config(config)


def test_an_error_in_an_imported_module_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'own_components.py').write_text('import numpyy\n')
    config = tmp_path / 'config.py'
    for text in ("custom_imports = dict(imports=['own_components'])\n", '_base_ = []\n\nimport own_components\n'):
        config.write_text(text)
        with pytest.raises(ValueError, match=r"own_components\.py:1: ModuleNotFoundError: No module named 'numpyy'"):
            load_config(config)
    config.write_text("custom_imports = dict(imports=['absent_components'])\n")
    with pytest.raises(ValueError, match=r"config\.py: .*No module named 'absent_components'; .*on PYTHONPATH"):
        load_config(config)


def test_a_config_of_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / 'weights.pth').touch()

    with pytest.raises(ValueError, match=r"weights\.pth: .*'\.py'.*, not '\.pth'"):
        load_config(tmp_path / 'weights.pth')
