"""A hook that writes the predictions of a test as files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmmtl.datasets.label_check import multi_task_datasets
from mmmtl.evaluation import merge_totals
from mmmtl.io import IMAGE_SUFFIXES, MapWriter, check_new_folder, read_image, resize_image
from mmmtl.registry import HOOKS
from mmmtl.structures import Array, MultiTaskDataSample

from .tested import current_image, tested_tasks

TOLERANCE = 2
"""Greatest difference of two images that are the same view, in grey levels."""


@HOOKS.register_module()
class MapWriterHook(Hook):
    """A hook that writes the images and predictions of a test in the layout of `mmmtl.io.MapWriter`.

    A test of stills gives an `ImageFolder`, any other a `VideoFolder`; a test of clips gives one for each offset, in
    `offset0`, `offset1` and so on. `tools/test.py --out-dir` adds the hook.

    Args:
        out_dir: a new or an empty folder.
        npy: write .npy files in place of PNGs.

    Raises:
        ValueError: the folder holds something already.
    """

    def __init__(self, *, out_dir: str, npy: bool = False) -> None:
        check_new_folder(out_dir)
        self.out_dir = out_dir
        self.npy = npy
        self._writers: dict[int | None, MapWriter] = {}
        self._written: set[tuple[int | None, str, int]] = set()

    def before_test_epoch(self, runner: Runner) -> None:
        """Refuse data sets whose samples have the same names, as far as they are known before the test."""
        self._writers.clear()
        self._written.clear()
        known: set[tuple[tuple[int, ...], str, int]] = set()
        parts = list(multi_task_datasets(runner.test_dataloader.dataset))
        for part in parts if len(parts) > 1 else []:
            infos = (part.get_data_info(number) for number in range(len(part)))
            names = {(tuple(info.get('offsets', ())), info['video'], info['time']) for info in infos}
            for _, video, time in names & known:
                raise _twice(video, time)
            known |= names

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[MultiTaskDataSample] | None = None,
    ) -> None:
        for images, sample in zip(data_batch['inputs'], outputs or [], strict=True):
            maps = {name: tensor.cpu().numpy() for name, tensor in sample.pred.items()}
            size = next(iter(maps.values())).shape[1:]
            image = resize_image(_image_of(runner, images, sample), (size[0], size[1]))
            offset = sample.get('offset')
            if (key := (offset, sample.video, sample.time)) in self._written:
                raise _twice(sample.video, sample.time)
            self._written.add(key)
            self._writer(runner, offset).write(sample.video, sample.time, image, maps)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        written = merge_totals(Counter(self._written))
        for (_, video, time), processes in written.items():
            if processes > 1:
                raise _twice(video, time)
        lengths = Counter((offset, video) for offset, video, _ in written)
        if is_main_process():
            for offset in dict.fromkeys(offset for offset, _ in lengths):
                found = {video: length for (of, video), length in lengths.items() if of == offset}
                self._writer(runner, offset).finish(found)

    def _writer(self, runner: Runner, offset: int | None) -> MapWriter:
        if offset not in self._writers:
            parts = list(multi_task_datasets(runner.test_dataloader.dataset))
            self._writers[offset] = MapWriter(
                Path(self.out_dir) if offset is None else Path(self.out_dir) / f'offset{offset}',
                tested_tasks(runner),
                stills=offset is None and bool(parts) and all(part.frames.stills for part in parts),
                npy=self.npy,
            )
        return self._writers[offset]


def _twice(video: str, time: int) -> ValueError:
    return ValueError(
        f'{video}, frame {time}: two samples of the test data have this name; test data sets whose names are the same '
        'one by one'
    )


def _image_of(runner: Runner, inputs: Tensor, sample: MultiTaskDataSample) -> Array:
    """Return the image of a sample (H, W, 3) uint8 BGR: its file if the model saw the same view, else what it saw."""
    path = Path(sample.img_path)
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        # As the model saw it: a data set may ignore an orientation, or allow larger files.
        parts = list(multi_task_datasets(runner.test_dataloader.dataset))
        readers = [part.read_image for part in parts if len(parts) == 1 or path.is_relative_to(part.root)]
        image = readers[0](path) if readers else read_image(path)
        if image.shape[:2] == tuple(sample.ori_shape) and ('moved_by' not in sample or _same_view(image, inputs)):
            return image
    return current_image(inputs)


def _same_view(image: Array, inputs: Tensor) -> bool:
    """Return whether an image that a transform has moved was not moved after all, as by a turn of 0 degrees."""
    seen = current_image(inputs)
    resized = resize_image(image, (seen.shape[0], seen.shape[1])).astype(np.float32)
    return resized.shape == seen.shape and bool(np.abs(resized - seen).max() <= TOLERANCE)
