"""A stage of Swin attention over a map: plain and shifted windows in turn, without a feed-forward part."""

from __future__ import annotations

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from .window_attention import Padding, WindowAttention


class SwinBlock(nn.Module):
    """x + drop_path(attention(layer_norm(x))) of maps (N, H, W, C): the attention half of a Swin block."""

    def __init__(
        self, channels: int, *, num_heads: int, window: int, shift: int, padding: Padding, drop_path: float
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, num_heads=num_heads, window=window, shift=shift, padding=padding)
        self.drop_path = DropPath(drop_path)

    def forward(self, maps: Tensor) -> Tensor:
        attended: Tensor = self.drop_path(self.attention(self.norm(maps)))
        return maps + attended


class SwinStage(nn.Module):
    """1x1 convolution, layer norm, `depth` blocks and a layer norm; every second block shifts its windows by half.

    SCA-MTL takes "the attention module of Swin transformer": without its feed-forward layers, which the released code
    leaves out too. There is no absolute position embedding.

    Args:
        channels: C of the map and of the result.
        padding: see `WindowAttention`.
        drop_path: probability that a sample skips the last block in training, rising linearly from 0 at the first.

    Reference: SCA-MTL, section 2.1; Liu et al., Swin Transformer, ICCV 2021, section 3.2.
    """

    def __init__(
        self,
        channels: int,
        *,
        depth: int,
        num_heads: int,
        window: int = 7,
        padding: Padding = 'mask',
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.embed = nn.Conv2d(channels, channels, 1)
        self.embed_norm = nn.LayerNorm(channels)
        self.blocks = nn.Sequential(
            *(
                SwinBlock(
                    channels,
                    num_heads=num_heads,
                    window=window,
                    shift=window // 2 if i % 2 else 0,
                    padding=padding,
                    drop_path=drop_path * i / max(depth - 1, 1),
                )
                for i in range(depth)
            )
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, C, H, W) from (N, C, H, W), of any size."""
        maps = self.embed_norm(self.embed(features).permute(0, 2, 3, 1))
        return torch.permute(self.norm(self.blocks(maps)), (0, 3, 1, 2))
