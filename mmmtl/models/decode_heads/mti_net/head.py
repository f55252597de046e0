"""MTI-Net's decoder: tasks attend to each other at each scale, and their initial features go to the finer scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mmmtl.registry import MODELS
from mmmtl.tasks import Task

from ..exchange_head import ExchangeHead, Propagated
from ..task_head import Entry


@MODELS.register_module()
class MTINetHead(ExchangeHead):
    """An `ExchangeHead` without `cross_scale`.

    MTI-Net has `FPM` as `propagation` and `SpatialAttention` as `exchange`; propagated features enter the task heads at
    their input. `ExchangeHead` explains the arguments.

    Reference: Vandenhende et al., MTI-Net, ECCV 2020, section 3, and its released code.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        propagation: dict[str, Any] | None,
        exchange: dict[str, Any] | None,
        propagated: Propagated = 'initial',
        entry: Entry = 'input',
        head_blocks: int = 2,
        hidden_channels: int | Literal['input'] | None = 'input',
        upsample_first: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            tasks=tasks,
            in_channels=in_channels,
            exchange=exchange,
            propagation=propagation,
            cross_scale=None,
            propagated=propagated,
            entry=entry,
            head_blocks=head_blocks,
            hidden_channels=hidden_channels,
            upsample_first=upsample_first,
            norm_cfg=norm_cfg,
            init_cfg=init_cfg,
        )
