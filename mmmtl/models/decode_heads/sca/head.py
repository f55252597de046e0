"""SCA-MTL's decoder: attention across tasks at each scale, then across scales for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mmmtl.registry import MODELS
from mmmtl.tasks import Task

from ..exchange_head import ExchangeHead, Propagated
from ..task_head import Entry


@MODELS.register_module()
class SCAHead(ExchangeHead):
    """An `ExchangeHead` with CTAM for the exchange, FPMA for the propagation and CSAM across scales.

    The defaults, here and in these parts, follow the paper's text and figure 1, and where these are silent, its
    released code (configs/sca/README.md lists each difference). `ExchangeHead` explains the arguments.

    Args:
        fpma: the `propagation`; `fpma_source` is its `propagated`.
        ctam: the `exchange`.
        csam: the `cross_scale`.
        fpma_entry: the `entry`: 'output' is figure 1, 'input' the released code.
        hidden_channels: width of the final prediction's hidden layer: None is the paper, 'input' the released code.

    Reference: SCA-MTL, section 2 and figure 1.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        fpma: dict[str, Any] | None,
        ctam: dict[str, Any] | None,
        csam: dict[str, Any] | None,
        fpma_source: Propagated = 'augmented',
        fpma_entry: Entry = 'output',
        head_blocks: int = 2,
        hidden_channels: int | Literal['input'] | None = None,
        upsample_first: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            tasks=tasks,
            in_channels=in_channels,
            exchange=ctam,
            propagation=fpma,
            cross_scale=csam,
            propagated=fpma_source,
            entry=fpma_entry,
            head_blocks=head_blocks,
            hidden_channels=hidden_channels,
            upsample_first=upsample_first,
            norm_cfg=norm_cfg,
            init_cfg=init_cfg,
        )
