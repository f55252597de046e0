"""A loader without labels of a task, or with labels that cannot be learnt from, is refused before training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mmengine.dataset import RepeatDataset
from torch.utils.data import ConcatDataset

from mmmtl.datasets import VideoFolder
from mmmtl.datasets.label_check import check_labels
from mmmtl.engine import LabelCheckHook


@pytest.fixture
def build(video_folder: Path, tasks: dict[str, Any]):
    def make(*names: str, root: Path = video_folder, **kwargs: Any) -> VideoFolder:
        chosen = {name: tasks[name] for name in names or tasks}
        return VideoFolder(root, split='train', metainfo=dict(tasks=chosen), **kwargs)

    return make


def test_every_task_has_labels(build) -> None:
    assert check_labels(build(), 'train_dataloader') == []


def test_sparse_labels_are_enough(build, video_folder: Path) -> None:
    for path in list((video_folder / 'depth').rglob('*.png'))[1:]:
        path.unlink()
    assert check_labels(build(clip=dict(offsets='all', missing='repeat')), 'train_dataloader') == []


def test_a_misspelt_folder_is_named_with_those_that_exist(build, video_folder: Path) -> None:
    (video_folder / 'depth').rename(video_folder / 'depths')
    (found,) = check_labels(build(), 'train_dataloader')
    assert 'train_dataloader' in found and "'depth'" in found and str(video_folder / 'depth') in found
    assert "['depths', 'normals', 'semseg']" in found


def test_wrapped_data_sets_count_together(build, video_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / 'other'
    other.mkdir()
    for name in ('frames', 'semseg', 'videos.json'):
        (other / name).symlink_to(video_folder / name)
    assert len(check_labels(build(root=other), 'loader')) == 2
    both = ConcatDataset([RepeatDataset(build(root=other), 2), build()])
    assert check_labels(both, 'loader') == []


def test_auxiliary_tasks_need_labels_for_training_alone(
    build, tasks: dict[str, Any], video_folder: Path, tmp_path: Path
) -> None:
    tasks['depth'] = {**tasks['depth'], 'auxiliary': True}
    other = tmp_path / 'other'
    other.mkdir()
    for name in ('frames', 'semseg', 'normals', 'videos.json'):
        (other / name).symlink_to(video_folder / name)
    whole, part = (SimpleNamespace(dataset=build(root=root)) for root in (video_folder, other))
    runner: Any = SimpleNamespace(train_dataloader=whole, val_dataloader=part, val_loop=True)
    LabelCheckHook().before_train(runner)
    # A warning would need a logger.
    LabelCheckHook().before_test(SimpleNamespace(test_loop=SimpleNamespace(dataloader=part)))
    runner.train_dataloader = part
    with pytest.raises(ValueError, match="train_dataloader: no label of task 'depth'"):
        LabelCheckHook().before_train(runner)


@pytest.mark.parametrize(
    ('source', 'value', 'message'),
    [
        ('semseg', np.full((6, 8), 255, np.uint8), 'no pixel'),
        ('semseg', np.repeat(np.array([[0, 255]], np.uint8), 6, 0).repeat(4, 1), '0 / 255'),
        ('semseg', np.full((6, 8), 200, np.uint8), r'labels \[200\]'),
        ('depth', np.zeros((6, 8), np.uint16), 'has a depth'),
        ('depth', np.arange(48, dtype=np.uint16).reshape(6, 8) % 13, r'between 0\.05 and 10 m'),
        ('normals', np.zeros((6, 8, 3), np.uint8), 'no pixel'),
    ],
)
def test_labels_that_cannot_be_learnt(
    build, video_folder: Path, write_image, source: str, value: np.ndarray, message: str
) -> None:
    paths = sorted((video_folder / source).rglob('*.png'))
    for path in paths:
        write_image(path, value)
    with pytest.raises(ValueError, match=rf'{source}/\w+/\d+\.png: .*{message}'):
        check_labels(build(source), 'train_dataloader')


@pytest.mark.parametrize('kind', ['SaliencyDetection', 'EdgeDetection'])
@pytest.mark.parametrize(('scale', 'wrong'), [(255.0, True), (1.0, False)])
def test_a_mask_of_floats_is_0_to_1(video_folder: Path, kind: str, scale: float, wrong: bool) -> None:
    mask = np.zeros((6, 8), np.float32)
    mask[2:4] = scale
    (video_folder / 'mask/two').mkdir(parents=True)
    np.save(video_folder / 'mask/two/000003.npy', mask)
    data = VideoFolder(video_folder, metainfo=dict(tasks=dict(mask=dict(type=kind))))
    if wrong:
        with pytest.raises(ValueError, match=r'mask/two/000003\.npy: .*0 / 255.*divide floats by 255'):
            check_labels(data, 'train_dataloader')
    else:
        assert check_labels(data, 'train_dataloader') == []


def test_masks_of_zeros_are_not_all_read(video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('000003', '000004'):
        (video_folder / 'mask/two').mkdir(parents=True, exist_ok=True)
        np.save(video_folder / f'mask/two/{name}.npy', np.zeros((6, 8), np.float32))
    read = VideoFolder.read_map
    seen: list[Any] = []
    monkeypatch.setattr(VideoFolder, 'read_map', lambda *given: seen.append(given) or read(*given))
    data = VideoFolder(video_folder, metainfo=dict(tasks=dict(mask=dict(type='SaliencyDetection'))))
    assert check_labels(data, 'train_dataloader') == [] and len(seen) == 1


def test_one_file_of_another_class_is_enough(build, video_folder: Path, write_image) -> None:
    paths = sorted((video_folder / 'semseg').rglob('*.png'))
    for path in paths:
        write_image(path, np.array([[0, 255]] * 6, np.uint8).repeat(4, 1))
    write_image(video_folder / 'semseg/two/000003.png', np.full((6, 8), 2, np.uint8))
    assert check_labels(build('semseg'), 'train_dataloader') == []
