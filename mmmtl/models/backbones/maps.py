"""The output of any backbone as a tuple of maps, and their channels."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmmtl.models.eval_mode import eval_mode

SIDE = 32
"""Side of the image on which a backbone runs to find its channels."""


def as_maps(output: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the maps (N, C, h, w) of a backbone; mmseg's MobileNetV2 returns a single map as a bare tensor."""
    return (output,) if isinstance(output, Tensor) else tuple(output)


def feature_channels(*parts: nn.Module, last: int = 0) -> tuple[int, ...]:
    """Return the channels of the maps that a backbone, or a backbone and the neck behind it, returns, finest first.

    They are the attribute `feature_channels` of the last part. If it has none, the parts run on a small image, in eval
    mode and without gradients. This changes no weight or statistic and draws no random number.

    Args:
        parts: the backbone, and the neck if there is one.
        last: for how many of the last maps, which alone must be ordered; 0 is all.

    Raises:
        ValueError: the parts fail on the small image, or do not return maps with the finest first.

    Examples:
        >>> feature_channels(nn.Conv2d(3, 8, kernel_size=1))
        (8,)
    """
    declared: Sequence[int] | None = getattr(parts[-1], 'feature_channels', None)
    if declared is not None:
        return tuple(declared[-last:])
    try:
        sizes = [tuple(map_.shape) for map_ in _run(parts, SIDE)[-last:]]
    except Exception as error:
        raise ValueError(
            f'the channels of {type(parts[-1]).__name__} are unknown: it has no attribute `feature_channels`, and an '
            f'image of {SIDE}x{SIDE} pixels fails with: {error!r}. Give it the attribute, or set `in_channels` of the '
            'part that reads its maps'
        ) from error
    if any(len(size) != 4 for size in sizes) or sizes != sorted(sizes, key=lambda size: size[2:], reverse=True):
        raise ValueError(
            f'{type(parts[-1]).__name__} must return maps (N, C, h, w), the finest first, not {sizes}; `out_indices`, '
            'if it has them, choose its maps'
        )
    return tuple(size[1] for size in sizes)


def last_stride(backbone: nn.Module) -> tuple[float, ...] | None:
    """Return the pixels of an image, down and across, for each pixel of the last map of a backbone.

    Like `feature_channels`, this runs the backbone on a small image and changes nothing. The stride of a backbone that
    takes no such image is None.

    Examples:
        >>> last_stride(nn.Conv2d(3, 8, kernel_size=2, stride=2))
        (2.0, 2.0)
    """
    try:
        return tuple(2 * SIDE / side for side in _run([backbone], 2 * SIDE)[-1].shape[-2:])
    except Exception:  # a backbone may raise anything, and need not run here
        return None


def _run(parts: Sequence[nn.Module], side: int) -> tuple[Tensor, ...]:
    """Return the maps that the last of the parts makes of a black image, in eval mode and without gradients."""
    module = nn.ModuleList(parts)
    if any(p.is_meta for p in module.parameters()):
        # Python infers the shapes of some operators on the meta device: slower than running on uninitialised memory.
        module = copy.deepcopy(module).to_empty(device='cpu')
    output: Tensor | tuple[Tensor, ...] = next(module.parameters()).new_zeros(1, 3, side, side)
    with eval_mode(module), torch.random.fork_rng(devices=()):
        for part in module:
            output = as_maps(part(output))
    return as_maps(output)
