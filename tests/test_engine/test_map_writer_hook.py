"""The hook that writes the predictions of a test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset
from mmengine.structures import PixelData
from PIL import Image

from mmmtl.datasets import ImageFolder
from mmmtl.engine import MapWriterHook, build_runner
from mmmtl.io import read_image


@pytest.mark.parametrize('stream', [False, True])
def test_the_predictions_of_a_test(tmp_path: Path, make_config: Callable[..., Any], stream: bool) -> None:
    """What is written is what the metrics saw: clips by offset, whole videos frame by frame."""
    cfg = make_config(**{'test_dataloader.dataset.clip.offsets': [0, 2]})
    cfg.custom_hooks = [dict(type='MapWriterHook', out_dir=str(tmp_path / 'out'), npy=True)]
    if stream:
        cfg.test_cfg = dict(type='StreamTestLoop')
    runner = build_runner(cfg)
    seen: dict[tuple[Any, ...], dict[str, torch.Tensor]] = {}
    process = runner.test_loop.evaluator.process

    def watch(data_samples: Any, data_batch: Any = None) -> None:
        for sample in data_samples:
            seen[sample.get('offset'), sample.video, sample.time] = dict(sample.pred.items())
        process(data_samples=data_samples, data_batch=data_batch)

    runner.test_loop.evaluator.process = watch
    runner.test()

    assert {offset for offset, *_ in seen} == ({None} if stream else {0, 2})
    for (offset, video, time), maps in seen.items():
        folder = tmp_path / 'out' / (f'offset{offset}' if offset is not None else '')
        for name, array in maps.items():
            stored = np.load(folder / name / video / f'{time:06d}.npy')
            np.testing.assert_array_equal(np.atleast_3d(stored), array.permute(1, 2, 0).numpy())
        assert read_image(folder / 'frames' / video / f'{time:06d}.jpg').shape[:2] == maps['semseg'].shape[1:]
        assert video in json.loads((folder / 'videos.json').read_text())
    with pytest.raises(ValueError, match='out'):
        MapWriterHook(out_dir=str(tmp_path / 'out'))


@pytest.mark.parametrize('stream', [False, True])
def test_two_samples_of_one_name_are_refused_before_the_test(
    tmp_path: Path, make_config: Callable[..., Any], stream: bool
) -> None:
    cfg = make_config()
    part = cfg.test_dataloader.dataset
    cfg.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[part, part])
    cfg.custom_hooks = [dict(type='MapWriterHook', out_dir=str(tmp_path / 'out'))]
    if stream:
        cfg.test_cfg = dict(type='StreamTestLoop')
    runner = build_runner(cfg)
    with pytest.raises(ValueError, match=r'val_0000, frame \d+: two samples .* one by one'):
        runner.test()
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('orientation', ['apply', 'ignore'])
def test_the_image_lies_as_the_model_saw_it(tmp_path: Path, orientation: Any) -> None:
    """A photo with one white corner, which its EXIF data turn by 180 degrees."""
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[:32, :32] = 255
    exif = Image.Exif()
    exif[0x0112] = 3
    for folder in ('images', 'semseg'):
        (tmp_path / folder).mkdir()
    Image.fromarray(photo).save(tmp_path / 'images/a.jpg', exif=exif)
    Image.fromarray(photo[..., 0] // 255).save(tmp_path / 'semseg/a.png')
    tasks = dict(semseg=dict(type='SemanticSegmentation', classes=['a', 'b']))
    pipeline = [dict(type=f'mmmtl.{name}') for name in ('LoadFrames', 'LoadMaps', 'PackMultiTaskInputs')]
    data = ImageFolder(tmp_path, pipeline=pipeline, metainfo=dict(tasks=tasks), orientation=orientation)
    item = data[0]
    item['data_samples'].pred = PixelData(semseg=item['data_samples'].gt.semseg)
    runner: Any = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=data))
    hook = MapWriterHook(out_dir=str(tmp_path / 'out'))
    hook.after_test_iter(runner, 0, {'inputs': [item['inputs']]}, [item['data_samples']])

    written = read_image(tmp_path / 'out/images/a.png')
    np.testing.assert_allclose(written, item['inputs'].permute(1, 2, 0).numpy(), atol=8)
    assert (written[0, 0] > 128).all() == (orientation == 'ignore')


@pytest.mark.parametrize(
    'transform',
    [
        dict(type='mmmtl.StillToClip'),
        dict(type='mmmtl.RandomFlip', prob=1.0),
        dict(type='mmmtl.RandomCrop', size=(24, 32)),
        dict(type='mmmtl.Resize', size=(32, 48)),
        dict(type='mmmtl.ColorJitter'),
    ],
)
def test_the_image_is_the_view_of_the_prediction(tmp_path: Path, transform: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    photo = np.repeat(np.repeat(rng.integers(0, 2, (8, 8), np.uint8), 8, 0), 8, 1)
    for folder, values in (('images', 255 * np.dstack([photo] * 3)), ('semseg', photo)):
        (tmp_path / folder).mkdir()
        Image.fromarray(values).save(tmp_path / folder / 'a.png')
    tasks = dict(semseg=dict(type='SemanticSegmentation', classes=['dark', 'light']))
    load, maps, pack = (dict(type=f'mmmtl.{name}') for name in ('LoadFrames', 'LoadMaps', 'PackMultiTaskInputs'))
    data = ImageFolder(tmp_path, pipeline=[load, maps, transform, pack], metainfo=dict(tasks=tasks))
    item = data[0]
    item['data_samples'].pred = item['data_samples'].gt
    runner: Any = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=data))
    hook = MapWriterHook(out_dir=str(tmp_path / 'out'))
    hook.after_test_iter(runner, 0, {'inputs': [item['inputs']]}, [item['data_samples']])

    written, labels = read_image(tmp_path / 'out/images/a.png'), item['data_samples'].gt.semseg[0].numpy()
    assert ((written[..., 0] > 127) == labels)[labels != 255].mean() > 0.98
    if transform['type'] == 'mmmtl.ColorJitter':
        assert np.array_equal(written[..., 0], 255 * photo), 'the file itself'


def test_the_image_is_the_one_the_model_saw_if_two_data_sets_read_a_file_differently(tmp_path: Path) -> None:
    class Halved(ImageFolder):
        def read_image(self, ref: Any) -> np.ndarray:
            return super().read_image(ref)[:8, :8]

    photo = np.zeros((16, 16, 3), np.uint8)
    photo[8:] = 255
    for folder in ('images', 'semseg'):
        (tmp_path / folder).mkdir()
        Image.fromarray(photo if folder == 'images' else photo[..., 0] // 255).save(tmp_path / folder / 'a.png')
    tasks = dict(semseg=dict(type='SemanticSegmentation', classes=['a', 'b']))
    pipeline = [dict(type=f'mmmtl.{name}') for name in ('LoadFrames', 'PackMultiTaskInputs')]
    data = ConcatDataset(
        [kind(tmp_path, pipeline=pipeline, metainfo=dict(tasks=tasks)) for kind in (ImageFolder, Halved)]
    )
    item = data[1]
    item['data_samples'].pred = PixelData(semseg=torch.zeros(1, 8, 8, dtype=torch.int64))
    runner: Any = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=data))
    hook = MapWriterHook(out_dir=str(tmp_path / 'out'))
    hook.after_test_iter(runner, 0, {'inputs': [item['inputs']]}, [item['data_samples']])

    assert read_image(tmp_path / 'out/images/a.png').max() < 20, 'an ImageFolder, as all parts are stills'
