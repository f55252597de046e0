"""The output of any backbone as a tuple of maps, and their channels."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

SIDE = 32
"""Side of the image on which a backbone runs to find its channels."""


def as_maps(output: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the maps (N, C, h, w) of a backbone; mmseg's MobileNetV2 returns a single map as a bare tensor."""
    return (output,) if isinstance(output, Tensor) else tuple(output)


def feature_channels(module: nn.Module) -> tuple[int, ...]:
    """Return the channels of the maps that a backbone or neck returns, finest first.

    They are its attribute `feature_channels`. A module without it is treated as a backbone and runs on a small image,
    in eval mode and without gradients. This changes no weight or statistic and draws no random number.

    Examples:
        >>> feature_channels(nn.Conv2d(3, 8, kernel_size=1))
        (8,)
    """
    declared: Sequence[int] | None = getattr(module, 'feature_channels', None)
    if declared is not None:
        return tuple(declared)
    if any(p.is_meta for p in module.parameters()):
        # Python infers the shapes of some operators on the meta device: slower than running on uninitialised memory.
        module = copy.deepcopy(module).to_empty(device='cpu')
    training = {child: child.training for child in module.modules()}
    module.eval()  # returns None for mmseg's ResNet
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            maps = as_maps(module(next(module.parameters()).new_zeros(1, 3, SIDE, SIDE)))
    except Exception as error:
        raise ValueError(
            f'the channels of {type(module).__name__} are unknown: it has no attribute `feature_channels`, and on an '
            f'image of {SIDE}x{SIDE} pixels it fails with: {error}. Give it the attribute, or set `in_channels` of '
            'the part that reads its maps'
        ) from error
    finally:
        for child, mode in training.items():
            child.training = mode
    return tuple(m.shape[1] for m in maps)
