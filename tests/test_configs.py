"""Every shipped config: its name, its shape, and that its model learns one step."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, PARAM_SCHEDULERS
from mmengine.structures import PixelData
from torch import Tensor

from mmmtl.engine import build_runner
from mmmtl.models import VideoMultiTaskSegmentor
from mmmtl.registry import DATA_SAMPLERS, DATASETS
from mmmtl.structures import MultiTaskDataSample
from mmmtl.tasks import Task, resolve_tasks

ROOT = Path(__file__).resolve().parents[1] / 'configs'
FOUND = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob('*.py') if '_base_' not in path.parts)
BASES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / '_base_').rglob('*.py'))

# <method>_<backbones>_<GPUs>xb<batch>-<schedule>_<data set>-<size>
NAME = re.compile(
    r'(?P<method>[a-z]+(-[a-z]+)*)_(?P<model>[a-z0-9]+(-[a-z0-9]+)*?)(-k(?P<interval>\d+))?'
    r'_(?P<gpus>\d+)xb(?P<batch>\d+)-(?P<schedule>\d+e|\d+k|demo)_(?P<data>[a-z0-9]+)-(?P<height>\d+)x(?P<width>\d+)'
)
SIZE = (32, 32)


def bases_of(path: Path) -> list[Path]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '_base_':  # type: ignore[attr-defined]
            value = ast.literal_eval(node.value)
            return [path.parent / base for base in ([value] if isinstance(value, str) else value)]
    return []


def levels(path: Path) -> int:
    return 1 + max(map(levels, bases_of(path)), default=-1)


def every_dict(value: Any) -> Iterator[dict]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
        yield from every_dict(child)


def test_the_sweep_finds_the_configs() -> None:
    assert len(FOUND) == 27, FOUND
    assert len(BASES) == 19, BASES
    assert {name.partition('/')[0] for name in FOUND} == {'baselines', 'mila', 'sca'}


@pytest.mark.parametrize('name', FOUND)
def test_its_name_says_what_it_is(name: str) -> None:
    match = NAME.fullmatch(Path(name).stem)
    assert match, f'{name} is not <method>_<backbones>[-k<interval>]_<GPUs>xb<batch>-<schedule>_<data set>-<H>x<W>.py'
    cfg = resolve_tasks(Config.fromfile(ROOT / name))

    assert cfg.train_dataloader.batch_size == int(match['batch'])
    if cfg.get('auto_scale_lr'):
        assert cfg.auto_scale_lr.base_batch_size == int(match['gpus']) * int(match['batch'])
    length = {'e': cfg.train_cfg.get('max_epochs'), 'k': cfg.train_cfg.get('max_iters', 0) / 1000}
    if match['schedule'] != 'demo':
        assert length[match['schedule'][-1]] == int(match['schedule'][:-1])
    is_video = cfg.model.type == 'VideoMultiTaskSegmentor'
    assert is_video == name.startswith('mila/') == (match['interval'] is not None)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert (loader.dataset.clip is not None) == is_video
        if is_video:
            assert loader.dataset.clip.interval == int(match['interval']) == cfg.model.key_frame_policy.interval
    sizes = [part['size'] for part in every_dict(cfg.train_dataloader.dataset.to_dict()) if 'size' in part]
    assert set(map(tuple, sizes)) <= {(int(match['height']), int(match['width']))}
    for part in re.findall(r'd101|r50|mbv2|hrnet18', match['model']):
        kinds = {'d101': ('mmseg.ResNet', 101), 'r50': ('mmseg.ResNet', 50), 'mbv2': ('mmseg.MobileNetV2', None)}
        kinds['hrnet18'] = ('mmseg.HRNet', None)
        assert kinds[part] in [(d.get('type'), d.get('depth')) for d in every_dict(cfg.model.to_dict())]
    single = re.fullmatch(r'single-task-(\w+)', match['method'])
    assert (len(cfg.tasks) == 1) == bool(single or 'camvid' in name)
    if single:
        assert list(cfg.tasks) == [single[1]]


@pytest.mark.parametrize('name', FOUND + BASES)
def test_it_is_short_and_shallow(name: str) -> None:
    text = (ROOT / name).read_text()

    assert levels(ROOT / name) <= (0 if name in BASES else 2)
    assert '_delete_' not in text
    assert 'num_classes' not in text, 'it follows from the tasks'
    assert all(base.is_file() for base in bases_of(ROOT / name))


def make_label(task: Task, generator: torch.Generator) -> Tensor:
    """A random map of a task, a quarter of it without a label."""
    if task.dtype == torch.int64:
        label = torch.randint(task.out_channels, (1, *SIZE), generator=generator)
    else:
        label = torch.rand(task.map_channels, *SIZE, generator=generator) + 0.1
        label = torch.nn.functional.normalize(label, dim=0) if task.map_channels == 3 else label
    label[:, : SIZE[0] // 2, : SIZE[1] // 2] = task.fill
    return label


def make_batch(tasks: dict[str, Task], is_video: bool) -> dict[str, list]:
    """A key frame and another one, as a pipeline packs them."""
    generator = torch.Generator().manual_seed(0)
    shape = (3, 3, *SIZE) if is_video else (3, *SIZE)
    inputs, samples = [], []
    for offset in (0, 2):
        inputs.append(torch.randint(256, shape, generator=generator, dtype=torch.uint8))
        sample = MultiTaskDataSample(metainfo={'img_shape': SIZE, 'ori_shape': SIZE, 'img_path': 'none'})
        sample.gt = PixelData(**{name: make_label(task, generator) for name, task in tasks.items()})
        if is_video:
            sample.set_metainfo({'offset': offset, 'valid_slots': (offset != 0, True, True)})
        samples.append(sample)
    return {'inputs': inputs, 'data_samples': samples}


@pytest.mark.parametrize('name', FOUND)
def test_its_model_learns_one_step(name: str, tmp_path: Path) -> None:
    cfg = Config.fromfile(ROOT / name)
    # Nothing but pictures is smaller than in use.
    cfg.merge_from_dict({'work_dir': str(tmp_path), 'experiment_name': name, 'log_level': 'ERROR'})
    cfg.env_cfg.dist_cfg.backend = 'gloo'
    model = build_runner(cfg).model
    is_video = isinstance(model, VideoMultiTaskSegmentor)

    model.train()
    losses = model(**model.data_preprocessor(make_batch(model.tasks, is_video), True), mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()

    expected = {f'{task}.loss_{"ce" if task == "semseg" else "l1"}' for task in cfg.get('use_tasks') or cfg.tasks}
    expected |= {'align.loss_l1', 'align.loss_adversarial'} if is_video else set()
    scales = len(cfg.model.decode_head.in_channels) if cfg.model.decode_head.type == 'SCAHead' else 0
    expected |= {f'preliminary.{i}.{key}' for i in range(scales) for key in expected}
    assert {key for key in losses if 'loss' in key} == expected
    assert total.isfinite()
    lacking = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.isfinite().all()]
    assert not lacking, 'every weight learns'


@pytest.mark.parametrize('name', FOUND)
def test_its_other_parts_can_be_built(name: str) -> None:
    cfg = resolve_tasks(Config.fromfile(ROOT / name))
    parameters = [torch.nn.Parameter(torch.zeros(1))]

    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        data_set = DATASETS.build({**loader.dataset, 'lazy_init': True})
        assert list(data_set.tasks) == list(cfg.tasks)
        assert data_set.pipeline.transforms
        assert DATA_SAMPLERS.get(loader.sampler.type) is not None
    optimizer = OPTIMIZERS.build({**cfg.optim_wrapper.optimizer, 'params': parameters})
    for scheduler in cfg.param_scheduler:
        PARAM_SCHEDULERS.build({**scheduler, 'optimizer': optimizer})
