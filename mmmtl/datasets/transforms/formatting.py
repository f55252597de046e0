"""The transform that packs an item for the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import PixelData

from mmmtl.registry import TRANSFORMS
from mmmtl.structures import Array, MultiTaskDataSample
from mmmtl.tasks import Task

META_KEYS = (
    'img_path',
    'ori_shape',
    'img_shape',
    'map_shape',
    'map_paths',
    'video',
    'time',
    'offset',
    'slots',
    'sample_idx',
    'moved_by',
)


@TRANSFORMS.register_module()
class PackMultiTaskInputs(BaseTransform):
    """Packing of an item as tensors: `inputs` and `data_samples`, with a map per task.

    `inputs` is (3, H, W), or (T, 3, H, W) for clips, uint8 BGR. If the data set gives the motion from the frame before,
    it becomes `flow` of the sample. The values of the maps are checked here, where an error can still name the file.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        frames = np.stack(results['imgs']).transpose(0, 3, 1, 2)
        inputs = torch.from_numpy(np.ascontiguousarray(frames))
        gt = PixelData()
        for name, array in results['gt_maps'].items():
            task = results['tasks'][name]
            task.check(array, results['map_paths'][name])
            gt.set_field(to_tensor(array, task), name)
        sample = MultiTaskDataSample(metainfo={key: results[key] for key in META_KEYS if key in results})
        sample.gt = gt
        if results.get('flow') is not None:
            motion, valid = results['flow']
            sample.flow = torch.from_numpy(np.where(valid[..., None], motion, np.nan).transpose(2, 0, 1).copy())
        return {'inputs': inputs[0] if len(inputs) == 1 else inputs, 'data_samples': sample}


def to_tensor(array: Array, task: Task) -> torch.Tensor:
    """Return a map (H, W) or (H, W, M) as a tensor (M, H, W) of the task's type."""
    planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(planes)).to(task.dtype)
