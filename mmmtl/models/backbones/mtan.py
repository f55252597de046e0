"""MTAN: tasks attend to the features of one shared network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmmtl.models.layers import Bottleneck, ModuleMap, ModuleRow
from mmmtl.registry import MODELS
from mmmtl.tasks import Task

from .maps import feature_channels
from .stages import Maps, Stage, same, split_into_stages
from .task_backbone import TaskBackbone

Refine = Literal['conv', 'bottleneck']


class Passage(nn.Module):
    """The paper's f, shared by all tasks. It brings attended features of one stage to the size and width of the next.

    Features are refined before pooling and after upsampling; between an encoder and its decoder, both. `pools` says
    that the stage before ends with pooling, `unpools` that the next one begins with unpooling.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        pools: bool,
        unpools: bool,
        refine: Refine,
        norm_cfg: dict[str, Any],
    ) -> None:
        super().__init__()

        def block(width: int) -> nn.Module:
            if refine == 'conv':
                conv: nn.Module = ConvModule(in_channels, width, 3, padding=1, norm_cfg=norm_cfg)
                return conv
            return Bottleneck(in_channels, width, norm_cfg=norm_cfg)

        self.before = None if unpools and not pools else block(in_channels if unpools else out_channels)
        self.after = block(out_channels) if unpools else None

    def forward(self, attended: Tensor, size: Sequence[int]) -> Tensor:
        """Return (N, out_channels, *size) of attended features (N, in_channels, h, w)."""
        if self.before is not None:
            attended = self.before(attended)
            # Strides of 2 and poolings round up, here and in the network.
            if self.after is not None or attended.shape[-2:] != tuple(size):
                attended = F.max_pool2d(attended, 2, ceil_mode=True)
        if self.after is not None:
            attended = self.after(F.interpolate(attended, tuple(size), mode='bilinear'))
        return attended


@MODELS.register_module()
class MTANBackbone(TaskBackbone):
    """One network, and for every task and stage a mask on the features of its last block.

    With u the maps before the last block of a stage and s those behind it, the attended features of task t are
    a_t = mask_t([u, f(a_t of the stage before)]) * s. The mask is two 1x1 convolutions with norm, a ReLU between them
    and a sigmoid at the end; the tasks share f. The attended features of the last stage are the task's features.

    On SegNet this is figure 2 of the paper, encoder and decoder, and the released code, except that upsampling uses
    align_corners=False as everywhere here. On a ResNet, `reduction=4` and `refine='bottleneck'` are the authors'
    DeepLab variant. Nothing is published for HRNet: here every map of a stage has its own masks, and a new map gets its
    f from the map that it came from. The tasks share what follows the stages (the 1x1 convolution of
    `AlignedBackbone`).

    Args:
        backbone: config of a backbone with known stages, see `split_into_stages`.
        reduction: the hidden layer of a mask has 1 / reduction of the channels of its map.
        refine: f is a 3x3 convolution with norm and ReLU ('conv'), or a residual bottleneck.

    Reference: Liu et al., End-to-End Multi-Task Learning with Attention, CVPR 2019, section 3 and figure 2.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        backbone: dict[str, Any],
        reduction: int = 1,
        refine: Refine = 'conv',
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if refine not in ('conv', 'bottleneck'):
            raise ValueError(f"refine must be 'conv' or 'bottleneck', not {refine!r}")
        norm_cfg = norm_cfg or dict(type='BN')
        self.backbone = MODELS.build(backbone)
        self.feature_channels = feature_channels(self.backbone)
        stages = split_into_stages(self.backbone).stages

        def passage(before: Stage, stage: Stage, branch: int) -> Passage:
            return Passage(
                before.channels[min(branch, len(before.channels) - 1)],
                stage.channels[branch],
                pools=before.pool is not None,
                unpools=stage.unpools,
                refine=refine,
                norm_cfg=norm_cfg,
            )

        def mask(index: int, branch: int) -> nn.Module:
            stage = stages[index]
            width = stage.channels[branch]
            hidden = max(width // reduction, 1)
            return nn.Sequential(
                ConvModule(stage.first_channels[branch] + (width if index else 0), hidden, 1, norm_cfg=norm_cfg),
                ConvModule(hidden, width, 1, norm_cfg=norm_cfg, act_cfg=dict(type='Sigmoid')),
            )

        # From the second stage on.
        self.passages = ModuleRow(
            ModuleRow(passage(before, stage, branch) for branch in range(len(stage.channels)))
            for before, stage in pairwise(stages)
        )
        self.masks = ModuleMap(
            {
                name: ModuleRow(
                    ModuleRow(mask(i, b) for b in range(len(stage.channels))) for i, stage in enumerate(stages)
                )
                for name in tasks
            }
        )

    def forward(self, images: Tensor) -> dict[str, Maps]:
        """Return {task: attended maps}, for the maps that the network returns, of images (N, 3, H, W)."""
        view = split_into_stages(self.backbone)
        shared: Maps = (images,)
        attended: dict[str, list[Maps]] = {name: [] for name in self.masks}
        for i, stage in enumerate(view.stages):
            first = stage.first(shared)
            last = stage.last(first)
            for name, masks in self.masks.items():
                seen = first if i == 0 else self._join(i, first, attended[name][-1])
                attended[name].append(tuple(mask(x) * s for mask, x, s in zip(masks[i], seen, last, strict=True)))
            shared = (stage.pool or same)(last)
        return {name: view.outputs(maps) for name, maps in attended.items()}

    def _join(self, index: int, first: Maps, before: Maps) -> Maps:
        """Return the masks' input: maps before the last block, and attended ones of the stage before."""
        passages = self.passages[index - 1]
        return tuple(
            torch.cat([u, passage(before[min(branch, len(before) - 1)], u.shape[-2:])], dim=1)
            for branch, (u, passage) in enumerate(zip(first, passages, strict=False))
        )
