"""A decode head whose tasks share all but their last layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmcv.cnn import ConvModule, build_norm_layer
from torch import nn

from mmmtl.models.decode_heads import DecodeHead, HeadOutput, SlotConv
from mmmtl.models.decode_heads.task_conv_head import Features
from mmmtl.registry import MODELS
from mmmtl.tasks import Task


@MODELS.register_module()
class SharedTrunkHead(DecodeHead):
    """A `TaskConvHead` with one trunk for all tasks: a 3x3 and a 1x1 convolution, then a 1x1 convolution for each task.

    Args:
        tasks: the tasks, given by the segmentor.
        in_channels: (C,) of a slot, by default those of the neck or backbone.
        channels: channels of the two layers of the trunk.
        num_slots: slots of each task: 1 for images, `neck.num_slots` for video (set by the segmentor).
        norm_cfg: normalisation of the trunk.
        init_cfg: mmengine's initialisation.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        channels: tuple[int, int] = (64, 64),
        num_slots: int = 1,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.feature_channels = channels[1:]
        norm_cfg = norm_cfg or dict(type='BN')
        self.fuse = SlotConv(in_channels[-1], channels[0], num_slots=num_slots)
        self.trunk = nn.Sequential(
            build_norm_layer(norm_cfg, channels[0])[1],
            nn.ReLU(inplace=True),
            ConvModule(channels[0], channels[1], 1, norm_cfg=norm_cfg),
        )
        self.predict = nn.ModuleDict(
            {name: nn.Conv2d(channels[1], task.out_channels, 1) for name, task in tasks.items()}
        )

    def forward(self, features: Features) -> HeadOutput:
        """Predict all tasks from slots (N, in_channels, h, w), shared by all tasks or {task: slots}."""
        hidden = {
            name: self.trunk(self.fuse(features[name] if isinstance(features, Mapping) else features))
            for name in self.predict
        }
        logits = {name: predict(hidden[name]) for name, predict in self.predict.items()}
        return HeadOutput(logits, {name: (map_,) for name, map_ in hidden.items()})
