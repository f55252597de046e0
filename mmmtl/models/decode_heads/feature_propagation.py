"""Feature propagation: the features of all tasks of a scale, passed on to the next finer scale."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, get_args

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.models.layers import BasicBlock, ModuleMap, SqueezeExcitation
from mmmtl.tasks.order import Concatenating, TaskOrder

Axis = Literal['task', 'adjacent']


def task_mask(scores: Tensor, num_tasks: int, axis: Axis = 'task') -> Tensor:
    """Return the softmax over M tasks of scores (N, M * C, H, W), the C channels of one task after those of another.

    Axis 'task' compares the same channel of the M tasks. Axis 'adjacent' compares M channels that follow each other,
    most of them of one task, as the released code of MTI-Net does, and after it that of SCA-MTL.
    """
    if axis == 'task':
        return torch.unflatten(scores, 1, (num_tasks, -1)).softmax(dim=1).flatten(1, 2)
    assert axis == 'adjacent', axis
    return torch.unflatten(scores, 1, (-1, num_tasks)).softmax(dim=2).flatten(1, 2)


class FeaturePropagation(Concatenating, BaseModule):
    """The common part of the propagation modules `FPM` and `FPMA`, which differ in the layers that make the mask.

    The tasks' features are concatenated, and a stage computes scores from them. The softmax of the scores over the
    tasks is a mask that multiplies the features. A residual block reduces the result to the width of one task. Each
    task gates it by squeeze-and-excitation and adds it to its own features.

    With one task the mask would be 1 everywhere, so there is no stage. 'adjacent' makes the order of the tasks matter
    unless C is a multiple of their number.

    Args:
        channels: C of the features of each task.
        stage: builds the stage from its width M * C.
        mask_axis: 'task' as in MTI-Net's paper, 'adjacent' as in the released code; see `task_mask`.
        reduction: reduction of squeeze-and-excitation.
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
        """Return {task: (N, C, h, w)}, shaped like the input."""
        stacked = torch.cat([features[name] for name in self.order], dim=1)
        if self.stage is not None:
            stacked = task_mask(self.stage(stacked), len(self.excite), self.mask_axis) * stacked
        shared = self.fuse(stacked)
        return {name: gate(shared) + features[name] for name, gate in self.excite.items()}
