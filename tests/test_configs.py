"""Every shipped config: its name, its shape, and that its model learns one step."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, PARAM_SCHEDULERS, init_default_scope
from mmengine.structures import PixelData
from torch import Tensor

from mmmtl.config import resolve
from mmmtl.config.components import check_evaluation
from mmmtl.datasets import SyntheticVideo
from mmmtl.engine import build_runner
from mmmtl.models import StudentSegmentor, VideoMultiTaskSegmentor
from mmmtl.models.decode_heads.atrc import label_tasks, read_genotype
from mmmtl.registry import DATA_SAMPLERS, DATASETS
from mmmtl.structures import MultiTaskDataSample
from mmmtl.tasks import Task

ROOT = Path(__file__).resolve().parents[1] / 'configs'
FOUND = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob('*.py') if '_base_' not in path.parts)
BASES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / '_base_').rglob('*.py'))

# <method>_<backbones>_<GPUs>xb<batch>-<schedule>_<data set>-<size>
NAME = re.compile(
    r'(?P<method>[a-z]+(-[a-z]+)*)_(?P<model>[a-z0-9]+(-[a-z0-9]+)*?)(-k(?P<interval>\d+))?'
    r'_(?P<gpus>\d+)xb(?P<batch>\d+)-(?P<schedule>\d+e|\d+k|demo)_(?P<data>[a-z0-9]+)-(?P<height>\d+)x(?P<width>\d+)'
)
SIZE = (32, 32)


@cache
def resolved(name: str) -> Config:
    """A resolved config, which the tests share and leave as it is."""
    return resolve(Config.fromfile(ROOT / name))


def bases_of(path: Path) -> list[Path]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '_base_':  # type: ignore[attr-defined]
            value = ast.literal_eval(node.value)
            return [path.parent / base for base in ([value] if isinstance(value, str) else value)]
    return []


def levels(path: Path) -> int:
    return 1 + max(map(levels, bases_of(path)), default=-1)


def has_clips(path: Path) -> bool:
    """Whether the data set that a config starts from has clips of videos, or else images."""
    if path.parent.name == 'datasets':
        return '_video_' in path.stem
    return any(map(has_clips, bases_of(path)))


def runs_on_clips(name: str) -> bool:
    """Whether a config's model runs on clips: then its name says the interval of key frames."""
    match = NAME.fullmatch(Path(name).stem)
    return match is not None and match['interval'] is not None


def every_dict(value: Any) -> Iterator[dict]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
        yield from every_dict(child)


def test_the_sweep_finds_the_configs_that_are_listed() -> None:
    index = yaml.safe_load((ROOT.parent / 'model-index.yml').read_text())['Import']
    models = [model for file in index for model in yaml.safe_load((ROOT.parent / file).read_text())['Models']]
    # A model with weights has an entry of its own, beside that of its config.
    plain = [model for model in models if 'Weights' not in model]

    assert FOUND and BASES and len(FOUND + BASES) <= 115
    assert sorted(model['Config'].removeprefix('configs/') for model in plain) == FOUND
    assert [model['Name'] for model in plain] == [Path(model['Config']).stem for model in plain]
    assert {model['Config'] for model in models} == {model['Config'] for model in plain}


@pytest.mark.parametrize('name', FOUND)
def test_its_name_says_what_it_is(name: str) -> None:
    match = NAME.fullmatch(Path(name).stem)
    assert match, f'{name} is not <method>_<backbones>[-k<interval>]_<GPUs>xb<batch>-<schedule>_<data set>-<H>x<W>.py'
    cfg = resolved(name)

    assert cfg.train_dataloader.batch_size == int(match['batch'])
    if cfg.get('auto_scale_lr'):
        assert cfg.auto_scale_lr.base_batch_size == int(match['gpus']) * int(match['batch'])
    length = {'e': cfg.train_cfg.get('max_epochs'), 'k': cfg.train_cfg.get('max_iters', 0) / 1000}
    if match['schedule'] != 'demo':
        assert length[match['schedule'][-1]] == int(match['schedule'][:-1])
    is_video = cfg.model.type == 'VideoMultiTaskSegmentor'
    assert is_video == runs_on_clips(name) == ('key_frame_policy' in cfg.model)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        clip = loader.dataset.clip
        assert (clip is None) != has_clips(ROOT / name)
        if clip is not None:
            assert clip.get('single', False) != is_video
        if is_video:
            assert loader.dataset.clip.interval == int(match['interval']) == cfg.model.key_frame_policy.interval
    sizes = [part['size'] for part in every_dict(cfg.train_dataloader.dataset.to_dict()) if 'size' in part]
    assert set(map(tuple, sizes)) <= {(int(match['height']), int(match['width']))}
    for part in re.findall(r'd101|d18|r50|mbv2|hrnet18|segnet', match['model']):
        kinds = {'d101': ('ResNet', 101), 'r50': ('ResNet', 50), 'mbv2': ('MobileNetV2', None)}
        kinds |= {'hrnet18': ('mmseg.HRNet', None), 'segnet': ('SegNet', None), 'd18': ('ResNet', 18)}
        assert kinds[part] in [(d.get('type'), d.get('depth')) for d in every_dict(cfg.model.to_dict())]
    kind = re.search(r'(single|multi)-task(?:-(\w+))?$', match['method'])
    if kind:
        assert len(cfg.tasks) == 1 if kind[1] == 'single' else len(cfg.tasks) > 1
        assert kind[2] in (None, *cfg.tasks)


