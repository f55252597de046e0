"""Features of earlier frames, warped to the current frame by optical flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mmmtl.models.flow import FlowEstimator
from mmmtl.ops import resize_flow, warp
from mmmtl.ops.warp import Border
from mmmtl.registry import MODELS
from mmmtl.structures import Memory
from mmmtl.tasks import Task

from .propagating_neck import PropagatingNeck

IMAGE = 'image'


@MODELS.register_module()
class FlowWarpNeck(PropagatingNeck):
    """A neck that warps the last key frame's features to the current frame.

    The flow goes from the current frame to the remembered one. It is estimated from their images, once for all tasks,
    and resized to the features. It is exact where the images are a multiple of the features' stride, as
    `data_preprocessor.size_divisor` makes them. Elsewhere the last row or column of features reaches beyond the image,
    and the flow is too long by that share.

    In Accel the reference branch warps from frame to frame, and scores are fused. Here each frame warps features
    straight from the key frame and the decoder fuses them, as with `ILANeck`, so that the two can be compared.

    Args:
        flow: config of a `FlowEstimator`: `DISFlow`, which needs no weights, or the papers' `FlowNetS`.
        border: values from outside the image, see `warp`.

    Reference: Jain et al., Accel: A Corrective Fusion Network for Efficient Semantic Segmentation on Video, CVPR 2019;
        MILA, section 4.4.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        flow: dict[str, Any],
        border: Border = 'zeros',
        multi_frame: bool = False,
        task_specific: bool = False,
        reduction: int | None = 16,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            tasks, in_channels, init_cfg, multi_frame=multi_frame, task_specific=task_specific, reduction=reduction
        )
        self.flow: FlowEstimator = MODELS.build(flow)
        self.border = border

    def remember(self, features: Tensor, images: Tensor) -> Memory:
        """Return the features and `image`, which the flow needs."""
        return {**super().remember(features, images), IMAGE: self.flow.prepare(images)}

    def propagate(self, current: Memory, source: Memory) -> dict[str, Tensor]:
        maps = {branch: source[f'{branch}.features'] for branch in self.excite}
        height, width = next(iter(maps.values())).shape[-2:]
        flow = resize_flow(self.flow(current[IMAGE], source[IMAGE]), (height, width))
        return {branch: warp(features, flow, border=self.border) for branch, features in maps.items()}
