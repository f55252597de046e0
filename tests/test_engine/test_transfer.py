"""`load_from` into other classes or tasks: what is taken, what is left out, and what says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmmtl.checkpoint import fitting_weights, load_weights
from mmmtl.config import load_config, resolve
from mmmtl.engine import build_runner
from mmmtl.engine.transfer import transfer
from mmmtl.io.checkpoints import load_from_local
from mmmtl.registry import MODELS

from .conftest import MakeConfig

FIVE = ['sky', 'ground', 'wall', 'box', 'rest']
SEVEN = [*FIVE, 'left', 'right']


@pytest.fixture
def checkpoint(trained: Runner) -> Path:
    """A checkpoint for seven classes, depth and normals."""
    return Path(trained.work_dir) / 'iter_4.pth'


@pytest.fixture
def start(make_config: MakeConfig, checkpoint: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., Runner]:
    """Build a runner and load the checkpoint as training does."""

    def run(**options: Any) -> Runner:
        cfg = make_config('tiny_video', 'run', load_from=str(checkpoint), **options)
        runner = build_runner(cfg)
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        runner.logger.addHandler(caplog.handler)
        runner.load_or_resume()
        return runner

    return run


def same(runner: Runner, checkpoint: Path) -> dict[str, bool]:
    """Whether each weight of the model is that of the checkpoint."""
    stored = load_from_local(checkpoint)['state_dict']
    return {
        name: name in stored and stored[name].shape == value.shape and torch.equal(stored[name], value)
        for name, value in runner.model.state_dict().items()
    }


@pytest.mark.parametrize('classes', [FIVE, SEVEN])
def test_all_but_the_classes_is_taken(
    start: Callable[..., Runner], checkpoint: Path, caplog: pytest.LogCaptureFixture, classes: list[str]
) -> None:
    own = {'tasks.semseg.classes': classes}
    with pytest.raises(ValueError, match="'semseg' has .*classes=.*load_from_other_tasks"):
        start(**own)
    taken = same(start(**own, load_from_other_tasks=True), checkpoint)
    new = [name for name, equal in taken.items() if not equal]
    assert new and all(name.startswith('decode_head.predict.semseg.') for name in new)
    assert any(name.startswith('decode_head.predict.semseg.') for name in taken if name not in new)
    (record,) = [r for r in caplog.records if r.getMessage().startswith('load_from_other_tasks')]
    assert str(checkpoint) in record.getMessage() and all(name in record.getMessage() for name in new)
    assert record.levelno == logging.WARNING


def test_a_task_that_the_checkpoint_lacks_starts_anew(
    start: Callable[..., Runner], checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = {'tasks.objects': dict(type='SemanticSegmentation', classes='synthetic', source='semseg')}
    taken = same(start(**tasks, use_tasks=['depth', 'objects'], load_from_other_tasks=True), checkpoint)
    assert all(equal == ('.objects.' not in name) for name, equal in taken.items() if 'num_batches' not in name)
    assert any('load_from: ' in r.getMessage() and '.objects.' in r.getMessage() for r in caplog.records)


def test_a_task_that_the_model_lacks_is_named(
    start: Callable[..., Runner], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    start(use_tasks=['depth', 'semseg'], load_from_other_tasks=True)
    (record,) = [r for r in caplog.records if r.getMessage().startswith('load_from_other_tasks')]
    assert "the model has no task 'normals': " in record.getMessage()
    assert 'decode_head.predict.normals.' in record.getMessage()
    assert 'do not match exactly' not in ''.join(capfd.readouterr())


def test_what_the_model_lacks_is_named(start: Callable[..., Runner], caplog: pytest.LogCaptureFixture) -> None:
    start(**{'model.neck.reduction': None})
    (record,) = [r for r in caplog.records if r.getMessage().startswith('load_from: the model lacks')]
    assert 'neck.excite.' in record.getMessage()


def test_a_test_takes_no_other_tasks(make_config: MakeConfig, checkpoint: Path) -> None:
    own = {'tasks.semseg.classes': FIVE, 'load_from_other_tasks': True}
    with pytest.raises(ValueError, match="'semseg' has .*classes="):
        build_runner(make_config('tiny_video', 'run', load_from=str(checkpoint), **own)).test()


CONFIG = Path(__file__).parents[2] / 'configs' / 'sca' / 'sca_mbv2_1xb4-2k_nyuv2-288x384.py'


def sca(*tasks: str) -> tuple[Any, dict[str, Any]]:
    """A model with modules that join the features of all tasks, and its tasks."""
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict({'use_tasks': list(tasks)})
    cfg.model.backbone = dict(type='mmseg.ResNet', depth=18, stem_channels=8, base_channels=8)
    cfg = resolve(cfg)
    return MODELS.build(cfg.model), cfg.tasks.to_dict()


def test_modules_that_join_tasks_are_named_and_left_out() -> None:
    model, tasks = sca('semseg', 'depth', 'normals')
    stored = {'state_dict': model.state_dict(), 'meta': {'dataset_meta': {'tasks': tasks}, 'task_order': sorted(tasks)}}
    fewer, wanted = sca('semseg', 'depth')
    with pytest.raises(
        ValueError, match=r"trained for \['depth', 'normals', 'semseg'\], .* has only \['depth', 'semseg'\]"
    ):
        load_weights(fewer, stored, tasks=wanted)
    source, left_out = transfer(fewer, stored, wanted)
    assert any('joins' in reason for reason in left_out)
    assert any(name.startswith('backbone.') for name in source['state_dict'])
    fewer.load_state_dict(fitting_weights(fewer, source, tasks=wanted, partly=True), strict=False)
    name = 'backbone.conv1.weight'
    assert torch.equal(fewer.state_dict()[name], stored['state_dict'][name])


SPATIAL = dict(type='SpatialAttention')
JOINING = dict(
    pad_net=dict(decode_head=dict(type='PADNetHead', channels=4, exchange=SPATIAL)),
    ctam=dict(decode_head=dict(type='PADNetHead', channels=4, exchange=dict(type='CTAM'))),
    mti_net=dict(decode_head=dict(type='MTINetHead', exchange=SPATIAL, propagation=None)),
    cross_stitch=dict(decode_head=dict(type='MultiScaleHead'), task_backbone=dict(type='CrossStitchBackbone')),
    nddr=dict(decode_head=dict(type='MultiScaleHead'), task_backbone=dict(type='NDDRBackbone')),
)


@pytest.mark.parametrize('method', JOINING)
@pytest.mark.parametrize('left', [['semseg'], ['semseg', 'depth']])
def test_weights_that_join_two_tasks_need_both(method: str, left: list[str]) -> None:
    depth = dict(type='DepthEstimation', max_depth=10.0)
    tasks = dict(
        semseg=dict(type='SemanticSegmentation', classes=FIVE), depth=depth, normals=dict(type='SurfaceNormals')
    )
    backbone = dict(type='mmseg.ResNet', depth=18, stem_channels=4, base_channels=4, out_indices=(2, 3))

    def model(tasks: dict[str, Any]) -> Any:
        return MODELS.build(dict(type='MultiTaskSegmentor', tasks=tasks, backbone=backbone, **JOINING[method]))

    meta = {'dataset_meta': {'tasks': tasks}, 'task_order': sorted(tasks)}
    stored = {'state_dict': model(tasks).state_dict(), 'meta': meta}
    wanted = {name: tasks[name] for name in left}
    fewer = model(wanted)

    load_weights(model(tasks), stored, tasks=tasks)
    with pytest.raises(ValueError, match=r'(semseg|depth)\.(depth|normals)|order\.positions'):
        load_weights(fewer, stored, tasks=wanted)
    source, left_out = transfer(fewer, stored, wanted)
    (joined,) = (names for reason, names in left_out.items() if 'joins' in reason)
    assert not any('semseg.depth' in name or 'semseg.normals' in name for name in source['state_dict'])
    assert any('semseg.depth' in name for name in joined)


def test_tasks_that_receive_nothing_from_the_others_are_tested_alone() -> None:
    linear = nn.Linear(1, 1)
    model = nn.ModuleDict({'attend': nn.ModuleDict({'semseg': linear})})
    stored = {'attend.normals.semseg.weight': torch.ones(1), **model.state_dict()}
    tasks = dict(semseg=dict(type='SemanticSegmentation', classes=FIVE), normals=dict(type='SurfaceNormals'))
    checkpoint = {'state_dict': stored, 'meta': {'dataset_meta': {'tasks': tasks}}}
    load_weights(model, checkpoint, tasks={'semseg': tasks['semseg']})
    stored['attend.semseg.normals.weight'] = torch.ones(1)
    with pytest.raises(ValueError, match=r'attend\.semseg\.normals\.weight'):
        load_weights(model, checkpoint, tasks={'semseg': tasks['semseg']})


def test_what_a_weighting_has_learnt_belongs_to_its_tasks() -> None:
    depth, normals = dict(type='DepthEstimation', max_depth=10.0), dict(type='SurfaceNormals')
    model = nn.Linear(1, 1)
    model.weighting = MODELS.build(dict(type='DWA', interval=1, tasks=['depth', 'normals']))
    stored = {'state_dict': model.state_dict(), 'meta': {'dataset_meta': {'tasks': dict(depth=depth, normals=normals)}}}
    assert transfer(model, stored, dict(depth=depth, normals=normals)).left_out == {}
    source, left_out = transfer(model, stored, dict(depth=depth, other=normals))
    assert list(source['state_dict']) == ['weight', 'bias']
    assert 'weighting.means' in next(names for reason, names in left_out.items() if 'joins' in reason)


def test_one_channel_in_the_second_place_is_that_of_a_depthwise_convolution() -> None:
    layers = {'depthwise': nn.Conv2d(4, 4, 3, groups=4), 'predict': nn.Conv2d(4, 1, 1)}
    model = nn.ModuleDict({'depth': nn.ModuleDict(layers)})
    there, here = (dict(depth=dict(type='DepthEstimation', max_depth=10.0, scale=scale)) for scale in (1.0, 4.0))
    stored = {'state_dict': model.state_dict(), 'meta': {'dataset_meta': {'tasks': there}}}
    source, left_out = transfer(model, stored, here)
    assert list(source['state_dict']) == ['depth.depthwise.weight', 'depth.depthwise.bias']
    assert list(left_out.values()) == [['depth.predict.weight', 'depth.predict.bias']]


@pytest.mark.parametrize('tasks', [{}, {'semseg': {'type': 'os.system', 'command': 'x'}}, {'semseg': 3}])
def test_a_checkpoint_that_does_not_say_its_tasks_is_refused(tasks: dict[str, Any]) -> None:
    model = nn.Linear(1, 1)
    stored = {'state_dict': model.state_dict(), 'meta': {'dataset_meta': {'tasks': tasks}}}
    wanted = {'semseg': dict(type='SemanticSegmentation', classes=FIVE)}
    if tasks.get('semseg') and isinstance(tasks['semseg'], dict):
        assert list(transfer(model, stored, wanted).checkpoint['state_dict']) == ['weight', 'bias']
    else:
        with pytest.raises(ValueError, match='tasks'):
            transfer(model, stored, wanted)


def test_the_example_of_the_documentation(tmp_path: Path, checkpoint: Path) -> None:
    text = (Path(__file__).parents[2] / 'docs' / 'configs.md').read_text()
    (example,) = [block for block in text.split('```python\n') if 'load_from_other_tasks = True' in block]
    base = Path(__file__).parents[1] / 'configs' / 'tiny_video.py'
    code = example.partition('```')[0].replace('./CONFIG.py', str(base)).replace('CHECKPOINT.pth', str(checkpoint))
    code = code.replace("'rest'", "'rest', 'left', 'right'")  # the labels have seven classes
    (tmp_path / 'own.py').write_text(f'{code}\ntrain_cfg = dict(max_iters=1)\nwork_dir = {str(tmp_path / "run")!r}\n')
    runner = build_runner(load_config(tmp_path / 'own.py'))
    runner.train()
    assert runner.model.tasks['semseg'].classes == tuple(SEVEN)
    assert (tmp_path / 'run' / 'iter_1.pth').is_file()
