"""Weights that fit a model but were trained with other dilations are refused on every way into a model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from mmmtl.apis import MultiTaskInferencer
from mmmtl.config import resolve
from mmmtl.convolutions import KEY, check_geometry, geometry
from mmmtl.engine import build_runner
from mmmtl.registry import MODELS

TINY = Path(__file__).parent / 'configs' / 'tiny_image.py'
SMALL = dict(depth=18, stem_channels=4, base_channels=2, out_indices=(3,))
NEW = dict(type='ResNet', output_stride=8, **SMALL)
OLD = dict(type='mmseg.ResNet', strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), **SMALL)
PLAIN = dict(type='mmseg.ResNet', **SMALL)


def config(backbone: dict[str, Any], folder: Path, name: str = 'run') -> Config:
    cfg = Config.fromfile(TINY)
    cfg.merge_from_dict({'model.backbone.backbone': dict(_delete_=True, **backbone), 'train_cfg.max_iters': 1})
    cfg.work_dir, cfg.log_level, cfg.experiment_name = str(folder / name), 'WARNING', f'{folder.name}_{name}'
    return cfg


def save(backbone: dict[str, Any], path: Path, *, recorded: bool) -> None:
    """Write a checkpoint of a model with this backbone, like those of version 0.1 unless the geometry is recorded."""
    cfg = resolve(config(backbone, path.parent))
    init_default_scope('mmmtl')
    model = MODELS.build(cfg.model)
    meta = {KEY: geometry(model)} if recorded else {'cfg': cfg.pretty_text}
    meta |= {'dataset_meta': {'tasks': cfg.tasks.to_dict()}, 'task_order': sorted(cfg.tasks)}
    torch.save({'state_dict': model.state_dict(), 'meta': meta, 'message_hub': {}, 'optimizer': {}}, path)


def infer(backbone: dict[str, Any], path: Path) -> dict[str, torch.Tensor]:
    """Return the weights of an inferencer that reads a checkpoint."""
    return MultiTaskInferencer(config(backbone, path.parent), path).model.state_dict()


def test_old_and_new_dilations_predict_something_else() -> None:
    torch.manual_seed(0)  # some random weights give maps of zeros
    new, old = MODELS.build(NEW), MODELS.build(OLD)
    old.load_state_dict(new.state_dict())
    new.eval(), old.eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = (net(images)[0] for net in (new, old))
    assert (ours - theirs).abs().max() > 0.01 * theirs.abs().max()


@pytest.mark.parametrize('recorded', [True, False], ids=['recorded', 'version 0.1'])
def test_other_dilations_are_refused_and_the_own_config_works(tmp_path: Path, recorded: bool) -> None:
    save(OLD, path := tmp_path / 'old.pth', recorded=recorded)
    with pytest.raises(ValueError, match='trained with .*dilations.*use the config'):
        infer(NEW, path)
    infer(OLD, path)


def test_new_dilations_are_refused_by_an_old_config(tmp_path: Path) -> None:
    save(NEW, path := tmp_path / 'new.pth', recorded=True)
    with pytest.raises(ValueError, match=r'backbone\.backbone\.layer3\.0\.conv1: \[1, 1\], the model has \[2, 2\]'):
        infer(OLD, path)
    infer(NEW, path)


@pytest.mark.parametrize('recorded', [True, False])
@pytest.mark.parametrize('trained', [dict(NEW, output_stride=16), PLAIN])
def test_another_output_stride_keeps_the_meaning(tmp_path: Path, trained: dict[str, Any], recorded: bool) -> None:
    save(trained, path := tmp_path / 'other.pth', recorded=recorded)
    saved = torch.load(path, weights_only=True)['state_dict']
    torch.testing.assert_close(infer(NEW, path), saved, rtol=0, atol=0)


def run(path: Path, way: str) -> None:
    """Load a checkpoint with a runner, without training."""
    cfg = config(NEW, path.parent, way)
    cfg.load_from, cfg.resume, cfg.load_from_other_tasks = str(path), way == 'resume', way == 'load_from_other_tasks'
    runner = build_runner(cfg)
    if way != 'test':
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.load_or_resume()


def test_every_way_of_loading_refuses(tmp_path: Path) -> None:
    save(OLD, path := tmp_path / 'old.pth', recorded=True)
    part = dict(NEW, init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='backbone.backbone.'))
    ways: dict[str, Callable[[], Any]] = {
        way: partial(run, path, way) for way in ('resume', 'load_from', 'load_from_other_tasks', 'test')
    }
    ways |= {'inferencer': lambda: infer(NEW, path), 'init_cfg': lambda: MODELS.build(part).init_weights()}
    for load in ways.values():
        with pytest.raises(ValueError, match='other dilations'):
            load()


@pytest.mark.parametrize('found', [[], {'conv': 3}, {'conv': [1, 1, 'x', 1]}, {'conv': [1, 1]}])
def test_something_else_in_its_place_is_refused(tmp_path: Path, found: Any) -> None:
    save(NEW, path := tmp_path / 'damaged.pth', recorded=True)
    checkpoint = torch.load(path, weights_only=True)
    torch.save({**checkpoint, 'meta': {KEY: found}}, path)
    with pytest.raises(ValueError, match=rf'meta\.{KEY}'):
        infer(NEW, path)


def test_kernels_of_one_pixel_have_no_dilation() -> None:
    assert geometry(nn.Sequential(nn.Conv2d(1, 1, 1, dilation=2))) == {'0': [1, 1, 1, 1]}
    assert geometry(nn.Sequential(nn.Conv2d(1, 1, (1, 3), 2, dilation=4))) == {'0': [2, 2, 1, 4]}


def test_convolutions_that_are_not_loaded_may_differ() -> None:
    model, trained = (nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3, dilation=d)) for d in (1, 2))
    meta = {KEY: geometry(trained)}
    check_geometry(model, meta, weights=['0.weight'])
    with pytest.raises(ValueError, match=r'1 of 2 convolutions differ \(1: \[2, 2\], the model has \[1, 1\]\)'):
        check_geometry(model, meta, weights=['0.weight', '1.weight'])


def test_a_stride_in_a_kernel_of_one_pixel_had_nothing_to_dilate() -> None:
    """Style 'caffe' strides there, so mmseg's dilations of version 0.1 mean the same."""
    meta = {'cfg': f'model = {dict(backbone=OLD)}'}
    caffe, pytorch = (MODELS.build(dict(NEW, depth=50, base_channels=4, style=style)) for style in ('caffe', 'pytorch'))
    check_geometry(caffe, meta, weights=[])
    with pytest.raises(ValueError, match=r'dilations \(1,1,2,4\)'):
        check_geometry(pytorch, meta, weights=[])
