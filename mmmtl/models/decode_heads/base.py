"""The contract of decode heads: their input and their output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mmengine.model import BaseModule
from torch import Tensor

from mmmtl.structures import Logits


@dataclass(frozen=True)
class HeadOutput:
    """The output of a decode head. All fields after `features` are for training alone.

    Attributes:
        logits: {task: (N, task.out_channels, h, w)} of the tasks that are not auxiliary, like `features`.
        features: {task: maps (N, feature_channels[i], h_i, w_i)} that the logits are predicted from.
        preliminary: a dict for each scale, finest first, {task: (N, task.out_channels, h_i, w_i)}; supervised like the
            logits.
        label_space: {task: (N, task.label_space_size, h, w)}, logits of the classes of `Task.discretize`.
        losses: the head's own losses, and values for the log, by name.
    """

    logits: Logits
    features: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    preliminary: Sequence[Logits] = ()
    label_space: Logits = field(default_factory=dict)
    losses: dict[str, Tensor] = field(default_factory=dict)

    def predictions(self) -> dict[str, Logits]:
        """Return {prefix of the loss: predictions} of everything that is supervised like the logits."""
        scales = reversed(list(enumerate(self.preliminary)))
        return {'': self.logits} | {f'preliminary.{i}.': maps for i, maps in scales}


class DecodeHead(BaseModule, ABC):
    """A decoder for all tasks: features in, `HeadOutput` out.

    A segmentor builds every head with `tasks`, with `in_channels` (those of each input map, finest first; the config
    may set them) and, if the neck propagates features between frames, with `num_slots`. `norm_cfg` reaches all parts of
    a head.
    """

    cost_parts: ClassVar[tuple[str, ...]] = ()
    """Children whose costs tools count separately."""
    has_preliminary: ClassVar[bool] = False
    """Whether the head predicts all tasks preliminarily, and the auxiliary ones only so."""

    in_channels: list[int]
    feature_channels: Sequence[int]
    """Channels of `HeadOutput.features`, the same for every task."""

    @abstractmethod
    def forward(self, features: Any) -> HeadOutput:
        """Predict all tasks.

        Args:
            features: maps (N, C, h, w), finest first, shared by all tasks or {task: maps}; or slots of features.
        """

    def check_maps(self, maps: Sequence[Tensor] | Mapping[str, Sequence[Tensor]]) -> None:
        """Refuse maps that differ from `in_channels` in number or channels, or that are not shared by all tasks."""
        if isinstance(maps, Mapping):
            raise ValueError(
                f'{type(self).__name__} reads maps that all tasks share, but each of {sorted(maps)} has its own; leave '
                'out the task_backbone or neck that separates the tasks, or take a head such as MultiScaleHead'
            )
        if (found := [map_.shape[1] for map_ in maps]) != self.in_channels:
            raise ValueError(f'found maps of {found} channels, expected in_channels={self.in_channels}')

    def fold_norm(self) -> None:
        """Fold batch norms in eval mode into convolutions of a kind that mmcv does not know. Do nothing by default."""
