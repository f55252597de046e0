"""OpenCV's DIS optical flow: no weights, on the CPU."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from mmmtl.io.images import LUMA
from mmmtl.registry import MODELS

from .base import FlowEstimator

PRESETS = dict(
    ultrafast=(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST, 32),
    fast=(cv2.DISOPTICAL_FLOW_PRESET_FAST, 32),
    medium=(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM, 16),
)
"""OpenCV's presets, and the smallest sides of their images; on some smaller ones, OpenCV reads outside their memory."""


@MODELS.register_module()
class DISFlow(FlowEstimator):
    """Dense inverse search on grey images of full resolution, for warping without trained weights.

    It has no parameters and passes no gradient. Each row is computed on the CPU, so on a GPU every frame waits for the
    images to come down and the flow to go up. Its work is not counted as MACs. OpenCV's presets go from fast to exact.

    Reference: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016.
    """

    def __init__(
        self, *, preset: Literal['ultrafast', 'fast', 'medium'] = 'medium', init_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__(init_cfg)
        if preset not in PRESETS:
            raise ValueError(f'preset must be one of {list(PRESETS)}, not {preset!r}')
        self.preset, self.smallest = PRESETS[preset]

    def prepare(self, images: Tensor) -> Tensor:
        """Return the images without normalisation, grey: (N, 1, H, W) uint8."""
        mean, std = (images.new_tensor(values, dtype=torch.float32).view(3, 1, 1) for values in self.normalisation)
        colours = images.float() * std + mean
        grey = (colours * images.new_tensor(LUMA, dtype=torch.float32).view(3, 1, 1)).sum(dim=1, keepdim=True)
        return grey.round().clamp(0, 255).to(torch.uint8)

    def forward(self, current: Tensor, source: Tensor) -> Tensor:
        if min(current.shape[-2:]) < self.smallest:
            raise ValueError(
                f'DISFlow of this preset needs images of at least {self.smallest}x{self.smallest} pixels, not '
                f'{tuple(current.shape[-2:])}'
            )
        flow: Tensor = torch.ops.mmmtl.dis_flow(current, source, self.preset)
        return flow


# An operator, so that meta and compiled models know its output shape.
@torch.library.custom_op(
    'mmmtl::dis_flow', mutates_args=(), schema='(Tensor current, Tensor source, int preset) -> Tensor'
)
def _dis_flow(current: Tensor, source: Tensor, preset: int) -> Tensor:
    pairs = zip(*(images[:, 0].cpu().numpy() for images in (current, source)), strict=True)
    dis: Any = cv2.DISOpticalFlow
    # A new estimator for each pair: it keeps earlier results, and the next flow would depend on them.
    flows = [dis.create(preset).calc(first, second, None) for first, second in pairs]
    return torch.from_numpy(np.ascontiguousarray(np.stack(flows).transpose(0, 3, 1, 2))).to(current.device)


@_dis_flow.register_fake
def _(current: Tensor, source: Tensor, preset: int) -> Tensor:
    return current.new_empty((len(current), 2, *current.shape[2:]), dtype=torch.float32)
