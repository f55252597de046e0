"""The output of any backbone as a tuple of maps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def as_maps(output: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The maps (N, C, h, w) of a backbone; with one of `out_indices`, mmseg's MobileNetV2 gives a bare tensor."""
    return (output,) if isinstance(output, Tensor) else tuple(output)
