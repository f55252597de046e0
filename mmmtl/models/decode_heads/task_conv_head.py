"""A plain decoder of three convolutions for each task, over one or several slots of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_norm_layer
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmmtl.models.layers import ModuleMap
from mmmtl.registry import MODELS
from mmmtl.tasks import Task

from .base import DecodeHead, HeadOutput

Features = Sequence[Tensor | None] | Mapping[str, Sequence[Tensor | None]]


class SlotConv(nn.Conv2d):
    """A 3x3 convolution of S concatenated slots (N, in_channels, H, W), any of which may be None.

    The weight has one slice of input channels for each slot. A missing slot counts as zero, so its slice is left out.
    """

    def __init__(self, in_channels: int, out_channels: int, *, num_slots: int) -> None:
        super().__init__(num_slots * in_channels, out_channels, 3, padding=1, bias=False)
        self.num_slots = num_slots

    def forward(self, slots: Sequence[Tensor | None]) -> Tensor:  # type: ignore[override]
        """Convolve S slots, giving (N, out_channels, H, W)."""
        if len(slots) != self.num_slots:
            raise ValueError(f'{len(slots)} slots of features for a convolution that was built for {self.num_slots}')
        present = [slot for slot in slots if slot is not None]
        weight = self.weight
        if len(present) < len(slots):
            slices = weight.chunk(self.num_slots, dim=1)
            weight = torch.cat([part for part, slot in zip(slices, slots, strict=True) if slot is not None], dim=1)
        return F.conv2d(torch.cat(present, dim=1), weight, self.bias, padding=1)


@MODELS.register_module()
class TaskConvHead(DecodeHead):
    """Three convolutions for each task: 3x3 over all slots, 1x1 and 1x1.

    MILA: "three convolution layers with kernel size of 3x3, 1x1, and 1x1, and feature size of 512 and 256 in between".
    Ours are batch norm and ReLU after the first two, and the concatenation of the slots. The concatenation fits the
    paper's costs, and its remark that the first row of table 3 is simple concatenation.

    Args:
        channels: channels of the two hidden layers.
        num_slots: slots of each task: 1 for images, `neck.num_slots` for video.

    Reference: MILA, section 4.1.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        channels: tuple[int, int] = (512, 256),
        num_slots: int = 1,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(in_channels) > 1:
            raise ValueError(
                f'TaskConvHead reads one map, but there are {len(in_channels)}, of {list(in_channels)} channels; '
                'choose one with out_indices of the backbone, put it into an AlignedBackbone, or take MultiScaleHead'
            )
        norm_cfg = norm_cfg or dict(type='BN')
        self.feature_channels = channels[1:]
        self.fuse = ModuleMap({n: SlotConv(in_channels[-1], channels[0], num_slots=num_slots) for n in tasks})
        self.predict = ModuleMap(
            {
                name: nn.Sequential(
                    build_norm_layer(norm_cfg, channels[0])[1],
                    nn.ReLU(inplace=True),
                    ConvModule(channels[0], channels[1], 1, norm_cfg=norm_cfg),
                    nn.Conv2d(channels[1], task.out_channels, 1),
                )
                for name, task in tasks.items()
            }
        )

    def forward(self, features: Features) -> HeadOutput:
        """Predict all tasks from slots (N, C, h, w), shared by all tasks or {task: slots}."""
        hidden = {}
        for name, predict in self.predict.items():
            slots = features[name] if isinstance(features, Mapping) else features
            hidden[name] = predict[:-1](self.fuse[name](slots))
        logits = {name: predict[-1](hidden[name]) for name, predict in self.predict.items()}
        return HeadOutput(logits, {name: (map_,) for name, map_ in hidden.items()})

    def fold_norm(self) -> None:
        """Fold the batch norm behind each `SlotConv` into it, in eval mode."""
        for name, layers in self.predict.items():
            if isinstance(layers[0], nn.modules.batchnorm._BatchNorm):
                self.fuse[name] = fuse_conv_bn_eval(self.fuse[name], layers[0])
                layers[0] = nn.Identity()
