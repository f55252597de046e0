"""MobileNetV2 and MobileNetV3-small with a choice of output stride, under the parameter names of mmseg.

Both pad on all sides alike, as those of torchvision do. mmseg's MobileNetV3 does not compute what torchvision's weights
were trained for: it pads as TensorFlow does and dilates the kernels that lose their stride.
timm has both with `output_stride`, under other names of the parameters and as one more requirement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.functional import hardsigmoid

from mmmtl.registry import MODELS

from .output_stride import set_output_stride

InitCfg = dict[str, Any] | list[dict[str, Any]]


class MobileNet(BaseModule):
    """Layers that run one after the other, the first a stem of stride 2; the maps of some are returned.

    Args:
        layers: The layers by the names under which their parameters are saved.
        choices: Names of the layers whose maps can be returned.
        out_indices: Which of them are returned, counted from 0.
        output_stride: Stride of the last map: 32, 16 or 8. Trained weights keep their meaning (`set_output_stride`).
        init_cfg: Initial weights, by default He's for convolutions.
    """

    def __init__(
        self,
        layers: dict[str, nn.Module],
        *,
        choices: Sequence[str],
        out_indices: Sequence[int],
        output_stride: int,
        init_cfg: InitCfg | None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        for name, layer in layers.items():
            self.add_module(name, layer)
        if not out_indices or not set(out_indices) <= set(range(len(choices))):
            raise ValueError(f'out_indices={tuple(out_indices)}: expected some of 0 to {len(choices) - 1}')
        self.returned = [choices[i] for i in sorted(out_indices)]
        _, *rest = layers.values()
        set_output_stride(rest, stem_stride=2, output_stride=output_stride)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return maps (N, C, h, w) of images (N, 3, H, W), finest first."""
        maps = {}
        features = images
        for name, layer in self.named_children():
            features = maps[name] = layer(features)
        return tuple(maps[name] for name in self.returned)


@MODELS.register_module()
class MobileNetV2(MobileNet):
    """MobileNetV2 up to its last block; the maps of its seven layers have the strides 2, 4, 8, 16, 16, 32 and 32.

    Reference: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018, table 2.

    Args:
        output_stride: Stride of the last map: 32, 16 or 8.
        out_indices: The layers whose maps are returned, counted from 0.
        widen_factor: Factor of all channels, which are then rounded to multiples of 8.
        init_cfg: Initial weights.
    """

    def __init__(
        self,
        *,
        output_stride: int = 32,
        out_indices: Sequence[int] = (1, 2, 4, 6),
        widen_factor: float = 1.0,
        init_cfg: InitCfg | None = None,
    ) -> None:
        width = round_channels(32 * widen_factor)
        layers: dict[str, nn.Module] = dict(
            conv1=ConvModule(3, width, 3, stride=2, padding=1, norm_cfg=NORM, act_cfg=dict(type='ReLU6'))
        )
        for i, (expansion, channels, blocks, stride) in enumerate(V2_LAYERS, 1):
            layer = []
            for step in (stride, *[1] * (blocks - 1)):
                previous, width = width, round_channels(channels * widen_factor)
                layer.append(InvertedResidualV2(previous, width, stride=step, expansion=expansion))
            layers[f'layer{i}'] = nn.Sequential(*layer)
        _, *choices = layers
        super().__init__(
            layers, choices=choices, out_indices=out_indices, output_stride=output_stride, init_cfg=init_cfg
        )


@MODELS.register_module()
class MobileNetV3Small(MobileNet):
    """MobileNetV3-small up to its last convolution.

    The maps of its 13 layers have the strides 2, 4, 8, 8, five times 16, and four times 32.

    Reference: Howard et al., Searching for MobileNetV3, ICCV 2019, table 2.

    Args:
        output_stride: Stride of the last map: 32, 16 or 8.
        out_indices: The layers whose maps are returned, counted from 0.
        init_cfg: Initial weights.
    """

    def __init__(
        self,
        *,
        output_stride: int = 32,
        out_indices: Sequence[int] = (1, 3, 8, 12),
        init_cfg: InitCfg | None = None,
    ) -> None:
        width = 16
        layers: dict[str, nn.Module] = dict(
            layer0=ConvModule(3, width, 3, stride=2, padding=1, norm_cfg=NORM, act_cfg=dict(type='HSwish'))
        )
        for i, (kernel, hidden, channels, gated, activation, stride) in enumerate(V3_SMALL_LAYERS, 1):
            layers[f'layer{i}'] = InvertedResidualV3(
                width, hidden, channels, kernel=kernel, stride=stride, gated=gated, activation=activation
            )
            width = channels
        layers['layer12'] = ConvModule(width, 576, 1, norm_cfg=NORM, act_cfg=dict(type='HSwish'))
        super().__init__(
            layers, choices=tuple(layers), out_indices=out_indices, output_stride=output_stride, init_cfg=init_cfg
        )