def test_hooks_and_log_follow_the_schedule() -> None:
    """(train_cfg, iterations between log lines, between checkpoints in epochs or iterations) of every schedule."""
    found = {}
    for name in FOUND:
        cfg = resolved(name)
        by_epoch = cfg.train_cfg.type == 'EpochBasedTrainLoop'
        hooks = cfg.default_hooks
        assert hooks.checkpoint.by_epoch == hooks.logger.log_metric_by_epoch == cfg.log_processor.by_epoch == by_epoch
        assert hooks.checkpoint.max_keep_ckpts == 2 and hooks.checkpoint.backend_args == dict(backend='atomic_local')
        schedule = NAME.fullmatch(Path(name).stem)['schedule']  # type: ignore[index]
        found.setdefault(schedule, set()).add((hooks.logger.interval, hooks.checkpoint.interval))
    assert found == {
        '100e': {(20, 1)}, '60e': {(20, 1)}, '50e': {(50, 1)},
        '2k': {(10, 200)}, '5k': {(50, 250)}, '40k': {(50, 2000)}, 'demo': {(20, 500)},
    }  # fmt: skip


LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def video_config(baseline: str) -> str:
    """The MILA of an image model: of the same data and schedule, of the variants the one without a suffix."""
    schedule_and_data = Path(baseline).stem.split('xb', 1)[1]
    (found,) = [name for name in FOUND if name.startswith('mila/mila_') and name.endswith(f'{schedule_and_data}.py')]
    return found


def labelled_frames(dataset: dict[str, Any]) -> tuple[list[int], int] | str:
    """The numbers of the labelled frames used, and how many items, of a video of 12 frames; or the error."""
    kept = {key: dataset[key] for key in ('clip', 'step') if key in dataset}
    metainfo = dict(tasks=dict(normals=dict(type='SurfaceNormals')))
    try:
        data = SyntheticVideo(split='val', num_videos=1, length=12, size=(8, 8), metainfo=metainfo, **kept)
    except FileNotFoundError as error:
        return str(error).partition('; ')[0]
    return sorted({data.get_data_info(i)['time'] for i in range(len(data))}), len(data)


@pytest.mark.parametrize('loader', LOADERS)
@pytest.mark.parametrize('name', [name for name in FOUND if has_clips(ROOT / name) and not runs_on_clips(name)])
def test_a_rival_sees_the_labelled_frames_of_the_video_model(name: str, loader: str) -> None:
    baseline = resolved(name)[loader].dataset.to_dict()
    video = resolved(video_config(name))[loader].dataset.to_dict()
    clip, clips = baseline['clip'], video['clip']

    assert clip['single'] and 'single' not in clips
    ignored = ('single', 'offsets')
    assert {k: v for k, v in clip.items() if k not in ignored} == {k: v for k, v in clips.items() if k not in ignored}
    different = ('clip', 'metainfo')  # of a single task
    assert {k: v for k, v in baseline.items() if k not in different} == {
        k: v for k, v in video.items() if k not in different
    }
    # The clip of offset 4 needs the four frames before.
    found, expected = labelled_frames(baseline), labelled_frames(video)
    if clips.get('still') or clips['missing'] != 'error':
        first = 4 if clips.get('missing') == 'skip' else 0
        frames = [time for time in range(0, 12, video.get('step', 1)) if time >= first]
        assert found == (frames, len(frames))
        assert expected == (frames, len(frames) * (1 if loader == 'train_dataloader' else 5))
    else:
        assert found == expected == "SyntheticVideo: frame -1 of video 'val_0000' is missing"


@pytest.mark.parametrize('name', FOUND)
def test_clips_are_made_of_stills_and_of_nothing_else(name: str) -> None:
    cfg = resolved(name)
    for loader in LOADERS:
        dataset = cfg[loader].dataset
        makes = 'StillToClip' in [transform.type for transform in dataset.pipeline]
        assert (
            makes
            == bool(dataset.clip and dataset.clip.get('still'))
            == ('nyuv2stills' in name or ('camvid' in name and loader == LOADERS[0]))
        )
        # Leaving out what a clip has is for training.
        assert loader == LOADERS[0] or not (dataset.clip and dataset.clip.get('no_history'))


