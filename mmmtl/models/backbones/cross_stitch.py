"""Cross-stitch networks: every task mixes the features of all."""

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
    """out[t] = sum_s weight[t][s] * in[s], with a weight for every channel or one for all.

    Args:
        tasks: their names.
        channels: of the maps; 1 is one weight for all channels.
        alpha: initial weight of the task itself; the others share the rest.

    Reference: cross-stitch networks, section 3.2, equation 1.
    """

    def __init__(self, tasks: Sequence[str], channels: int, *, alpha: float) -> None:
        super().__init__()
        self.weight = ModuleMap(
            {
                target: nn.ParameterDict(
                    {
                        source: torch.full((channels, 1, 1), initial_share(source == target, len(tasks), alpha))
                        for source in tasks
                    }
                )
                for target in tasks
            }
        )

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{task: (N, C, h, w)} of the same."""
        return {
            target: reduce(add, (weight * maps[s] for s, weight in weights.items()))
            for target, weights in self.weight.items()
        }


@MODELS.register_module()
class CrossStitchBackbone(SoftSharingBackbone):
    """A network for every task, with cross-stitch units after each stage.

    The paper has them after the pooling layers of an AlexNet, MILA after the four stages of a ResNet. It learns one
    weight for each pair of tasks; later code, one for each channel.

    Args:
        tasks, backbone, pretrained: see `SoftSharingBackbone`.
        alpha: initial weight of the task itself, the paper's 0.9; the others share the rest (its 0.1).
        channelwise: a weight for every channel, instead of one.

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
        """A cross-stitch unit."""
        return CrossStitchUnit(tasks, channels if self.channelwise else 1, alpha=self.alpha)
