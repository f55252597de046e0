"""Spatial attention between tasks: each task adds the gated features of the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.models.layers import ModuleMap
from mmmtl.registry import MODELS


class GatedMessage(nn.Module):
    """sigmoid(conv3x3(x)) * conv3x3(x): a message to another task, gated at each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.message = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        message: Tensor = self.gate(features).sigmoid() * self.message(features)
        return message


@MODELS.register_module()
class SpatialAttention(BaseModule):
    """F_i + sum over j != i of sigmoid(W_ij F_j) * (V_ij F_j).

    Each ordered pair of tasks has its own convolutions. With one task its features pass unchanged. `norm_cfg` is given
    to every module that exchanges features; this one has nothing to normalise.

    Args:
        targets: the tasks that receive from the others, by default all; the rest pass unchanged.

    Reference: Xu et al., PAD-Net, CVPR 2018, section 3.4, module C; in the form, and with the gate made of the source,
        of Vandenhende et al., MTI-Net, ECCV 2020, section 3.2.
    """

    def __init__(
        self,
        *,
        tasks: Collection[str],
        channels: int,
        targets: Collection[str] | None = None,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        targets = tasks if targets is None else targets
        self.attend = ModuleMap({t: ModuleMap({s: GatedMessage(channels) for s in tasks if s != t}) for t in targets})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return {task: (N, C, h, w)}, shaped like the input."""
        exchanged = dict(features)
        for target, pairs in self.attend.items():
            for source, attend in pairs.items():
                exchanged[target] = exchanged[target] + attend(features[source])
        return exchanged