class InvertedResidualV2(nn.Module):
    """Wide depthwise convolution between two 1x1 convolutions, the last one linear, with a shortcut if shapes allow."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        relu6 = dict(type='ReLU6')
        widening = [ConvModule(in_channels, hidden, 1, norm_cfg=NORM, act_cfg=relu6)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *widening,
            ConvModule(hidden, hidden, 3, stride, padding=1, groups=hidden, norm_cfg=NORM, act_cfg=relu6),
            ConvModule(hidden, out_channels, 1, norm_cfg=NORM, act_cfg=None),
        )
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, features: Tensor) -> Tensor:
        """Return a map (N, out_channels, h, w) of one (N, in_channels, H, W)."""
        out: Tensor = self.conv(features)
        return features + out if self.has_shortcut else out


class InvertedResidualV3(nn.Module):
    """The block of MobileNetV2 with a choice of kernel and activation, and a gate on the hidden channels."""

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        *,
        kernel: int,
        stride: int,
        gated: bool,
        activation: str,
    ) -> None:
        super().__init__()
        act_cfg = dict(type=activation)
        if hidden != in_channels:
            self.expand_conv = ConvModule(in_channels, hidden, 1, norm_cfg=NORM, act_cfg=act_cfg)
        self.depthwise_conv = ConvModule(
            hidden, hidden, kernel, stride, padding=kernel // 2, groups=hidden, norm_cfg=NORM, act_cfg=act_cfg
        )
        if gated:
            self.se = ChannelGate(hidden)
        self.linear_conv = ConvModule(hidden, out_channels, 1, norm_cfg=NORM, act_cfg=None)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, features: Tensor) -> Tensor:
        """Return a map (N, out_channels, h, w) of one (N, in_channels, H, W)."""
        out = features
        for layer in self.children():
            out = layer(out)
        return features + out if self.has_shortcut else out


class ChannelGate(nn.Module):
    """Squeeze-and-excitation with a quarter of the channels in between and the hard sigmoid of MobileNetV3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = round_channels(channels / 4)
        self.conv1 = ConvModule(channels, hidden, 1, act_cfg=dict(type='ReLU'))
        self.conv2 = ConvModule(hidden, channels, 1, act_cfg=None)

    def forward(self, features: Tensor) -> Tensor:
        """Return the map (N, C, h, w) with each channel weighted."""
        gate = self.conv2(self.conv1(features.mean(dim=(2, 3), keepdim=True)))
        return features * hardsigmoid(gate)


def round_channels(channels: float) -> int:
    """Return the nearest multiple of 8 that is at least 8 and loses at most a tenth.

    Examples:
        >>> round_channels(30), round_channels(60), round_channels(3), round_channels(11)
        (32, 64, 8, 16)
    """
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


NORM = dict(type='BN')
V2_LAYERS = (
    # expansion, channels, blocks, stride of the first block
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
V3_SMALL_LAYERS = (
    # kernel, hidden channels, channels, gate, activation, stride
    (3, 16, 16, True, 'ReLU', 2),
    (3, 72, 24, False, 'ReLU', 2),
    (3, 88, 24, False, 'ReLU', 1),
    (5, 96, 40, True, 'HSwish', 2),
    (5, 240, 40, True, 'HSwish', 1),
    (5, 240, 40, True, 'HSwish', 1),
    (5, 120, 48, True, 'HSwish', 1),
    (5, 144, 48, True, 'HSwish', 1),
    (5, 288, 96, True, 'HSwish', 2),
    (5, 576, 96, True, 'HSwish', 1),
    (5, 576, 96, True, 'HSwish', 1),
)
