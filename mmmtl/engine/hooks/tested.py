"""Functions that the hooks of a test share: its tasks, and the image of a sample."""

from __future__ import annotations

from mmengine.runner import Runner
from torch import Tensor

from mmmtl.structures import Array
from mmmtl.tasks import Task, build_tasks, main_tasks


def tested_tasks(runner: Runner) -> dict[str, Task]:
    """Return the tasks of the test data set that have final predictions."""
    return main_tasks(build_tasks(runner.test_dataloader.dataset.metainfo.get('tasks'), 'the test data set'))


def current_image(inputs: Tensor) -> Array:
    """Return the last image (H, W, 3) uint8 BGR of the inputs (..., 3, H, W) of a sample."""
    image: Array = inputs.reshape(-1, *inputs.shape[-3:])[-1].permute(1, 2, 0).contiguous().cpu().numpy()
    return image
