"""A backbone whose last map is brought to a given width, so that two networks speak the same features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor

from mmmtl.registry import MODELS

from .maps import as_maps
from .stages import Staged, staged


@MODELS.register_module()
class AlignedBackbone(BaseModule):
    """Any backbone, and a 1x1 convolution where its width is not the wanted one.

    MILA compares and propagates features of a slow and a fast network, which need equal channels: 2048 of ResNet-101
    become 512, ResNet-18 has 512. The paper does not say how; a 1x1 convolution to 512 fits its costs (table 2). Batch
    norm and ReLU after it are ours: both networks then give non-negative features.

    Args:
        backbone: config of the backbone; its last map is used.
        in_channels: channels of that map.
        channels: channels wanted.
        norm_cfg: normalisation of the alignment.

    Raises:
        ValueError: the map has not `in_channels` channels.
    """

    def __init__(
        self,
        *,
        backbone: dict[str, Any],
        in_channels: int,
        channels: int,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        self.in_channels = in_channels
        self.alignment = None
        if in_channels != channels:
            self.alignment = ConvModule(in_channels, channels, 1, norm_cfg=norm_cfg or dict(type='BN'))

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """One map (N, channels, h, w) of pictures (N, 3, H, W)."""
        return self.align(as_maps(self.backbone(images)))

    def staged(self) -> Staged:
        """The stages of the backbone, for one pass; the alignment follows them."""
        inner = staged(self.backbone)
        return Staged(inner.stages, lambda maps: self.align(inner.outputs(maps)))

    def align(self, maps: Sequence[Tensor]) -> tuple[Tensor]:
        """The last map, at the wanted width."""
        features = maps[-1]
        if features.shape[1] != self.in_channels:
            raise ValueError(
                f'{type(self.backbone).__name__} gives {features.shape[1]} channels, in_channels is {self.in_channels}'
            )
        return (features if self.alignment is None else self.alignment(features),)
