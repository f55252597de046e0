"""Squeeze-and-excitation per task: gates on the channels make shared features task-specific."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.models.layers import SqueezeExcitation
from mmmtl.registry import MODELS
from mmmtl.tasks import Task


@MODELS.register_module()
class TaskSqueezeExcitation(BaseModule):
    """Last map of a backbone, gated for each task: the neck of an image model, and the first step of `ILANeck`."""

    def __init__(self, *, tasks: Mapping[str, Task], in_channels: Sequence[int], reduction: int = 16) -> None:
        super().__init__()
        self.feature_channels = (in_channels[-1],)
        self.excite = nn.ModuleDict({name: SqueezeExcitation(in_channels[-1], reduction=reduction) for name in tasks})

    def forward(self, features: Sequence[Tensor]) -> dict[str, tuple[Tensor, ...]]:
        """Return {task: (gated last map,)}."""
        return {name: (gate(features[-1]),) for name, gate in self.excite.items()}
