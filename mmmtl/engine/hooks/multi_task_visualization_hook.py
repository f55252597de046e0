"""Pictures of predictions while validating and testing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmmtl.registry import HOOKS
from mmmtl.structures import MultiTaskDataSample


@HOOKS.register_module()
class MultiTaskVisualizationHook(Hook):
    """Draws every `interval`-th sample: the picture, then label and prediction of each task.

    Args:
        draw: draw at all; `tools/test.py --show-dir` sets it.
        interval: samples from one picture to the next.
        out_dir: pictures go there as PNG, else to the visualiser's backends (work_dir/.../vis_data).
    """

    priority = 'NORMAL'

    def __init__(self, *, draw: bool = False, interval: int = 50, out_dir: str | None = None) -> None:
        self.draw = draw
        self.interval = interval
        self.out_dir = out_dir

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[MultiTaskDataSample] | None = None
    ) -> None:
        """Draw validation samples."""
        self._draw(runner, batch_idx, data_batch, outputs or [], 'val')

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[MultiTaskDataSample] | None = None
    ) -> None:
        """Draw test samples."""
        self._draw(runner, batch_idx, data_batch, outputs or [], 'test')

    def _draw(
        self, runner: Runner, batch_idx: int, data_batch: Any, outputs: Sequence[MultiTaskDataSample], stage: str
    ) -> None:
        if not self.draw:
            return
        for row, sample in enumerate(outputs):
            number = batch_idx * len(outputs) + row
            if number % self.interval:
                continue
            frames = data_batch['inputs'][row].reshape(-1, *data_batch['inputs'][row].shape[-3:])
            image = np.ascontiguousarray(frames[-1].flip(0).permute(1, 2, 0).cpu().numpy())
            panel = runner.visualizer.draw_sample(image, sample)
            if self.out_dir is None:
                runner.visualizer.add_image(f'{stage}/{number:06d}', panel, step=runner.iter)
                continue
            offset = f'_offset{sample.offset}' if 'offset' in sample else ''
            path = Path(self.out_dir) / f'{number:06d}{offset}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), panel[..., ::-1])
