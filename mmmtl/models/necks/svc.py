"""Features of earlier frames, propagated by a convolution whose kernel is predicted for every place."""

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

from .task_memory_neck import TaskMemoryNeck


@MODELS.register_module()
class SVCNeck(TaskMemoryNeck):
    """Features of each task, beside those that spatially variant convolution brings from the last key frame.

    Three convolutions predict the kernels: 3x3 to `hidden_channels` of each frame alone, whose result is remembered,
    3x3 of both frames' results together, and one to the weights of a kernel for each place, which all channels share.
    A softmax over the weights inside the image makes each kernel an average, so that borders are not darker.

    Widths, side and softmax are those of public re-implementations; the last convolution is 1x1 there.
    Li et al. predict from low-level features of both frames. Here slow and fast networks have only their last maps in
    common, so it is those (after SE, as `ILANeck` takes them).

    With 512 channels the predictor has 2.55 M parameters, which table 7 of MILA prints as 3M: 1,179,904 + 1,179,904 +
    186,705. A last convolution of 1x1 would make it 2.38 M.

    Args:
        tasks: given by the segmentor.
        in_channels: (C,) of the shared features; by default those of the backbone.
        hidden_channels: of the first two convolutions.
        kernel_size: side of the predicted kernels, odd.
        multi_frame: also propagate from the last non-key frame, to key frames too.
        task_specific: an own SE and predictor for each task; otherwise all tasks share one.
        reduction: of the SE blocks; None leaves them out.

    Raises:
        ValueError: an even `kernel_size`.

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
        """Beside the features, `<branch>.embedding` (N, hidden_channels, h, w)."""
        memory = super().remember(features, images)
        embedded = {f'{b}.embedding': F.relu(embed(memory[f'{b}.features'])) for b, embed in self.embed.items()}
        return {**memory, **embedded}

    def propagate(self, current: Memory, source: Memory) -> dict[str, Tensor]:
        """See `TaskMemoryNeck`."""
        return {
            branch: spatially_variant_conv(source[f'{branch}.features'], self.kernels(branch, current, source))
            for branch in self.predict
        }

    def kernels(self, branch: str, current: Memory, source: Memory) -> Tensor:
        """Weights (N, kernel_size ** 2, h, w) that sum to 1, and are 0 for neighbours outside the image."""
        pair = torch.cat([current[f'{branch}.embedding'], source[f'{branch}.embedding']], dim=1)
        logits: Tensor = self.predict[branch](pair)
        height, width = logits.shape[-2:]
        inside = F.unfold(logits.new_ones(1, 1, height, width), self.kernel_size, padding=self.kernel_size // 2)
        return logits.masked_fill(inside.view(1, -1, height, width) == 0, float('-inf')).softmax(dim=1)
