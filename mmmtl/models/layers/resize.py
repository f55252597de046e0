"""Bilinear resizing of maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def resize(features: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (N, C, h, w) to the given (h, w), bilinearly."""
    return features if features.shape[-2:] == tuple(size) else F.interpolate(features, tuple(size), mode='bilinear')
