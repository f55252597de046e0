"""Backbones that keep features of their own for every task."""

from __future__ import annotations

from abc import abstractmethod

from mmengine.model import BaseModule
from torch import Tensor


class TaskBackbone(BaseModule):
    """Base of the backbones in which tasks part before the decoder: cross-stitch networks, NDDR-CNN, MTAN.

    A segmentor builds them with `tasks`, which other backbones are not given.
    """

    @abstractmethod
    def forward(self, images: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """{task: maps (N, C, h, w), finest first} of pictures (N, 3, H, W)."""
