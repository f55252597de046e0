"""PAD-Net's decoder: preliminary predictions of all tasks, exchange of their features, final predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from mmmtl.models.layers import Bottleneck, ModuleMap
from mmmtl.registry import MODELS
from mmmtl.tasks import Task, main_tasks

from ..aggregation import Aggregation
from ..base import DecodeHead, HeadOutput


@MODELS.register_module()
class PADNetHead(DecodeHead):
    """Preliminary heads, exchange of features and final heads, all at the size of the finest map.

    The paper's front-end has one map. Here maps of several scales are aggregated to one: 1x1 convolution, norm and
    ReLU, as wide as all of them. This and the blocks of the heads follow the released code of MTI-Net, which compares
    itself with PAD-Net on HRNet.

    Every declared task is intermediate, and final unless it is auxiliary. An auxiliary task sends its features to the
    others and receives none.

    Args:
        exchange: config of a module of {task: map}, the paper's `SpatialAttention` or any that `ExchangeHead` takes.
            None omits it.
        channels: channels of the features of a task.
        num_blocks: bottlenecks of a preliminary head, and of a final one.
        upsample_first: see `Aggregation`.

    Reference: Xu et al., PAD-Net, CVPR 2018, section 3.
    """

    cost_parts: ClassVar[tuple[str, ...]] = ('fuse', 'heads', 'preliminary', 'exchange', 'final')
    has_preliminary: ClassVar[bool] = True

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        exchange: dict[str, Any] | None,
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

        self.heads = ModuleMap({name: nn.Sequential(*blocks(width)) for name in tasks})
        self.preliminary = ModuleMap({name: nn.Conv2d(channels, task.out_channels, 1) for name, task in tasks.items()})
        self.exchange: nn.Module | None = None
        if exchange is not None:
            given = dict(tasks=list(tasks), targets=list(main_tasks(tasks)), channels=channels, norm_cfg=norm_cfg)
            self.exchange = MODELS.build({**given, **exchange})
        self.final = ModuleMap(
            {
                name: nn.Sequential(*blocks(channels), nn.Conv2d(channels, task.out_channels, 1))
                for name, task in main_tasks(tasks).items()
            }
        )

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Predict all tasks from shared maps (N, in_channels[i], h_i, w_i), in the size of the first and finest.

        Preliminary predictions are computed in training alone.
        """
        self.check_maps(features)
        shared = self.fuse(features)
        own = {name: head(shared) for name, head in self.heads.items()}
        preliminary = []
        if self.training:
            preliminary.append({name: predict(own[name]) for name, predict in self.preliminary.items()})
        exchanged = own if self.exchange is None else self.exchange(own)
        hidden = {name: final[:-1](exchanged[name]) for name, final in self.final.items()}
        logits = {name: final[-1](hidden[name]) for name, final in self.final.items()}
        return HeadOutput(logits, {name: (map_,) for name, map_ in hidden.items()}, preliminary)
