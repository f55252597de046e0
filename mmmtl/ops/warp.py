"""Warping of maps along an optical flow, and resizing of flows."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import at_least_float32

Border = Literal['zeros', 'border']


def warp(features: Tensor, flow: Tensor, *, border: Border = 'zeros') -> Tensor:
    """Sample another frame's features at the positions to which the flow from this frame points.

    out[:, :, i, j] = features[:, :, i + flow_y[i, j], j + flow_x[i, j]], bilinear between pixels

    Pixel centres are at integers (`align_corners=False` of `grid_sample`). Positions have at least float32, since half
    precision would be wrong by a quarter of a pixel.

    Args:
        features: (N, C, H, W) of the other frame.
        flow: (N, 2, H, W), x to the right and y down, in pixels of this map.
        border: what a position outside the map samples: 'zeros' as in Deep Feature Flow and Accel, or with 'border' the
            nearest pixel.

    Returns:
        (N, C, H, W), dtype of `features`.

    Reference: Zhu et al., Deep Feature Flow for Video Recognition, CVPR 2017, equations 2 and 3.

    Examples:
        >>> flow = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(-1, -1, 1, 4)
        >>> warp(torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]]), flow)
        tensor([[[[2., 3., 4., 0.]]]])
    """
    height, width = features.shape[-2:]
    # `len` would fix the batch of exported programs.
    if flow.shape != (features.shape[0], 2, height, width):
        raise ValueError(f'flow {tuple(flow.shape)} does not fit features {tuple(features.shape)}; use resize_flow')
    dtype = at_least_float32(features)
    ys, xs = (torch.arange(n, device=flow.device, dtype=dtype) for n in (height, width))
    x, y = xs + flow[:, 0].to(dtype), ys[:, None] + flow[:, 1].to(dtype)
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    return F.grid_sample(features.to(dtype), grid, padding_mode=border, align_corners=False).to(features.dtype)


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a flow (N, 2, h, w) to `size` (H, W) and scale it to pixels of the new map.

    The result is bilinear with antialiasing, in at least float32.

    Examples:
        >>> resize_flow(torch.ones(1, 2, 2, 2), (4, 8))[0, :, 0, 0]
        tensor([4., 2.])
    """
    height, width = flow.shape[-2:]
    if (height, width) == size:
        return flow
    # bfloat16 has no antialiasing on a CPU and is too coarse for positions.
    flow = flow.to(at_least_float32(flow))
    x, y = F.interpolate(flow, size, mode='bilinear', antialias=True).unbind(1)
    # Two scalars instead of a tensor, whose copy would synchronize with the GPU.
    return torch.stack([x * (size[1] / width), y * (size[0] / height)], dim=1)
