"""Scores do not depend on the batch: images of several sizes in one batch are predicted as each is alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from torch import Tensor

from mmmtl.config import resolve
from mmmtl.evaluation import MultiTaskMetric
from mmmtl.models import MultiTaskSegmentor
from mmmtl.registry import MODELS
from mmmtl.structures import MultiTaskDataSample
from mmmtl.tasks import Task

ROOT = Path(__file__).resolve().parents[2] / 'configs'
PATHS = sorted(path for path in ROOT.rglob('*.py') if '_base_' not in path.parts)
METHODS = {f'{path.parent.name}/{path.stem.partition("_")[0]}': path for path in PATHS}
"""The last config of each method, by name."""
SIZES = ((32, 48), (64, 32), (32, 48), (40, 50))


def label(task: Task, size: Sequence[int], generator: torch.Generator) -> Tensor:
    """A random map of a task, a part of it without a label."""
    map_ = task.decode(torch.randn(1, task.out_channels, *size, generator=generator))[0]
    map_[:, : size[0] // 3, : size[1] // 2] = task.fill
    return map_


def make_batch(tasks: Mapping[str, Task], is_video: bool) -> dict[str, list[Any]]:
    """Images or clips of `SIZES`, as a data loader gives them."""
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for row, size in enumerate(SIZES):
        shape = (3, 3, *size) if is_video else (3, *size)
        inputs.append(torch.randint(256, shape, generator=generator, dtype=torch.uint8))
        clip = dict(offset=row) if is_video else {}
        sample = MultiTaskDataSample(metainfo=dict(img_shape=size, ori_shape=size, img_path=f'{row}.png', **clip))
        sample.gt = PixelData(**{name: label(task, size, generator) for name, task in tasks.items()})
        samples.append(sample)
    return {'inputs': inputs, 'data_samples': samples}


def check(model: MultiTaskSegmentor, tasks: Mapping[str, Any]) -> None:
    """Predict a batch at once and row by row, and compare maps and metrics."""
    batch = make_batch(model.tasks, model.has_key_frames)
    found: list[tuple[list[PixelData], dict[str, float]]] = []
    for size in (len(SIZES), 1):
        metric, maps = MultiTaskMetric(), []
        metric.dataset_meta = {'tasks': tasks}
        for start in range(0, len(SIZES), size):
            part = {key: values[start : start + size] for key, values in batch.items()}
            with torch.no_grad():
                samples = model.val_step(part)
            assert [sample.img_path for sample in samples] == [sample.img_path for sample in part['data_samples']]
            maps += [sample.pred for sample in samples]
            metric.process(part, [sample.to_dict() for sample in samples])
        found.append((maps, metric.evaluate(len(SIZES))))
    (together, scores), (alone, expected) = found
    for row, (first, second) in enumerate(zip(together, alone, strict=True)):
        for name in model.tasks:
            torch.testing.assert_close(
                first.get(name), second.get(name), rtol=1e-5, atol=1e-5, msg=f'{name} of row {row}'
            )
    assert scores == pytest.approx(expected, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize('divisor', [1, 32])
def test_an_image_model(tiny, divisor: int) -> None:
    check(tiny.image_model(data_preprocessor=dict(size_divisor=divisor)), tiny.TASKS)


def test_video_models(tiny, neck: dict[str, Any]) -> None:
    check(tiny.video_model(neck=neck), tiny.TASKS)


def test_a_batch_for_the_model_itself_has_one_size(tiny) -> None:
    model = tiny.image_model()
    batch = make_batch(model.tasks, is_video=False)
    with pytest.raises(ValueError, match=r'\(32, 48\), \(40, 50\), \(64, 32\).*test_step'):
        model.data_preprocessor(batch, False)
    assert model.data_preprocessor(batch, True)['inputs'].shape[-2:] == (64, 50)


def test_every_method_is_swept() -> None:
    assert len(METHODS) > 20


@pytest.mark.slow
@pytest.mark.parametrize('method', METHODS)
def test_every_method(tiny, method: str) -> None:
    cfg = resolve(Config.fromfile(METHODS[method]))
    check(tiny.scramble(MODELS.build(cfg.model)).double().eval(), cfg.tasks)
