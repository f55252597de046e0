"""Cross-stitch networks: every task mixes the features of all tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmmtl.models.layers import ModuleMap
from mmmtl.registry import MODELS
from mmmtl.tasks import Task

from .soft_sharing import SoftSharingBackbone, initial_share


class CrossStitchUnit(nn.Module):
    """The mixture out[t] = sum_s weight[t][s] * in[s] (section 3.2, equation 1).

    There are weights per channel or, if `channels` is 1, one for all channels.
    """

    def __init__(self, tasks: Sequence[str], channels: int, *, alpha: float) -> None:
        super().__init__()

        def share(own: bool) -> Tensor:
            return torch.full((channels, 1, 1), initial_share(own, len(tasks), alpha))

        self.weight = ModuleMap({t: nn.ParameterDict({s: share(s == t) for s in tasks}) for t in tasks})

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the mixed {task: (N, C, h, w)}."""
        return {
            target: reduce(add, (weight * maps[s] for s, weight in weights.items()))
            for target, weights in self.weight.items()
        }


@MODELS.register_module()
class CrossStitchBackbone(SoftSharingBackbone):
    """A network for every task, with cross-stitch units after each stage.

    The paper has them after the pooling layers of an AlexNet, MILA after the four stages of a ResNet. The paper learns
    one weight for each pair of tasks, later code one for each channel (`channelwise`). A task starts with weight
    `alpha` for itself, 0.9 in the paper; the others share the rest.

    Reference: Misra et al., Cross-stitch Networks for Multi-task Learning, CVPR 2016.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        backbone: dict[str, Any],
        alpha: float = 0.9,
        channelwise: bool = True,
        pretrained: Mapping[str, str | Path] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        self.alpha = alpha
        self.channelwise = channelwise
        super().__init__(tasks=tasks, backbone=backbone, pretrained=pretrained, init_cfg=init_cfg)

    def build_unit(self, tasks: list[str], channels: int) -> nn.Module:
        return CrossStitchUnit(tasks, channels if self.channelwise else 1, alpha=self.alpha)
