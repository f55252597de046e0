"""FPMA: the features of all tasks of a scale, on their way to the next finer one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.models.layers import BasicBlock, Padding, SwinStage
from mmmtl.models.necks.squeeze_excitation import SqueezeExcitation
from mmmtl.registry import MODELS

Axis = Literal['task', 'adjacent']


def task_mask(scores: Tensor, num_tasks: int, axis: Axis = 'task') -> Tensor:
    """Softmax over M tasks.

    Args:
        scores: (N, M * C, H, W), the C channels of one task after those of another.
        num_tasks: M.
        axis: 'task' compares the same channel of the M tasks; 'adjacent' M channels that follow each other, most of
            them of one task, which is what the code does (as MTI-Net's does, whose module it extends).

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


@MODELS.register_module()
class FPMA(BaseModule):
    """Feature propagation module with attention.

    The tasks' features are concatenated; a Swin stage over them makes a mask, softmax over tasks, that multiplies
    them; a residual block brings them to the width of one task; for each task they are gated by squeeze-and-excitation
    and added to its own. It is MTI-Net's module with self-attention in place of the convolutions that made the mask;
    beyond that the paper gives no detail, the layers are the code's.

    With one task the mask would be 1 everywhere, so there is no stage.

    Args:
        tasks: their names.
        channels: C of the features of each task.
        mask_axis: see `task_mask`; 'task' is what softmax over tasks means, 'adjacent' the code.
        depth: of the stage.
        num_heads: of its attention; divides M * C.
        window: side of its windows.
        padding: see `SelfAttentionNeck`: 'mask', or 'zero' as in the code.
        reduction: of squeeze-and-excitation.
        norm_cfg: normalisation.

    Reference: SCA-MTL, section 2.3; Vandenhende et al., MTI-Net, ECCV 2020, section 3.3.
    """

    def __init__(
        self,
        *,
        tasks: Collection[str],
        channels: int,
        mask_axis: Axis = 'task',
        depth: int = 1,
        num_heads: int = 4,
        window: int = 7,
        padding: Padding = 'mask',
        reduction: int = 16,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if mask_axis not in get_args(Axis):
            raise ValueError(f'mask_axis must be one of {get_args(Axis)}, not {mask_axis!r}')
        self.mask_axis: Axis = mask_axis
        width = len(tasks) * channels
        self.stage = None
        if len(tasks) > 1:
            self.stage = SwinStage(width, depth=depth, num_heads=num_heads, window=window, padding=padding)
        self.fuse = BasicBlock(width, channels, norm_cfg=norm_cfg)
        self.excite = nn.ModuleDict({name: SqueezeExcitation(channels, reduction=reduction) for name in tasks})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{task: (N, C, h, w)} of {task: (N, C, h, w)}."""
        stacked = torch.cat([features[name] for name in self.excite], dim=1)
        if self.stage is not None:
            stacked = task_mask(self.stage(stacked), len(self.excite), self.mask_axis) * stacked
        shared = self.fuse(stacked)
        return {name: gate(shared) + features[name] for name, gate in self.excite.items()}
