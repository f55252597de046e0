"""MTI-Net's decoder: at each scale tasks attend to each other, and their first features go to the finer scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mmmtl.registry import MODELS
from mmmtl.tasks import Task

from ..exchange_head import ExchangeHead, Propagated


@MODELS.register_module()
class MTINetHead(ExchangeHead):
    """`ExchangeHead` without a module across scales; what is propagated enters the task heads at their input.

    Args:
        tasks: given by the segmentor.
        in_channels: of the shared maps, finest first.
        propagation: config of what takes {task: map} of a scale to the finer one: `FPM`; None leaves it out.
        exchange: config of what exchanges {task: map} at a scale: `SpatialAttention`; None leaves it out.
        propagated: which features: those of the task heads ('initial'), or what the exchange has made of them.
        head_blocks: residual blocks of a task head.
        hidden_channels: of the final prediction, see `Aggregation`.
        upsample_first: see `Aggregation`; costs, but not results, depend on it.
        norm_cfg: normalisation, of the parts too.

    Reference: Vandenhende et al., MTI-Net, ECCV 2020, section 3, and its code.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        propagation: dict[str, Any] | None,
        exchange: dict[str, Any] | None,
        propagated: Propagated = 'initial',
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
            entry='input',
            head_blocks=head_blocks,
            hidden_channels=hidden_channels,
            upsample_first=upsample_first,
            norm_cfg=norm_cfg,
            init_cfg=init_cfg,
        )
