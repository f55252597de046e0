"""A backbone with a last map of a given width, so that the features of two networks match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor

from mmmtl.registry import MODELS

from .maps import as_maps, feature_channels
from .stages import BackbonePass, split_into_stages


@MODELS.register_module()
class AlignedBackbone(BaseModule):
    """Last map of any backbone, with a 1x1 convolution if its width is not `channels`.

    MILA compares and propagates features of a slow and a fast network, which need equal channels: 2048 of ResNet-101
    become 512, ResNet-18 has 512. The paper does not say how; a 1x1 convolution to 512 fits its costs (table 2). Batch
    norm and ReLU after it are ours: both networks then give non-negative features. In the fast network of a video
    model, `channels` is by default that of the slow one.
    """

    def __init__(
        self,
        *,
        backbone: dict[str, Any],
        channels: int,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        self.feature_channels = (channels,)
        self.alignment = None
        in_channels = feature_channels(self.backbone)[-1]
        if in_channels != channels:
            self.alignment = ConvModule(in_channels, channels, 1, norm_cfg=norm_cfg or dict(type='BN'))

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return one map (N, channels, h, w) of images (N, 3, H, W)."""
        return self.align(as_maps(self.backbone(images)))

    def split_into_stages(self) -> BackbonePass:
        """Return the stages of the backbone for one pass; the alignment follows them."""
        inner = split_into_stages(self.backbone)
        return BackbonePass(inner.stages, lambda maps: self.align(inner.outputs(maps)))

    def align(self, maps: Sequence[Tensor]) -> tuple[Tensor]:
        """Return the last map at the wanted width."""
        return (maps[-1] if self.alignment is None else self.alignment(maps[-1]),)
