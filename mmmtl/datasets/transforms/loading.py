"""The transforms that load the images and maps of an item through its data set's readers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmmtl.registry import TRANSFORMS
from mmmtl.structures import Array
from mmmtl.tasks import Task

from .geometric import GeometricTransform


@TRANSFORMS.register_module()
class LoadFrames(BaseTransform):
    """Loading of images: `imgs`, one (H, W, 3) uint8 BGR array for each of the `frames`, all of one size."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        # Empty slots of a clip repeat the current frame; read it once.
        images = {ref: results['read_image'](ref) for ref in dict.fromkeys(results['frames'])}
        for ref, image in images.items():
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(
                    f'{ref}: `read_image` returned {image.dtype} of shape {image.shape}; images are uint8 (H, W, 3), '
                    'blue first'
                )
        results['imgs'] = [images[ref] for ref in results['frames']]
        results['img_path'] = str(results['frames'][-1])
        results['ori_shape'] = results['img_shape'] = results['imgs'][-1].shape[:2]
        results['gt_maps'] = {}
        for ref, image in images.items():
            if image.shape[:2] != results['ori_shape']:
                raise ValueError(
                    f'{ref}: {image.shape[:2]} pixels, but the frame {results["img_path"]} of the same clip has '
                    f'{results["ori_shape"]} (height, width); all frames of a video must have one size'
                )
        return results


@TRANSFORMS.register_module()
class LoadMaps(BaseTransform):
    """Loading of label maps: `gt_maps`, one array of the image's size, `map_shape`, for each labelled task."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        results['map_paths'] = {}
        results['map_shape'] = results['ori_shape']
        for name, task in results['tasks'].items():
            if (ref := results['maps'].get(task.source)) is None:
                continue
            array = task.convert(results['read_map'](task.source, ref))
            check_kind(array, task, str(ref))
            if array.shape[:2] != results['ori_shape']:
                turned = array.shape[1::-1] == results['ori_shape']
                hint = '; one of them is turned, see `orientation` of the data set (EXIF)' if turned else ''
                raise ValueError(
                    f'{ref}: the map of task {name!r} has {array.shape[:2]} pixels, its image {results["img_path"]} '
                    f'has {results["ori_shape"]} (height, width); they must be equal{hint}'
                )
            results['gt_maps'][name] = array
            results['map_paths'][name] = str(ref)
        return results


def check_kind(array: Array, task: Task, where: str) -> None:
    """Refuse a map whose channels or number type cannot be the task's; name the file and the fix."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[0] == task.map_channels != array.shape[2]):
        raise ValueError(f'{where}: an array of shape {array.shape}, but a map is (H, W) or (H, W, channels)')
    channels = 1 if array.ndim == 2 else array.shape[2]
    if channels != task.map_channels:
        raise ValueError(
            f'{where}: {channels} channels, but a map of task {task.name!r} ({type(task).__name__}) has '
            f'{task.map_channels}; write it as the data set documents (class numbers in one channel, without colours '
            'or palette), or name the right folder in `source` of the task'
        )
    if not task.dtype.is_floating_point and np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            f'{where}: {array.dtype} values, but a map of task {task.name!r} ({type(task).__name__}) holds integers; '
            'write labels as uint8, or name the right folder in `source` of the task'
        )


def check_order(pipeline: Sequence[Any]) -> None:
    """Refuse a pipeline that moves images before it loads their maps; `Resize` alone may come first."""
    if last := max((number for number, one in enumerate(pipeline) if isinstance(one, LoadMaps)), default=0):
        for one in pipeline[:last]:
            if isinstance(one, GeometricTransform) and not one.keeps_flow:
                kind = type(one).__name__
                raise ValueError(f'pipeline: {kind} would move the images without their maps; put LoadMaps before it')
