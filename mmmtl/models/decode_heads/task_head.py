"""The head of one task at one scale: shared features to the task's features and preliminary prediction."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.models.layers import BasicBlock, PlainConvModule, resize

Entry = Literal['output', 'input']


class TaskHead(BaseModule):
    """Residual blocks of one task at one scale, and a 1x1 convolution to its preliminary prediction.

    Propagated features of the coarser scale enter behind the blocks, as in figure 1 of the paper. The figure does not
    say how: here a 1x1 convolution and a norm, then an addition, like the residual of equation 3. The released code
    instead concatenates them with the shared features before the blocks, of which the first becomes wider. The paper
    does not describe the blocks either; the default of two is the released code's.

    Args:
        channels: C of the shared features and of the task's.
        coarse_channels: channels of the propagated features; 0 without them.
        entry: where these enter, at the 'output' of the blocks (figure 1) or at their 'input' (released code).

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
            self.merge = PlainConvModule(coarse_channels, channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.predict = nn.Conv2d(channels, out_channels, 1)

    def forward(self, shared: Tensor, coarse: Tensor | None = None) -> Tensor:
        """Return the task's features (N, C, h, w) from the shared ones (N, C, h, w) and the propagated ones.

        `coarse` is (N, coarse_channels, h', w') of any size and is upsampled here; it is None at the coarsest scale.
        """
        size = shared.shape[-2:]
        if coarse is not None and self.merge is None:
            shared = torch.cat([shared, resize(coarse, size)], dim=1)
        features: Tensor = self.blocks(shared)
        if coarse is not None and self.merge is not None:
            # A 1x1 convolution gives the same before upsampling, and costs less; the norm's statistics would differ.
            features = features + self.merge.norm(resize(self.merge.conv(coarse), size))
        return features
