"""OpenCV's DIS optical flow: no weights, on the CPU."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from mmmtl.models.data_preprocessor import IMAGENET_MEAN, IMAGENET_STD
from mmmtl.registry import MODELS

from .base import FlowEstimator

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""
PRESETS = dict(
    ultrafast=cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    fast=cv2.DISOPTICAL_FLOW_PRESET_FAST,
    medium=cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
)
SMALLEST = dict(ultrafast=32, fast=32, medium=16)
"""Sides of pictures; with less, OpenCV reads outside the memory of some."""


@MODELS.register_module()
class DISFlow(FlowEstimator):
    """Dense inverse search on grey pictures of full resolution: what warps before there are weights for a network.

    It has no parameters and passes no gradient. Each row is computed on the CPU, so on a GPU every frame waits for the
    pictures to come down and the flow to go up. Its work is not counted as MACs.

    Args:
        preset: OpenCV's, from fast to exact: 'ultrafast', 'fast', 'medium'.

    Raises:
        ValueError: an unknown preset, or pictures with a side of less than 16 pixels ('fast' and 'ultrafast': 32).

    Reference: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016.
    """

    def __init__(
        self, *, preset: Literal['ultrafast', 'fast', 'medium'] = 'medium', init_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__(init_cfg)
        if preset not in PRESETS:
            raise ValueError(f'preset must be one of {list(PRESETS)}, not {preset!r}')
        self.preset = PRESETS[preset]
        self.smallest = SMALLEST[preset]

    def prepare(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) uint8: the pictures without normalisation, grey."""
        colours = images.float() * images.new_tensor(IMAGENET_STD, dtype=torch.float32).view(3, 1, 1)
        colours = colours + images.new_tensor(IMAGENET_MEAN, dtype=torch.float32).view(3, 1, 1)
        grey = (colours * images.new_tensor(LUMA, dtype=torch.float32).view(3, 1, 1)).sum(dim=1, keepdim=True)
        return grey.round().clamp(0, 255).to(torch.uint8)

    def forward(self, current: Tensor, source: Tensor) -> Tensor:
        """See `FlowEstimator`; (N, 2, H, W) float32."""
        if min(current.shape[-2:]) < self.smallest:
            raise ValueError(
                f'DISFlow of this preset needs pictures of {self.smallest}x{self.smallest} pixels at least, not '
                f'{tuple(current.shape[-2:])}'
            )
        flow: Tensor = torch.ops.mmmtl.dis_flow(current, source, self.preset)
        return flow


def _estimate(current: np.ndarray, source: np.ndarray, preset: int) -> np.ndarray:
    # A new one each time: it keeps what it computed before, and the next pair would depend on that.
    estimator: Any = cv2.DISOpticalFlow.create(preset)
    flow: np.ndarray = estimator.calc(current, source, None)
    return flow


# An operator, so that a model on the meta device and a compiled one know its shape.
@torch.library.custom_op(
    'mmmtl::dis_flow', mutates_args=(), schema='(Tensor current, Tensor source, int preset) -> Tensor'
)
def _dis_flow(current: Tensor, source: Tensor, preset: int) -> Tensor:
    pairs = zip(*(pictures[:, 0].cpu().numpy() for pictures in (current, source)), strict=True)
    flows = [_estimate(first, second, preset) for first, second in pairs]
    return torch.from_numpy(np.ascontiguousarray(np.stack(flows).transpose(0, 3, 1, 2))).to(current.device)


@_dis_flow.register_fake
def _(current: Tensor, source: Tensor, preset: int) -> Tensor:
    return current.new_empty((len(current), 2, *current.shape[2:]), dtype=torch.float32)
