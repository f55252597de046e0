"""The decoder that SCA-MTL and MTI-Net share: tasks exchange features at every scale, then aggregate the scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

from mmengine.model import ModuleDict, ModuleList
from torch import Tensor, nn

from mmmtl.registry import MODELS
from mmmtl.tasks import Task

from .aggregation import Aggregation
from .base import DecodeHead, HeadOutput
from .task_head import Entry, TaskHead

Propagated = Literal['augmented', 'initial']


class ExchangeHead(DecodeHead):
    """Task heads, exchange and propagation from the coarsest scale to the finest, then each task for itself.

    At each scale, heads turn the shared features into those of each task, with a preliminary prediction; `exchange`
    adds what the other tasks know; `propagation` takes the features of all tasks to the next finer scale. Then, for
    each task, `cross_scale` adds what its other scales know, and the scales are aggregated to the final prediction.

    Each of these modules is a config, and None leaves it out: without propagation a scale knows nothing of the coarser
    ones, without the others features pass.

    Args:
        tasks: given by the segmentor.
        in_channels: of the shared maps, finest first.
        exchange: module of {task: map} at a scale, built with `tasks` and `channels`.
        propagation: module of {task: map} to the finer scale, built likewise.
        cross_scale: module of the maps of one task, built with the `channels` of all scales; has `out_channels`.
        propagated: which features: 'augmented' by the exchange, or 'initial', those of the task heads.
        entry: where what is propagated enters a task head, see `TaskHead`.
        head_blocks: residual blocks of a task head.
        hidden_channels: of the final prediction, see `Aggregation`.
        upsample_first: see `Aggregation`; costs, but not results, depend on it.
        norm_cfg: normalisation, of the modules too.

    Raises:
        ValueError: an unknown `propagated`.
    """

    cost_parts: ClassVar[tuple[str, ...]] = ('heads', 'propagation', 'exchange', 'cross_scale', 'aggregation')

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
            raise ValueError(f'the features to propagate must be one of {get_args(Propagated)}, not {propagated!r}')
        self.propagated = propagated
        norm = dict(norm_cfg=norm_cfg or dict(type='BN'))
        widths = list(in_channels)
        # What comes from the coarser scale is as wide as that scale.
        coarse = [*widths[1:], 0] if propagation else [0] * len(widths)

        def head(task: Task, width: int, coarser: int) -> TaskHead:
            return TaskHead(
                width, task.out_channels, coarse_channels=coarser, entry=entry, num_blocks=head_blocks, **norm
            )

        # mmengine's containers, since torch's would keep `init_weights` from the parts.
        self.heads: Sequence[Mapping[str, TaskHead]] = ModuleList(
            ModuleDict({name: head(task, width, coarser) for name, task in tasks.items()})
            for width, coarser in zip(widths, coarse, strict=True)
        )
        shared = {**norm, 'tasks': list(tasks)}
        self.exchange: Sequence[nn.Module] = ModuleList(
            _build(exchange, channels=width, **shared) for width in (widths if exchange else [])
        )
        self.propagation: Sequence[nn.Module] = ModuleList(
            _build(propagation, channels=width, **shared) for width in (widths[1:] if propagation else [])
        )
        self.cross_scale: Mapping[str, Any] = ModuleDict(
            {name: _build(cross_scale, channels=widths, **norm) for name in (tasks if cross_scale else [])}
        )
        self.feature_channels = next(iter(self.cross_scale.values())).out_channels if cross_scale else widths
        self.aggregation: Mapping[str, Aggregation] = ModuleDict(
            {
                name: Aggregation(
                    self.feature_channels,
                    task.out_channels,
                    hidden_channels=hidden_channels,
                    upsample_first=upsample_first,
                    **norm,
                )
                for name, task in tasks.items()
            }
        )

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Predict all tasks from shared maps (N, in_channels[i], h_i, w_i), of any sizes, finest first.

        Preliminary predictions are computed in training alone: nothing but their losses depends on them.

        Raises:
            ValueError: another number of maps than `in_channels`.
        """
        if len(features) != len(self.heads):
            raise ValueError(f'{len(features)} maps for a head that was built for {len(self.heads)} (in_channels)')
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
