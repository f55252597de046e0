"""A hook that draws predictions during validation and testing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmmtl.datasets.label_check import multi_task_datasets
from mmmtl.datasets.samplers import VideoSampler
from mmmtl.io import write_png
from mmmtl.registry import HOOKS
from mmmtl.structures import MultiTaskDataSample

from .tested import current_image

Outputs = Sequence[MultiTaskDataSample] | None


@HOOKS.register_module()
class MultiTaskVisualizationHook(Hook):
    """A hook that draws every `interval`-th sample: image, labels and predictions of all tasks.

    Args:
        draw: whether to draw at all; `tools/test.py --show-dir` sets it.
        interval: samples from one panel to the next; clips are counted separately for each offset, and whole videos
            for each process.
        out_dir: folder for PNG files, named after video, frame and offset, and numbered if there are several data sets;
            each validation replaces those of the one before. None sends those of the first process to the visualiser's
            backends (work_dir/.../vis_data), which keep the panels of every validation.
    """

    def __init__(self, *, draw: bool = False, interval: int = 50, out_dir: str | None = None) -> None:
        if interval < 1:
            raise ValueError(f'interval must be at least 1, not {interval}')
        self.draw = draw
        self.interval = interval
        self.out_dir = out_dir
        self._seen: Counter[int | None] = Counter()
        self._names: set[str] = set()
        self._whole_videos = False
        self._is_joined = False

    def before_val_epoch(self, runner: Runner) -> None:
        self._begin(runner.val_dataloader)

    def before_test_epoch(self, runner: Runner) -> None:
        self._begin(runner.test_dataloader)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Outputs = None) -> None:
        self._draw(runner, data_batch, outputs or [], 'val')

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Outputs = None) -> None:
        self._draw(runner, data_batch, outputs or [], 'test')

    def _begin(self, loader: DataLoader[Any]) -> None:
        if not self.draw:
            return
        self._seen.clear()
        self._names.clear()
        self._whole_videos = isinstance(loader.sampler, VideoSampler)
        self._is_joined = len(list(multi_task_datasets(loader.dataset))) > 1

    def _draw(self, runner: Runner, data_batch: Any, outputs: Sequence[MultiTaskDataSample], stage: str) -> None:
        if not self.draw or (self.out_dir is None and not is_main_process()):
            return
        rank, world_size = get_dist_info()
        for images, sample in zip(data_batch['inputs'], outputs, strict=True):
            offset = sample.get('offset')
            own_number = self._seen[offset]
            self._seen[offset] += 1
            number = own_number * world_size + rank
            # Samples are dealt out to the processes in turn, unless each has videos of its own.
            counted = own_number if self._whole_videos else number
            if counted % self.interval:
                continue
            image = np.ascontiguousarray(current_image(images)[..., ::-1])
            panel = runner.visualizer.draw_sample(image, sample)
            name = sample_name(sample, counted)
            # Another data set may have the same names, in another process, too.
            if self._is_joined or name in self._names:
                name = f'{name}_{number:06d}'
            self._names.add(name)
            if self.out_dir is None:
                # mmengine's local backend silently writes nothing if a name contains a folder.
                runner.visualizer.add_image(f'{stage}_{name}', panel, step=runner.iter)
            else:
                write_png(Path(self.out_dir) / f'{name}.png', panel[..., ::-1])


def sample_name(sample: MultiTaskDataSample, number: int) -> str:
    """Return the name of a sample's file: its video and frame, or its number if it has none, and its offset.

    Examples:
        >>> sample_name(MultiTaskDataSample(metainfo=dict(video='berlin/1', time=7, offset=2)), 0)
        'berlin-1_000007_offset2'
    """
    name = f'{number:06d}'
    if 'video' in sample and 'time' in sample:
        name = f'{sample.video}_{sample.time:06d}'.replace('/', '-').replace('\\', '-')
    offset = sample.get('offset')
    return name if offset is None else f'{name}_offset{offset}'
