"""A backbone with maps of given widths, so that the features of two networks match or a decoder stays narrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.registry import MODELS

from .maps import as_maps, feature_channels
from .stages import BackbonePass, split_into_stages


@MODELS.register_module()
class AlignedBackbone(BaseModule):
    """Last map of any backbone, with a 1x1 convolution if its width is not `channels`; or its last maps, for several.

    MILA compares and propagates features of a slow and a fast network, which need equal channels: 2048 of ResNet-101
    become 512, ResNet-18 has 512. The paper does not say how; a 1x1 convolution to 512 fits its costs (table 2). Batch
    norm and ReLU after it are ours: both networks then give non-negative features. In the fast network of a video
    model, `channels` is by default that of the slow one.
    """

    def __init__(
        self,
        *,
        backbone: dict[str, Any],
        channels: int | Sequence[int],
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        self.feature_channels = (channels,) if isinstance(channels, int) else tuple(channels)
        given = feature_channels(self.backbone, last=len(self.feature_channels))
        if len(given) < len(self.feature_channels):
            raise ValueError(f'channels={channels}: the backbone has no more than {len(given)} maps, {given} wide')
        convs = [
            None if width == wanted else ConvModule(width, wanted, 1, norm_cfg=norm_cfg or dict(type='BN'))
            for width, wanted in zip(given, self.feature_channels, strict=True)
        ]
        self.alignment: nn.Module | None = (
            convs[0] if isinstance(channels, int) else nn.ModuleList(conv or nn.Identity() for conv in convs)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return maps (N, channels, h, w) of images (N, 3, H, W), one for each width."""
        return self.align(as_maps(self.backbone(images)))

    def split_into_stages(self) -> BackbonePass:
        """Return the stages of the backbone for one pass; the alignment follows them."""
        inner = split_into_stages(self.backbone)
        return BackbonePass(inner.stages, lambda maps: self.align(inner.outputs(maps)))

    def align(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the last maps at the wanted widths."""
        if isinstance(self.alignment, nn.ModuleList):
            last = maps[-len(self.alignment) :]
            return tuple(align(map_) for align, map_ in zip(self.alignment, last, strict=True))
        return (maps[-1] if self.alignment is None else self.alignment(maps[-1]),)
