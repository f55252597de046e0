"""mmseg's ResNet with a choice of output stride."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from mmmtl.registry import MODELS

from .output_stride import set_output_stride


@MODELS.register_module('ResNet')
def build_resnet(
    *,
    depth: int,
    output_stride: int = 32,
    style: str = 'pytorch',
    deep_stem: bool = False,
    stem_channels: int = 64,
    base_channels: int = 64,
    out_indices: Sequence[int] = (0, 1, 2, 3),
    norm_cfg: dict[str, Any] | None = None,
    norm_eval: bool = False,
    init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
) -> nn.Module:
    """Return mmseg's ResNet of this depth, whose last map has the output stride 32, 16 or 8.

    At 16 and 8 the weights mean what they mean at 32 (`set_output_stride`). mmseg's own arguments reach this for
    Bottleneck blocks, with `contract_dilation=True` where `style='pytorch'`, but not for the BasicBlocks of ResNet-18
    and 34. Parameters, their names and the cost are the same.

    Args:
        depth: 18, 34, 50, 101 or 152.
        output_stride: Stride of the last map.
        style: Where a Bottleneck strides: in its 3x3 convolution ('pytorch') or in the 1x1 before it ('caffe').
        deep_stem: Whether three 3x3 convolutions stand in place of the 7x7 one.
        stem_channels: Channels of the stem.
        base_channels: Channels of the first stage, before the expansion of its blocks.
        out_indices: The stages whose maps are returned, counted from 0.
        norm_cfg: Normalisation, by default batch norm.
        norm_eval: Whether batch norm keeps its statistics in training.
        init_cfg: Initial weights.
    """
    from mmseg.models.backbones import ResNet  # slow to import

    net = ResNet(
        depth=depth,
        style=style,
        deep_stem=deep_stem,
        stem_channels=stem_channels,
        base_channels=base_channels,
        out_indices=tuple(out_indices),
        norm_cfg=norm_cfg or dict(type='BN'),
        norm_eval=norm_eval,
        init_cfg=init_cfg,
    )
    layers = [getattr(net, name) for name in net.res_layers]
    set_output_stride(layers, stem_stride=4, output_stride=output_stride)
    return net  # type: ignore[no-any-return]
