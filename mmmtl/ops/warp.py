"""Warping a map along an optical flow, and bringing a flow to another resolution."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import at_least_float32

Border = Literal['zeros', 'border']


def warp(features: Tensor, flow: Tensor, *, border: Border = 'zeros') -> Tensor:
    """What a frame sees of the features of another one, given the flow from this frame to that one.

    out[:, :, i, j] = features[:, :, i + flow_y[i, j], j + flow_x[i, j]], bilinear between pixels

    Flows count in pixels, whose centres lie at whole numbers (`align_corners=False` of `grid_sample`). Positions are
    computed in float32 at least: in half precision they would miss by a quarter of a pixel.

    Args:
        features: (N, C, H, W), of the frame to propagate from.
        flow: (N, 2, H, W), x to the right and y down, in pixels of this map.
        border: 'zeros': what comes from outside is zero, as in Deep Feature Flow and Accel. 'border': it is the
            nearest pixel.

    Returns:
        (N, C, H, W), dtype of `features`.

    Raises:
        ValueError: the flow does not fit the features.

    Reference: Zhu et al., Deep Feature Flow for Video Recognition, CVPR 2017, equations 2 and 3.
    """
    height, width = features.shape[-2:]
    if flow.shape != (len(features), 2, height, width):
        raise ValueError(f'a flow of shape {tuple(flow.shape)} for features of {tuple(features.shape)}; resize_flow')
    dtype = at_least_float32(features)
    ys, xs = (torch.arange(n, device=flow.device, dtype=dtype) for n in (height, width))
    x, y = xs + flow[:, 0].to(dtype), ys[:, None] + flow[:, 1].to(dtype)
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    return F.grid_sample(features.to(dtype), grid, padding_mode=border, align_corners=False).to(features.dtype)


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """A flow (N, 2, h, w) in pixels of its map, as one of `size` (H, W) in pixels of that.

    Bilinear, and an average where the flow becomes smaller; in float32 at least.
    """
    height, width = flow.shape[-2:]
    if (height, width) == size:
        return flow
    # There is no antialiasing in bfloat16 on a CPU, nor are its pixels fine enough.
    flow = flow.to(at_least_float32(flow))
    x, y = F.interpolate(flow, size, mode='bilinear', antialias=True).unbind(1)
    # Two scalars, not a tensor of them, for whose copy a GPU would be waited for.
    return torch.stack([x * (size[1] / width), y * (size[0] / height)], dim=1)
