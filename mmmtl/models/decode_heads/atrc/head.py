"""ATRC's decoder: each task gathers context from every task, of a type that is chosen for each pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from mmengine.model import normal_init
from torch import Tensor, nn

from mmmtl.models.layers import ModuleMap, PlainConvModule, resize
from mmmtl.registry import MODELS
from mmmtl.tasks import Task
from mmmtl.tasks.order import Concatenating, TaskOrder

from ..base import DecodeHead, HeadOutput
from .context import TaskMaps, build_context
from .fusion import ContextFusion
from .genotype import label_tasks, read_genotype


@MODELS.register_module()
class ATRCHead(Concatenating, DecodeHead):
    """Task features of all scales, contexts between every pair of tasks, fusion and prediction for each task.

    The maps are upsampled to the finest and concatenated. A 3x3 convolution makes each task's features from them. For
    each pair of a target and a source task, including each task with itself, a context block lets the target gather
    features of the source: over all pixels ('global'), over a 9x9 window ('local'), or over regions of the label space
    of the target ('target_label', T-label in the paper) or of the source ('source_label', S-label). 'none' leaves the
    pair out.

    The label space of a task consists of classes, or of intervals of its values (`Task.discretize`). A task whose label
    space a context needs gets an auxiliary prediction in it, trained with cross-entropy of weight 1. As in the released
    code, this sends no gradient to the shared maps.

    The type of each pair is the genotype, which the paper searches (`ATRCSearchHead`). 'global' for all pairs, the
    default, is one of its fixed baselines.

    Widths, layers and initial weights that the paper does not give are the released code's. Ours: maps may have any
    size; the padding of a batch counts in the regions like other pixels; the classes of binary tasks are learnt without
    balancing.

    Args:
        contexts: the genotype, see `read_genotype`.
        channels: channels of the features of each task; by default a quarter of all `in_channels`.
        context_channels: channels of each context; by default half of `channels`.
        dropout: probability of dropping whole channels of the fused features.

    Reference: Bruggemann et al., Exploring Relational Context for Multi-Task Dense Prediction, ICCV 2021, section 3.
    """

    cost_parts: ClassVar[tuple[str, ...]] = ('heads', 'label_space', 'contexts', 'fusion', 'predict')

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        contexts: str | Mapping[str, Mapping[str, str | int]] = 'global',
        channels: int | None = None,
        context_channels: int | None = None,
        dropout: float = 0.05,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or dict(type='BN')
        self.in_channels = list(in_channels)
        width = sum(in_channels)
        channels = channels or width // 4
        attended = context_channels or channels // 2
        genotype = read_genotype(contexts, tasks)
        self.feature_channels = (channels,)
        self.order = TaskOrder(tasks)
        self.heads = ModuleMap({n: PlainConvModule(width, channels, 3, padding=1, norm_cfg=norm_cfg) for n in tasks})
        self.label_space = ModuleMap(
            {
                name: nn.Sequential(
                    PlainConvModule(width, width, 1, norm_cfg=norm_cfg),
                    last_conv(width, tasks[name].label_space_size),
                )
                for name in label_tasks(genotype)
            }
        )
        self.contexts: ModuleMap[ModuleMap[Any]] = ModuleMap(
            {
                target: ModuleMap(
                    {
                        source: self.build_pair(target, source, kind, channels, attended, norm_cfg)
                        for source, kind in sources.items()
                        if kind != 'none'
                    }
                )
                for target, sources in genotype.items()
            }
        )
        self.fusion = ModuleMap(
            {
                name: ContextFusion(
                    channels, attended, num_contexts=len(self.contexts[name]), dropout=dropout, norm_cfg=norm_cfg
                )
                for name in tasks
            }
        )
        self.predict = ModuleMap({name: last_conv(channels, task.out_channels) for name, task in tasks.items()})

    def build_pair(
        self, target: str, source: str, kind: str, in_channels: int, channels: int, norm_cfg: dict[str, Any]
    ) -> nn.Module:
        """Build what gathers context of a type, for one pair of tasks."""
        return build_context(kind, in_channels, channels, norm_cfg=norm_cfg)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Predict all tasks from shared maps (N, in_channels[i], h_i, w_i), in the size of the first and finest.

        In training also predict the label spaces that contexts need.
        """
        self.check_maps(features)
        shared = torch.cat([resize(map_, features[0].shape[-2:]) for map_ in features], dim=1)
        labels = {name: predict(shared.detach()) for name, predict in self.label_space.items()}
        own = {name: TaskMaps(head(shared), labels.get(name)) for name, head in self.heads.items()}
        fused = {}
        for target, fuse in self.fusion.items():
            contexts = self.contexts[target]
            found = [contexts[source](own[target], own[source]) for source in self.order if source in contexts]
            fused[target] = fuse(own[target].features, found)
        logits = {name: predict(fused[name]) for name, predict in self.predict.items()}
        maps = {name: (map_,) for name, map_ in fused.items()}
        return HeadOutput(logits, maps, label_space=labels if self.training else {})


def last_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Return a 1x1 convolution to logits, with small weights and no bias at first, as in the released code."""
    conv = nn.Conv2d(in_channels, out_channels, 1)
    normal_init(conv, std=0.01)
    return conv
