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
    """`ExchangeHead` with CTAM for the exchange, FPMA for the propagation and CSAM across scales.

    The defaults, here and in these parts, follow the paper's text and figure; where it is silent, its code
    (configs/sca/README.md lists each difference).

    Args:
        tasks: given by the segmentor.
        in_channels: of the shared maps, finest first.
        fpma: config of what takes {task: map} of a scale to the finer one; None leaves it out.
        ctam: config of what exchanges {task: map} at a scale, likewise.
        csam: config of what exchanges the maps of one task, likewise.
        fpma_source: what FPMA takes: 'augmented' what CTAM has made of the features, 'initial' those of the task heads.
        fpma_entry: where what FPMA brings enters a task head, see `TaskHead`: 'output' is figure 1, 'input' the code.
        head_blocks: residual blocks of a task head.
        hidden_channels: of the final prediction, see `Aggregation`: None is the paper, 'input' the code.
        upsample_first: see `Aggregation`; costs, but not results, depend on it.
        norm_cfg: normalisation, of the parts too.

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
