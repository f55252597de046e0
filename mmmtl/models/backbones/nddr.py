"""NDDR-CNN: every task reduces the concatenated features of all tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from mmmtl.models.layers import ModuleMap
from mmmtl.registry import MODELS
from mmmtl.tasks import Task

from .soft_sharing import SoftSharingBackbone, initial_share


class NDDRUnit(nn.Module):
    """For every task a 1x1 convolution of the concatenated maps of all tasks, norm and ReLU.

    It is computed as a sum of one convolution per source, which is equivalent; each starts as `initial_share` times the
    identity.
    """

    def __init__(self, tasks: Sequence[str], channels: int, *, alpha: float, norm_cfg: dict[str, Any]) -> None:
        super().__init__()
        self.reduce = ModuleMap(
            {t: ModuleMap({s: nn.Conv2d(channels, channels, 1, bias=False) for s in tasks}) for t in tasks}
        )
        self.norm = nn.ModuleDict({target: build_norm_layer(norm_cfg, channels)[1] for target in tasks})
        for target, convs in self.reduce.items():
            for source, conv in convs.items():
                nn.init.dirac_(conv.weight)
                with torch.no_grad():
                    conv.weight *= initial_share(source == target, len(tasks), alpha)

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the fused {task: (N, C, h, w)}, not negative."""
        return {
            target: self.norm[target](reduce(add, (conv(maps[s]) for s, conv in convs.items()))).relu()
            for target, convs in self.reduce.items()
        }


@MODELS.register_module()
class NDDRBackbone(SoftSharingBackbone):
    """A network for every task, with features fused by neural discriminative dimensionality reduction.

    The paper has it after the pooling layers of a VGG-16, and after each stage of a ResNet. A task starts with weight
    `alpha` for itself, 0.9 in the paper; the others share the rest. The norm's momentum 0.05 is that of the released
    code.

    Reference: Gao et al., NDDR-CNN: Layerwise Feature Fusing in Multi-Task CNNs, CVPR 2019, section 3.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        backbone: dict[str, Any],
        alpha: float = 0.9,
        norm_cfg: dict[str, Any] | None = None,
        pretrained: Mapping[str, str | Path] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        self.alpha = alpha
        self.norm_cfg = norm_cfg or dict(type='BN', momentum=0.05)
        super().__init__(tasks=tasks, backbone=backbone, pretrained=pretrained, init_cfg=init_cfg)

    def build_unit(self, tasks: list[str], channels: int) -> nn.Module:
        return NDDRUnit(tasks, channels, alpha=self.alpha, norm_cfg=self.norm_cfg)