@pytest.mark.parametrize('name', FOUND + BASES)
def test_it_is_short_and_shallow(name: str) -> None:
    text = (ROOT / name).read_text()

    assert levels(ROOT / name) <= (0 if name in BASES else 2)
    assert '_delete_' not in text
    assert 'in_channels' not in text, 'it follows from the backbone'
    assert ('default_hooks' in text) == (name == '_base_/default_runtime.py')
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
            sample.set_metainfo({'offset': offset})
        samples.append(sample)
    return {'inputs': inputs, 'data_samples': samples}


# Rows of tables that are options of a config, as the READMEs say.
ATRC, BASELINE = (
    'atrc/atrc_hrnet18_1xb8-40k_nyuv2-480x640.py',
    'baselines/multi-task_hrnet18_1xb10-100e_nyuv2-480x640.py',
)
ROWS: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in FOUND]
ROWS += [(ATRC, {'model.decode_head.contexts': kind}) for kind in ('local', 'source_label', 'target_label')]
ROWS += [(BASELINE, {'use_tasks': [task]}) for task in ('semseg', 'depth')]


# By default the first config of every folder takes its step; all of them take minutes.
FIRST = {Path(name).parent: name for name in reversed(FOUND)}.values()


@pytest.mark.parametrize(
    ('name', 'options'),
    [pytest.param(*row, marks=[] if row[0] in FIRST and not row[1] else [pytest.mark.slow]) for row in ROWS],
    ids=lambda v: v if isinstance(v, str) else '_'.join(map(str, v.values())),
)
def test_its_model_learns_one_step(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    cfg = Config.fromfile(ROOT / name)
    cfg.merge_from_dict(options)
    # Nothing but images is smaller than in use.
    cfg.merge_from_dict({'work_dir': str(tmp_path), 'experiment_name': name, 'log_level': 'ERROR'})
    cfg.env_cfg.dist_cfg.backend = 'gloo'
    model = build_runner(cfg).model
    is_video = isinstance(model, VideoMultiTaskSegmentor)
    is_student = isinstance(model, StudentSegmentor)
    if is_student:
        model.set_teacher(model.new_teacher())  # whose checkpoint is read when training begins

    model.train()
    losses = model(**model.data_preprocessor(make_batch(model.tasks, is_video), True), mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()

    kinds = {'SemanticSegmentation': 'ce', 'SaliencyDetection': 'bce', 'EdgeDetection': 'bce'}
    expected = {f'{name}.loss_{kinds.get(type(task).__name__, "l1")}' for name, task in model.tasks.items()}
    expected |= {'align.loss_l1', 'align.loss_adversarial'} if cfg.model.get('align_loss') else set()
    scales = dict(SCAHead=4, MTINetHead=4, PADNetHead=1).get(cfg.model.decode_head.type, 0)
    expected |= {f'preliminary.{i}.{key}' for i in range(scales) for key in expected}
    expected |= {f'distill.{t}.loss_{kind}' for t in model.tasks for kind in ('feature', 'prediction') if is_student}
    labels = list(model.tasks) if re.search('_label|-search_', f'{name} {options}') else []
    if '-searched_' in name:
        labels = label_tasks(read_genotype(cfg.model.decode_head.contexts, model.tasks))
    expected |= {f'label_space.{task}.loss_ce' for task in labels}
    expected |= {'search.loss_entropy'} if '-search_' in name else set()
    assert {key for key in losses if 'loss' in key} == expected
    assert total.isfinite()
    lacking = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.isfinite().all()]
    assert not lacking, 'every weight learns'


@pytest.mark.parametrize('name', FOUND)
def test_its_other_parts_can_be_built(name: str) -> None:
    cfg = copy.deepcopy(resolved(name))
    init_default_scope(cfg.default_scope)
    cfg.launcher = 'pytorch'
    check_evaluation(cfg)
    parameters = [torch.nn.Parameter(torch.zeros(1))]

    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        data_set = DATASETS.build({**loader.dataset, 'lazy_init': True})
        assert list(data_set.tasks) == list(cfg.tasks)
        assert data_set.pipeline.transforms
        assert DATA_SAMPLERS.get(loader.sampler.type) is not None
    optimizer = OPTIMIZERS.build({**cfg.optim_wrapper.optimizer, 'params': parameters})
    for scheduler in cfg.param_scheduler:
        PARAM_SCHEDULERS.build({**scheduler, 'optimizer': optimizer})
