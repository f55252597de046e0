"""Feature propagation: the features of all tasks of a scale, on their way to the next finer one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, get_args

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.models.layers import BasicBlock, ModuleMap, SqueezeExcitation
from mmmtl.tasks.order import TaskOrder

Axis = Literal['task', 'adjacent']


def task_mask(scores: Tensor, num_tasks: int, axis: Axis = 'task') -> Tensor:
    """Return the softmax over M tasks.

    Args:
        scores: (N, M * C, H, W), the C channels of one task after those of another.
        num_tasks: M.
        axis: 'task' compares the same channel of the M tasks; 'adjacent' M channels that follow each other, most of
            them of one task, which is what the code of MTI-Net does, and after it that of SCA-MTL.

    Returns:
        (N, M * C, H, W), in 0..1, summing to 1 over what is compared.

    Raises:
        ValueError: an unknown `axis`.
    """
    if axis not in get_args(Axis):
        raise ValueError(f'the axis of the mask must be one of {get_args(Axis)}, not {axis!r}')
    if axis == 'task':
        return scores.unflatten(1, (num_tasks, -1)).softmax(dim=1).flatten(1, 2)
    return scores.unflatten(1, (-1, num_tasks)).softmax(dim=2).flatten(1, 2)


class FeaturePropagation(BaseModule):
    """What the propagation modules have in common; they differ in the layers that make the mask.

    The tasks' features are concatenated; a stage over them makes a mask, softmax over tasks, that multiplies them; a
    residual block brings them to the width of one task; for each task they are gated by squeeze-and-excitation and
    added to its own.

    With one task the mask would be 1 everywhere, so there is no stage. 'adjacent' makes the order of the tasks matter
    unless C is a multiple of their number.

    Args:
        tasks: their names.
        channels: C of the features of each task.
        stage: builds it from its width M * C.
        mask_axis: see `task_mask`.
        reduction: of squeeze-and-excitation.
        norm_cfg: normalisation.

    Raises:
        ValueError: an unknown `mask_axis`.
    """

    def __init__(
        self,
        *,
        tasks: Collection[str],
        channels: int,
        stage: Callable[[int], nn.Module],
        mask_axis: Axis,
        reduction: int,
        norm_cfg: dict[str, Any] | None,
        init_cfg: dict[str, Any] | None,
    ) -> None:
        super().__init__(init_cfg)
        if mask_axis not in get_args(Axis):
            raise ValueError(f'mask_axis must be one of {get_args(Axis)}, not {mask_axis!r}')
        self.mask_axis: Axis = mask_axis
        self.order = TaskOrder(tasks)
        width = len(tasks) * channels
        self.stage = stage(width) if len(tasks) > 1 else None
        self.fuse = BasicBlock(width, channels, norm_cfg=norm_cfg)
        self.excite = ModuleMap({name: SqueezeExcitation(channels, reduction=reduction) for name in tasks})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return {task: (N, C, h, w)} of {task: (N, C, h, w)}."""
        stacked = torch.cat([features[name] for name in self.order], dim=1)
        if self.stage is not None:
            stacked = task_mask(self.stage(stacked), len(self.excite), self.mask_axis) * stacked
        shared = self.fuse(stacked)
        return {name: gate(shared) + features[name] for name, gate in self.excite.items()}
