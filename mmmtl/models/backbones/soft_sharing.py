"""A network for every task, and an exchange of features between them after each stage."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.model import ModuleDict
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from mmmtl.checkpoint import part_of
from mmmtl.models.layers import ModuleRow
from mmmtl.registry import MODELS
from mmmtl.tasks import Task

from .maps import feature_channels
from .stages import Maps, split_into_stages
from .task_backbone import TaskBackbone


class SoftSharingBackbone(TaskBackbone):
    """Base of cross-stitch networks and NDDR-CNN: the same backbone once for every task, joined by units.

    After each stage, and for each map of the stage, a unit turns the maps of all tasks into a new one for every task.
    Its weights are named after the tasks, so that their order does not matter.

    Both methods start from networks that were trained for one task each. Their released code trains with SGD, and the
    units with 100 times the learning rate, as does
    `optim_wrapper.paramwise_cfg=dict(custom_keys=dict(units=dict(lr_mult=100.0)))` here. With Adam, whose steps do not
    grow with the gradient, that fails.

    Args:
        backbone: config of a backbone with known stages, see `split_into_stages`.
        pretrained: {task: checkpoint of a model with this backbone}, for any tasks; read when training starts.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        backbone: dict[str, Any],
        pretrained: Mapping[str, str | Path] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.pretrained = dict(pretrained or {})
        if unknown := sorted(self.pretrained.keys() - tasks.keys()):
            raise ValueError(f'pretrained: {unknown} are not among the tasks of this model, {list(tasks)}')
        self.networks = ModuleDict({name: MODELS.build(backbone) for name in tasks})
        some = self.networks[next(iter(tasks))]
        self.feature_channels = feature_channels(some)
        stages = split_into_stages(some).stages
        self.units = ModuleRow(
            ModuleRow([self.build_unit(list(tasks), width) for width in stage.channels]) for stage in stages
        )

    @abstractmethod
    def build_unit(self, tasks: list[str], channels: int) -> nn.Module:
        """Build the unit of one map of one stage: {task: (N, channels, h, w)} to the same."""

    def forward(self, images: Tensor) -> dict[str, Maps]:
        views = {name: split_into_stages(network) for name, network in self.networks.items()}
        maps: dict[str, Maps] = dict.fromkeys(views, (images,))
        found: dict[str, list[Maps]] = {name: [] for name in views}
        for i, units in enumerate(self.units):
            own = {name: view.stages[i](maps[name]) for name, view in views.items()}
            mixed = [unit({name: own[name][branch] for name in own}) for branch, unit in enumerate(units)]
            for name in views:
                maps[name] = tuple(branch[name] for branch in mixed)
                found[name].append(maps[name])
        return {name: view.outputs(found[name]) for name, view in views.items()}

    def init_weights(self) -> None:
        """Initialise the backbones, then load the `pretrained` ones."""
        super().init_weights()
        for name, path in self.pretrained.items():
            checkpoint = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
            network = self.networks[name]
            try:
                network.load_state_dict(part_of(checkpoint, network, 'backbone.'))
            except RuntimeError as error:
                kind = type(network).__name__
                raise ValueError(f'pretrained[{name!r}]: the backbone of {path} is not this {kind}: {error}') from None


def initial_share(own: bool, num_tasks: int, alpha: float) -> float:
    """Return the initial weight of a task's features in a task: alpha in its own, else an equal share of the rest."""
    if num_tasks == 1:
        return 1.0
    return alpha if own else (1 - alpha) / (num_tasks - 1)
