"""The base of backbones with separate features for every task."""

from __future__ import annotations

from abc import abstractmethod

from mmengine.model import BaseModule
from torch import Tensor


class TaskBackbone(BaseModule):
    """Base of the backbones in which tasks part before the decoder: cross-stitch networks, NDDR-CNN, MTAN.

    A segmentor builds them from its `task_backbone`, with its `tasks` and the config of its `backbone`.
    """

    feature_channels: tuple[int, ...]
    """Channels of the maps of each task, finest first."""

    @abstractmethod
    def forward(self, images: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """Return {task: maps (N, C, h, w), finest first} of images (N, 3, H, W)."""
