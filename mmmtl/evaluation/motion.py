"""Motion between two frames for temporal metrics: flow, visibility, and warping.

Flows are (2, H, W) in pixels, x to the right and y down, from the first frame to the second: pixel p of the first frame
moves to p + flow[p] in the second.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.models.flow import DISFlow
from mmmtl.ops import warp


def estimate_flow(first: Tensor, second: Tensor) -> Tensor:
    """Estimate the flow between two grey images (H, W) uint8 with `DISFlow`, in float32."""
    flow: Tensor = DISFlow()(first[None, None].contiguous(), second[None, None].contiguous())[0]
    return flow


def resize_exact_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a flow, NaN where unknown, to `size` (H, W) by the nearest pixel, so that motions do not mix."""
    height, width = flow.shape[-2:]
    if (height, width) == size:
        return flow
    scale = flow.new_tensor([size[1] / width, size[0] / height]).view(2, 1, 1)
    return F.interpolate(flow[None], size, mode='nearest-exact')[0] * scale


def follow(maps: Tensor, flow: Tensor) -> Tensor:
    """Return the second frame's maps (M, H, W) at p + flow[p], for each pixel p of the first frame.

    Floating-point maps are sampled bilinearly and classes at the nearest pixel. Values are meaningless where the flow
    leaves the image.
    """
    if maps.is_floating_point():
        return warp(maps.double()[None], flow.double()[None], border='border')[0].to(maps.dtype)
    height, width = maps.shape[-2:]
    x, y = _targets(flow)
    return maps[:, y.round().long().clamp(0, height - 1), x.round().long().clamp(0, width - 1)]


def inside(flow: Tensor) -> Tensor:
    """Return (H, W) bool, True where p + flow[p] lies in the image; False where the flow is NaN."""
    height, width = flow.shape[-2:]
    x, y = _targets(flow)
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def forward_backward_visible(forward: Tensor, backward: Tensor) -> Tensor:
    """Return (H, W) bool, True where a pixel of the first frame is visible in the second.

    It is if the backward flow b at p + f returns it: |f + b|^2 <= 0.01 (|f|^2 + |b|^2) + 0.5.

    Reference: Sundaram et al., Dense Point Trajectories by GPU-accelerated Large Displacement Optical Flow, ECCV 2010,
    equation 5.
    """
    back = warp(backward.double()[None], forward.double()[None], border='border')[0]
    missed = (forward + back).square().sum(0)
    return inside(forward) & (missed <= 0.01 * (forward.square().sum(0) + back.square().sum(0)) + 0.5)


def collision_free(flow: Tensor) -> Tensor:
    """Return (H, W) bool, True where no pixel with another motion arrives at the same pixel of the second frame.

    This replaces `forward_backward_visible` for an exact flow without a backward flow. Where pixels meet whose flows
    differ by more than 1 in x or y, one surface hides the other, and neither counts.
    """
    there = inside(flow)
    width = flow.shape[-1]
    x, y = (coordinate[there].round().long() for coordinate in _targets(flow))
    motion, cell = flow[:, there], (y * width + x).expand(2, -1)
    lowest, highest = (
        flow.new_zeros(2, flow[0].numel()).scatter_reduce(1, cell, motion, reduction, include_self=False)
        for reduction in ('amin', 'amax')
    )
    free = torch.zeros_like(there)
    free[there] = ((highest - lowest).amax(0) <= 1)[cell[0]]
    return free


def _targets(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Return the x and y that the pixels move to, each (H, W) float64."""
    ys, xs = (torch.arange(n, device=flow.device, dtype=torch.float64) for n in flow.shape[-2:])
    return xs + flow[0], ys[:, None] + flow[1]
