"""The decoder that SCA-MTL and MTI-Net share: tasks exchange features at every scale, then aggregate the scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

from mmengine.model import ModuleDict, ModuleList
from torch import Tensor, nn

from mmmtl.registry import MODELS
from mmmtl.tasks import Task, main_tasks

from .aggregation import Aggregation
from .base import DecodeHead, HeadOutput
from .task_head import Entry, TaskHead

Propagated = Literal['augmented', 'initial']


class ExchangeHead(DecodeHead):
    """Task heads, exchange and propagation from the coarsest scale to the finest, then a prediction for each task.

    At each scale, task heads turn the shared features into features and a preliminary prediction of each task.
    `exchange` lets the tasks of a scale exchange features. `propagation` passes the features of all tasks to the next
    finer scale. Then, for each task, `cross_scale` relates its scales, and they are aggregated to the final prediction.
    An auxiliary task has no part in the last step, and receives features only where they are propagated.

    The modules are configs. None omits a module.

    Args:
        exchange: module of {task: map} at a scale, built with `tasks`, `channels` and `targets`, which receive.
        propagation: module of {task: map} to the finer scale, built with `tasks` and `channels`.
        cross_scale: module of the maps of one task, built with the `channels` of all scales; has `out_channels`.
        propagated: which features to propagate: 'augmented' by the exchange, or the 'initial' ones of the task heads.
        entry: where propagated features enter a task head, see `TaskHead`.
        head_blocks: residual blocks of a task head.
        hidden_channels: width of the final prediction's hidden layer, see `Aggregation`.
        upsample_first: see `Aggregation`.
    """

    cost_parts: ClassVar[tuple[str, ...]] = ('heads', 'propagation', 'exchange', 'cross_scale', 'aggregation')
    has_preliminary: ClassVar[bool] = True

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        exchange: dict[str, Any] | None,
        propagation: dict[str, Any] | None,
        cross_scale: dict[str, Any] | None,
        propagated: Propagated,
        entry: Entry,
        head_blocks: int,
        hidden_channels: int | Literal['input'] | None,
        upsample_first: bool,
        norm_cfg: dict[str, Any] | None,
        init_cfg: dict[str, Any] | None,
    ) -> None:
        super().__init__(init_cfg)
        if propagated not in get_args(Propagated):
            raise ValueError(f'propagated must be one of {get_args(Propagated)}, not {propagated!r}')
        self.propagated = propagated
        norm = dict(norm_cfg=norm_cfg or dict(type='BN'))
        self.in_channels = widths = list(in_channels)
        # Propagated features are as wide as the scale that they come from.
        coarse = [*widths[1:], 0] if propagation else [0] * len(widths)

        def head(task: Task, width: int, coarser: int) -> TaskHead:
            return TaskHead(
                width, task.out_channels, coarse_channels=coarser, entry=entry, num_blocks=head_blocks, **norm
            )

        # mmengine's containers pass `init_weights` on to the parts; torch's do not.
        self.heads: Sequence[Mapping[str, TaskHead]] = ModuleList(
            ModuleDict({name: head(task, width, coarser) for name, task in tasks.items()})
            for width, coarser in zip(widths, coarse, strict=True)
        )
        shared = {**norm, 'tasks': list(tasks)}
        final = main_tasks(tasks)
        reads_all = propagation is not None and propagated == 'augmented'
        self.exchange: Sequence[nn.Module] = ModuleList(
            _build(exchange, channels=width, targets=list(tasks if i and reads_all else final), **shared)
            for i, width in enumerate(widths if exchange else [])
        )
        self.propagation: Sequence[nn.Module] = ModuleList(
            _build(propagation, channels=width, **shared) for width in (widths[1:] if propagation else [])
        )
        self.cross_scale: Mapping[str, Any] = ModuleDict(
            {name: _build(cross_scale, channels=widths, **norm) for name in (final if cross_scale else [])}
        )
        self.feature_channels = next(iter(self.cross_scale.values())).out_channels if cross_scale else widths
        options: dict[str, Any] = dict(hidden_channels=hidden_channels, upsample_first=upsample_first, **norm)
        self.aggregation: Mapping[str, Aggregation] = ModuleDict(
            {name: Aggregation(self.feature_channels, task.out_channels, **options) for name, task in final.items()}
        )

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Predict all tasks from shared maps (N, in_channels[i], h_i, w_i), of any sizes, finest first.

        Preliminary predictions are computed in training alone: only their losses need them.
        """
        self.check_maps(features)
        preliminary: list[dict[str, Tensor]] = []
        coarse: dict[str, Tensor] = {}
        scales: list[dict[str, Tensor]] = []
        for i in reversed(range(len(features))):
            heads = self.heads[i]
            own = {name: head(features[i], coarse.get(name)) for name, head in heads.items()}
            if self.training:
                preliminary.insert(0, {name: head.predict(own[name]) for name, head in heads.items()})
            augmented = self.exchange[i](own) if len(self.exchange) else own
            propagated = augmented if self.propagated == 'augmented' else own
            coarse = self.propagation[i - 1](propagated) if len(self.propagation) and i else {}
            scales.insert(0, augmented)
        maps: dict[str, Sequence[Tensor]] = {name: [scale[name] for scale in scales] for name in self.aggregation}
        maps |= {name: module(maps[name]) for name, module in self.cross_scale.items()}
        logits = {name: aggregate(maps[name]) for name, aggregate in self.aggregation.items()}
        return HeadOutput(logits, maps, preliminary)


def _build(cfg: dict[str, Any] | None, **given: Any) -> Any:
    return MODELS.build({**given, **(cfg or {})})
