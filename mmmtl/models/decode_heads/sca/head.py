"""SCA-MTL's decoder: attention across tasks at each scale, then across scales for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, cast, get_args

from mmengine.model import BaseModule, ModuleDict, ModuleList
from torch import Tensor, nn

from mmmtl.registry import MODELS
from mmmtl.tasks import Task

from ..aggregation import Aggregation
from .task_head import Entry, TaskHead

Propagated = Literal['augmented', 'initial']


@MODELS.register_module()
class SCAHead(BaseModule):
    """Task heads, CTAM and FPMA scale by scale from coarse to fine, then CSAM and aggregation for each task.

    At each scale, heads turn the shared features into those of each task, with a preliminary prediction; CTAM adds what
    the other tasks know; FPMA takes the result to the next finer scale. Then, for each task, CSAM adds what its coarser
    scales know, and the scales are aggregated to the final prediction.

    FPMA, CTAM and CSAM are configs, so that others can take their place, and None leaves one out: without FPMA a scale
    knows nothing of the coarser ones, without CTAM or CSAM features pass. MTI-Net, which SCA-MTL extends, is this head
    with `FPM`, `SpatialAttentionDistillation` and no CSAM (configs/mti_net).

    The defaults, here and in these parts, follow the paper's text and figure; where it is silent, its code
    (configs/sca/README.md lists each difference).

    Args:
        tasks: given by the segmentor.
        in_channels: of the shared maps, finest first.
        fpma: config of what takes {task: map} of a scale to the finer one, built with `tasks` and `channels`.
        ctam: config of what exchanges {task: map} at a scale, built likewise.
        csam: config of what exchanges the maps of one task, built with the `channels` of all scales.
        fpma_source: what FPMA takes: 'augmented' what CTAM has made of the features, 'initial' those of the task heads,
            as MTI-Net does.
        fpma_entry: where what FPMA brings enters a task head, see `TaskHead`: 'output' is figure 1, 'input' the code.
        head_blocks: residual blocks of a task head.
        hidden_channels: of the final prediction, see `Aggregation`: None is the paper, 'input' the code.
        upsample_first: see `Aggregation`; costs, but not results, depend on it.
        norm_cfg: normalisation, of the parts too.

    Raises:
        ValueError: an unknown `fpma_source`.

    Reference: SCA-MTL, section 2 and figure 1; Vandenhende et al., MTI-Net, ECCV 2020, section 3.
    """

    cost_parts: ClassVar[tuple[str, ...]] = ('heads', 'fpma', 'ctam', 'csam', 'aggregation')
    """Children that tools count for themselves."""

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
        super().__init__(init_cfg)
        if fpma_source not in get_args(Propagated):
            raise ValueError(f'fpma_source must be one of {get_args(Propagated)}, not {fpma_source!r}')
        self.fpma_source = fpma_source
        norm = dict(norm_cfg=norm_cfg or dict(type='BN'))
        widths = list(in_channels)
        # What comes from the coarser scale is as wide as that scale.
        coarse = [*widths[1:], 0] if fpma else [0] * len(widths)
        self.heads = ModuleList(
            ModuleDict(
                {
                    name: TaskHead(
                        width,
                        task.out_channels,
                        coarse_channels=coarser,
                        entry=fpma_entry,
                        num_blocks=head_blocks,
                        **norm,
                    )
                    for name, task in tasks.items()
                }
            )
            for width, coarser in zip(widths, coarse, strict=True)
        )
        # mmengine's containers, since torch's would keep `init_weights` from the parts.
        shared = {**norm, 'tasks': list(tasks)}
        self.ctam = ModuleList(_build(ctam, channels=width, **shared) for width in (widths if ctam else []))
        self.fpma = ModuleList(_build(fpma, channels=width, **shared) for width in (widths[1:] if fpma else []))
        self.csam = ModuleDict({name: _build(csam, channels=widths, **norm) for name in (tasks if csam else [])})
        self.aggregation = ModuleDict(
            {
                name: Aggregation(
                    cast(Sequence[int], self.csam[name].out_channels) if csam else widths,
                    task.out_channels,
                    hidden_channels=hidden_channels,
                    upsample_first=upsample_first,
                    **norm,
                )
                for name, task in tasks.items()
            }
        )

    def forward(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Logits (N, task.out_channels, h, w) of every task, of any size of maps.

        In training also the preliminary predictions, `preliminary.<i>.<task>` with i = 0 for the finest scale. In eval
        mode they are not computed: nothing but their losses depends on them.

        Args:
            features: maps (N, in_channels[i], h_i, w_i) shared by all tasks, finest first.

        Raises:
            ValueError: another number of maps than `in_channels`.
        """
        maps, preliminary = self.task_features(features)
        return self.task_logits(maps) | preliminary

    @property
    def feature_channels(self) -> Sequence[int]:
        """Of the maps that a task is predicted from, see `TwoStepHead`."""
        return cast(Aggregation, next(iter(self.aggregation.values()))).channels

    def task_features(self, features: Sequence[Tensor]) -> tuple[dict[str, Sequence[Tensor]], dict[str, Tensor]]:
        """{task: maps of all scales} as CSAM leaves them, and the preliminary predictions."""
        if len(features) != len(self.heads):
            raise ValueError(f'{len(features)} maps for a head that was built for {len(self.heads)} (in_channels)')
        preliminary: dict[str, Tensor] = {}
        coarse: dict[str, Tensor] = {}
        scales: list[dict[str, Tensor]] = []
        for i in reversed(range(len(features))):
            heads = cast(dict[str, TaskHead], self.heads[i])
            own = {name: head(features[i], coarse.get(name)) for name, head in heads.items()}
            if self.training:
                preliminary |= {f'preliminary.{i}.{name}': head.predict(own[name]) for name, head in heads.items()}
            augmented = self.ctam[i](own) if len(self.ctam) else own
            propagated = augmented if self.fpma_source == 'augmented' else own
            coarse = self.fpma[i - 1](propagated) if len(self.fpma) and i else {}
            scales.insert(0, augmented)
        maps: dict[str, Sequence[Tensor]] = {name: [scale[name] for scale in scales] for name in self.aggregation}
        return {name: self.csam[name](own) for name, own in maps.items()} if len(self.csam) else maps, preliminary

    def task_logits(self, maps: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
        """{task: (N, task.out_channels, h, w)} of the maps of each task."""
        return {name: aggregate(maps[name]) for name, aggregate in self.aggregation.items()}


def _build(cfg: dict[str, Any] | None, **given: Any) -> nn.Module:
    return MODELS.build({**given, **(cfg or {})})
