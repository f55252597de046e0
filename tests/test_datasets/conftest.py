"""Tiny data sets on disk, in memory, and as items of a pipeline."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mmmtl.tasks import build_tasks

SIZE = (6, 8)
TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes=['a', 'b', 'c']),
    depth=dict(type='DepthEstimation', max_depth=10.0),
    normals=dict(type='SurfaceNormals'),
)
CITY = 'aachen'


def write(path: Path, array: np.ndarray) -> Path:
    """An image file; colours are BGR."""
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_WEBP_QUALITY, 101] if path.suffix == '.webp' else []
    assert cv2.imwrite(str(path), array, quality)
    return path


def grey(value: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """An image of one grey."""
    return np.full((*size, 3), value, dtype=np.uint8)


class Scripted:
    """A random generator that returns given values, one per call, whatever the limits."""

    def __init__(self, *values: Any) -> None:
        self.values = list(values)

    def _next(self, *args: Any) -> Any:
        return self.values.pop(0)

    random = uniform = integers = _next


@pytest.fixture(scope='session', autouse=True)
def quick_garbage_collection() -> Iterator[None]:
    """mmengine collects garbage for every data set: leave out what torch and mmseg have loaded."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def tasks() -> dict[str, dict[str, Any]]:
    """Configs of three tasks."""
    return {name: dict(cfg) for name, cfg in TASKS.items()}


@pytest.fixture
def scripted() -> type[Scripted]:
    """Return `Scripted`."""
    return Scripted


@pytest.fixture
def make_results() -> Callable[..., dict[str, Any]]:
    """Make the item of a pipeline after loading."""

    def make(
        imgs: Sequence[np.ndarray],
        maps: dict[str, np.ndarray],
        *,
        rng: Any = None,
        tasks: dict[str, Any] = TASKS,
        **extra: Any,
    ) -> dict[str, Any]:
        shape = imgs[-1].shape[:2]
        return dict(
            imgs=list(imgs),
            gt_maps=dict(maps),
            map_paths={name: f'{name}.png' for name in maps},
            tasks=build_tasks(tasks, 'the test'),
            rng=np.random.default_rng(0) if rng is None else rng,
            img_path='frame.png',
            img_shape=shape,
            ori_shape=shape,
            **extra,
        )

    return make


@pytest.fixture
def write_image() -> Callable[[Path, np.ndarray], Path]:
    """Write an image file with its folders."""
    return write


@pytest.fixture
def video_folder(tmp_path: Path) -> Path:
    """A VideoFolder: 'one' (train, 6 jpg frames, all labelled), 'two' (train, 5 webp), 'three' (val, 5 png, sparse).

    A frame's grey is 20 times its number; its labels are its number modulo 3, with 255 in the first row; its depth is
    1.5 m and 0 in the first row; its normals are (0, 0, -1), none in the first row.
    """
    root = tmp_path / 'videos'
    videos = dict(one=('train', 6, '.jpg'), two=('train', 5, '.webp'), three=('val', 5, '.png'))
    for video, (_, length, suffix) in videos.items():
        for time in range(length):
            write(root / 'frames' / video / f'{time:06d}{suffix}', grey(20 * time))
            if video == 'three' and time != 4:
                continue
            labels = np.full(SIZE, time % 3, dtype=np.uint8)
            depth = np.full(SIZE, 1500, dtype=np.uint16)
            normals = np.full((*SIZE, 3), (0, 128, 128), dtype=np.uint8)  # BGR
            labels[0], depth[0], normals[0] = 255, 0, 0
            write(root / 'semseg' / video / f'{time:06d}.png', labels)
            write(root / 'depth' / video / f'{time:06d}.png', depth)
            if video != 'three':
                write(root / 'normals' / video / f'{time:06d}.png', normals)
    info = {video: dict(split=split, length=length) for video, (split, length, _) in videos.items()}
    (root / 'videos.json').write_text(json.dumps(info))
    return root


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """CamVid: two train stills of two sequences, a second apart, and 7 val frames at 15 Hz; the first row is void."""
    root = tmp_path / 'camvid'
    names = dict(
        train=['0001TP_006690', '0001TP_006720', '0006R0_f00930', '0006R0_f00960'],
        val=[f'0016E5_{7959 + 2 * i:05d}' for i in range(7)],
    )
    for split, stems in names.items():
        for i, stem in enumerate(stems):
            write(root / split / f'{stem}.webp', grey(20 * i, (12, 16)))
            labels = np.full((12, 16), i, dtype=np.uint8)
            labels[0] = 11
            write(root / f'{split}annot' / f'{stem}.png', labels)
    return root


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """Cityscapes: a short snippet (frames 14 to 20, label at 19) and a piece of a long sequence (290 to 295, at 294).

    Labels run over all ids 0 to 33, then 255. Disparity has 0 in the first row, then 1, 257 and 32257.
    """
    root = tmp_path / 'cityscapes'
    for video, times, labelled in ((f'{CITY}_000000', range(14, 21), 19), (f'{CITY}_000001', range(290, 296), 294)):
        folder = root / 'leftImg8bit_sequence' / 'train' / CITY
        for time in times:
            write(folder / f'{video}_{time:06d}_leftImg8bit.png', grey(time % 256, (4, 9)))
        ids = np.append(np.arange(34), [255, 255]).astype(np.uint8).reshape(4, 9)
        write(root / 'gtFine' / 'train' / CITY / f'{video}_{labelled:06d}_gtFine_labelIds.png', ids)
        raw = np.repeat(np.array([[0], [1], [257], [32257]], dtype=np.uint16), 9, axis=1)
        write(root / 'disparity' / 'train' / CITY / f'{video}_{labelled:06d}_disparity.png', raw)
    return root
