"""Features of earlier frames, propagated by a convolution with a predicted kernel for every place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmtl.ops import spatially_variant_conv
from mmmtl.registry import MODELS
from mmmtl.structures import Memory
from mmmtl.tasks import Task

from .propagating_neck import PropagatingNeck


@MODELS.register_module()
class SVCNeck(PropagatingNeck):
    """A neck that brings features from the last key frame by spatially variant convolution.

    Three convolutions predict the kernels: 3x3 to `hidden_channels` for each frame alone, with a remembered result; 3x3
    of both results; and one to the weights of a kernel for each place, which all channels share. A softmax over the
    weights inside the image makes each kernel an average, so that borders are not darker.

    Widths, side and softmax are those of public re-implementations. Their last convolution is 1x1; with 512 channels
    the predictor would have 2.38 M parameters. Ours, 3x3, has 2.55 M (1,179,904 + 1,179,904 + 186,705), which table 7
    of MILA prints as 3M. Li et al. predict from low-level features of both frames. Here slow and fast networks share
    only their last maps, so kernels are predicted from these (after SE, as in `ILANeck`).

    Reference: Li et al., Low-Latency Video Semantic Segmentation, CVPR 2018; MILA, section 4.4, table 7.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        hidden_channels: int = 256,
        kernel_size: int = 9,
        multi_frame: bool = False,
        task_specific: bool = False,
        reduction: int | None = 16,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            tasks, in_channels, init_cfg, multi_frame=multi_frame, task_specific=task_specific, reduction=reduction
        )
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd and positive, not {kernel_size}')
        self.kernel_size = kernel_size
        self.embed = nn.ModuleDict({b: nn.Conv2d(in_channels[-1], hidden_channels, 3, padding=1) for b in self.excite})
        self.predict = nn.ModuleDict(
            {
                branch: nn.Sequential(
                    nn.Conv2d(2 * hidden_channels, hidden_channels, 3, padding=1),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(hidden_channels, kernel_size**2, 3, padding=1),
                )
                for branch in self.excite
            }
        )

    def remember(self, features: Tensor, images: Tensor) -> Memory:
        """Return the features and `<branch>.embedding` (N, hidden_channels, h, w)."""
        memory = super().remember(features, images)
        return memory | {f'{b}.embedding': F.relu(embed(memory[f'{b}.features'])) for b, embed in self.embed.items()}

    def propagate(self, current: Memory, source: Memory) -> dict[str, Tensor]:
        return {
            branch: spatially_variant_conv(source[f'{branch}.features'], self.kernels(branch, current, source))
            for branch in self.predict
        }

    def kernels(self, branch: str, current: Memory, source: Memory) -> Tensor:
        """Return weights (N, kernel_size ** 2, h, w) that sum to 1 and are 0 outside the image."""
        pair = torch.cat([current[f'{branch}.embedding'], source[f'{branch}.embedding']], dim=1)
        logits: Tensor = self.predict[branch](pair)
        height, width = logits.shape[-2:]
        inside = F.unfold(logits.new_ones(1, 1, height, width), self.kernel_size, padding=self.kernel_size // 2)
        return logits.masked_fill(inside.view(1, -1, height, width) == 0, float('-inf')).softmax(dim=1)
