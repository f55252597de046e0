"""From the shared features of a scale to those of a task, with the task's preliminary prediction."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.models.layers import BasicBlock

from .aggregation import resize

Entry = Literal['output', 'input']


class TaskHead(BaseModule):
    """Residual blocks of one task at one scale, and a 1x1 convolution to its preliminary prediction.

    Figure 1 lets what the FPMA brings from the coarser scale enter at the task's features, behind the head; how, it
    does not say: here as an addition, 1x1 convolution and norm before it, like the residual of equation 3. The code
    concatenates it with the shared features, before the head, which becomes wider by it.

    The paper does not describe the head: its two blocks are the code's.

    Args:
        channels: C of the shared features and of the task's.
        out_channels: of the prediction.
        coarse_channels: of what comes from the coarser scale; 0 where nothing does.
        entry: where that enters, 'output' of the blocks (figure 1) or their 'input' (code).
        num_blocks: residual blocks.
        norm_cfg: normalisation.

    Raises:
        ValueError: an unknown `entry`, or no block.

    Reference: SCA-MTL, section 2.1.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        coarse_channels: int = 0,
        entry: Entry = 'output',
        num_blocks: int = 2,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if entry not in get_args(Entry):
            raise ValueError(f'entry must be one of {get_args(Entry)}, not {entry!r}')
        if num_blocks < 1:
            raise ValueError(f'num_blocks must be at least 1, not {num_blocks}')
        norm_cfg = norm_cfg or dict(type='BN')
        before = coarse_channels if entry == 'input' else 0
        self.blocks = nn.Sequential(
            *(BasicBlock(channels + (0 if i else before), channels, norm_cfg=norm_cfg) for i in range(num_blocks))
        )
        self.merge = None
        if coarse_channels and entry == 'output':
            self.merge = ConvModule(coarse_channels, channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.predict = nn.Conv2d(channels, out_channels, 1)

    def forward(self, shared: Tensor, coarse: Tensor | None = None) -> Tensor:
        """The task's features (N, C, h, w).

        Args:
            shared: (N, C, h, w).
            coarse: maps (N, coarse_channels, h', w') of any size, upsampled here, or None at the coarsest scale.
        """
        if coarse is None:
            return self.blocks(shared)
        size = shared.shape[-2:]
        if self.merge is None:
            return self.blocks(torch.cat([shared, resize(coarse, size)], dim=1))
        # A 1x1 convolution costs less before upsampling, and gives the same; the statistics of the norm would differ.
        return self.blocks(shared) + self.merge.norm(resize(self.merge.conv(coarse), size))
