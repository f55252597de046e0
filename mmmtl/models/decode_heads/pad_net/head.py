"""PAD-Net's decoder: preliminary predictions of all tasks, distillation among their features, final predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.models.layers import Bottleneck
from mmmtl.registry import MODELS
from mmmtl.tasks import Task

from ..aggregation import Aggregation


@MODELS.register_module()
class PADNetHead(BaseModule):
    """Preliminary heads, distillation and final heads, all at the size of the finest map.

    The paper's front-end has one map. Maps of several scales are aggregated to one: 1x1 convolution, norm, ReLU, as
    wide as all of them; this and the blocks of the heads are those of MTI-Net's code, in which PAD-Net is compared on
    HRNet.

    Every task is an intermediate and a final one; one that shall only help the others is declared like them.

    Args:
        tasks: given by the segmentor.
        in_channels: of the shared maps, finest first.
        distillation: config of what exchanges {task: map}, built with `tasks` and `channels`; any that `SCAHead` takes
            as `ctam`. None has none.
        channels: of the features of a task.
        num_blocks: bottlenecks of a preliminary head, and of a final one.
        upsample_first: see `Aggregation`; costs, but not results, depend on it.
        norm_cfg: normalisation, of the distillation too.

    Raises:
        ValueError: no block.

    Reference: Xu et al., PAD-Net, CVPR 2018, section 3.
    """

    cost_parts: ClassVar[tuple[str, ...]] = ('fuse', 'heads', 'preliminary', 'distillation', 'final')
    """Children that tools count for themselves."""

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        distillation: dict[str, Any] | None,
        channels: int = 256,
        num_blocks: int = 2,
        upsample_first: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_blocks < 1:
            raise ValueError(f'num_blocks must be at least 1, not {num_blocks}')
        norm_cfg = norm_cfg or dict(type='BN')
        self.in_channels = list(in_channels)
        self.feature_channels = (channels,)
        width = sum(in_channels)
        self.fuse = nn.Sequential(
            Aggregation(in_channels, width, upsample_first=upsample_first),
            build_norm_layer(norm_cfg, width)[1],
            nn.ReLU(inplace=True),
        )

        def blocks(first: int) -> list[nn.Module]:
            return [Bottleneck(first if i == 0 else channels, channels, norm_cfg=norm_cfg) for i in range(num_blocks)]

        self.heads = nn.ModuleDict({name: nn.Sequential(*blocks(width)) for name in tasks})
        self.preliminary = nn.ModuleDict(
            {name: nn.Conv2d(channels, task.out_channels, 1) for name, task in tasks.items()}
        )
        self.distillation: nn.Module | None = None
        if distillation is not None:
            given = dict(tasks=list(tasks), channels=channels, norm_cfg=norm_cfg)
            self.distillation = MODELS.build({**given, **distillation})
        self.final = nn.ModuleDict(
            {
                name: nn.Sequential(*blocks(channels), nn.Conv2d(channels, task.out_channels, 1))
                for name, task in tasks.items()
            }
        )

    def forward(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Logits (N, task.out_channels, h, w) of every task, in the size of the finest map.

        In training also the preliminary predictions, `preliminary.0.<task>`; nothing but their losses depends on them.

        Args:
            features: maps (N, in_channels[i], h_i, w_i) shared by all tasks, finest first.

        Raises:
            ValueError: another number of maps, or other channels, than `in_channels`.
        """
        maps, preliminary = self.task_features(features)
        return self.task_logits(maps) | preliminary

    def task_features(self, features: Sequence[Tensor]) -> tuple[dict[str, Sequence[Tensor]], dict[str, Tensor]]:
        """{task: the last hidden layer}, see `TwoStepHead`, and the preliminary predictions."""
        if (found := [m.shape[1] for m in features]) != self.in_channels:
            raise ValueError(f'maps of {found} channels for a head that was built for in_channels={self.in_channels}')
        shared = self.fuse(features)
        own = {name: head(shared) for name, head in self.heads.items()}
        preliminary = {}
        if self.training:
            preliminary = {f'preliminary.0.{name}': predict(own[name]) for name, predict in self.preliminary.items()}
        distilled = own if self.distillation is None else self.distillation(own)
        maps: dict[str, Sequence[Tensor]] = {}
        for name, final in self.final.items():
            maps[name] = (cast(nn.Sequential, final)[:-1](distilled[name]),)
        return maps, preliminary

    def task_logits(self, maps: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
        """{task: (N, task.out_channels, h, w)} of the maps of each task."""
        return {name: cast(nn.Sequential, final)[-1](*maps[name]) for name, final in self.final.items()}
