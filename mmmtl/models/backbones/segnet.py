"""SegNet: an encoder and a decoder that puts maxima back where they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.models.layers import ModuleRow
from mmmtl.registry import MODELS

from .stages import BackbonePass, Maps, Stage, chain, on_map


@MODELS.register_module()
class SegNet(BaseModule):
    """VGG-16 with batch norm, without its linear layers, and its mirror image: one map as large as the image.

    Each stage of the encoder ends with 2x2 max pooling, each stage of the decoder begins with unpooling to the
    positions of these maxima. A decoder stage has as many convolutions as its counterpart. It narrows in the first, as
    in MTAN's SegNet; the original narrows in the last. The decoder ends with `channels[0]`. Odd sides are rounded up,
    and the decoder restores them.

    Reference: Badrinarayanan et al., SegNet, TPAMI 2017, section 3; MTAN, figure 2.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        depths: Sequence[int] = (2, 2, 3, 3, 3),
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(channels) != len(depths) or min(depths) < 1:
            raise ValueError(f'channels={channels} and depths={depths}: each stage needs one width and one depth >= 1')
        norm_cfg = norm_cfg or dict(type='BN')
        self.feature_channels = (channels[0],)

        def convolutions(in_channels: int, out_channels: int, depth: int) -> nn.Sequential:
            widths = [in_channels] + [out_channels] * (depth - 1)
            return nn.Sequential(*(ConvModule(w, out_channels, 3, padding=1, norm_cfg=norm_cfg) for w in widths))

        before = [3, *channels[:-1]]
        self.encoder = ModuleRow(map(convolutions, before, channels, depths))
        # The deepest first.
        after = [channels[0], *channels[:-1]]
        self.decoder = ModuleRow(map(convolutions, channels[::-1], after[::-1], depths[::-1]))

    def forward(self, images: Tensor) -> Maps:
        """Return one map (N, channels[0], H, W) of images (N, 3, H, W)."""
        return self.split_into_stages()(images)

    def split_into_stages(self) -> BackbonePass:
        """Return the stages of the encoder, then those of the decoder, for one pass."""
        maxima: list[tuple[Tensor, tuple[int, int]]] = []

        def pool(maps: Maps) -> Maps:
            (features,) = maps
            pooled, places = F.max_pool2d_with_indices(features, (2, 2), ceil_mode=True)
            maxima.append((places, (features.shape[-2], features.shape[-1])))
            return (pooled,)

        def unpool(maps: Maps) -> Maps:
            places, size = maxima.pop()
            return (F.max_unpool2d(maps[0], places, (2, 2), output_size=size),)

        stages = []
        first: ConvModule
        for blocks in self.encoder:
            first, *rest = blocks
            width = (first.out_channels,)
            stages.append(Stage(on_map(first), chain(*map(on_map, rest)), width, width, pool=pool))
        for blocks in self.decoder:
            first = blocks[0]
            stages.append(Stage(unpool, on_map(blocks), (first.in_channels,), (first.out_channels,), unpools=True))
        return BackbonePass(tuple(stages), lambda maps: maps[-1])
