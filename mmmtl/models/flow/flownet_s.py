"""FlowNet-S, the optical flow network that Deep Feature Flow and Accel warp with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmtl.registry import MODELS

from .base import FlowEstimator

UNIT = 20.0
"""Flow at an output of 1, in pixels of the input."""
STRIDE = 4
"""Stride of the finest flow."""


@MODELS.register_module()
class FlowNetS(FlowEstimator):
    """Two images, concatenated along their channels, to a flow of an eighth of their resolution.

    Ten convolutions down to stride 64; four steps up to stride 4, each with a deconvolution of the features and one of
    the flow; and five convolutions that predict a flow: 23 layers, 38.7 M parameters. The first convolution has
    `base_channels`, the others 2, 4, 8, 8 and 16 times as many. The input has half the resolution, as in Deep Feature
    Flow and Accel. Any size works: deconvolved maps are cropped to odd sizes.

    No batch norm, LeakyReLU with slope 0.1. Flows start close to zero; the papers start from weights trained on Flying
    Chairs (`init_cfg`, with the names of this module). These expect x / 255 - `mean` for RGB pixels x, so the module
    undoes the normalisation of the data preprocessor; that of ImageNet makes images 4 times larger.

    Args:
        base_channels: channels of the first convolution.
        mean: mean of the images that the weights were trained on, RGB in 0..1: by default FlowNetPytorch's; (0, 0, 0)
            for weights of Accel.

    Reference: Dosovitskiy et al., FlowNet: Learning Optical Flow with Convolutional Networks, ICCV 2015, figure 2.
    """

    def __init__(
        self,
        *,
        base_channels: int = 64,
        mean: Sequence[float] = (0.45, 0.432, 0.411),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        small = dict(type='Normal', name='predict', std=1e-3)
        random = dict(
            type='Kaiming', layer=['Conv2d', 'ConvTranspose2d'], a=0.1, nonlinearity='leaky_relu', override=small
        )
        super().__init__(random if init_cfg is None else init_cfg)
        self.mean = tuple(mean)
        c = base_channels
        self.stages = nn.ModuleList(
            [
                _conv(6, c, 7, stride=2),
                _conv(c, 2 * c, 5, stride=2),
                nn.Sequential(_conv(2 * c, 4 * c, 5, stride=2), _conv(4 * c, 4 * c, 3)),
                nn.Sequential(_conv(4 * c, 8 * c, 3, stride=2), _conv(8 * c, 8 * c, 3)),
                nn.Sequential(_conv(8 * c, 8 * c, 3, stride=2), _conv(8 * c, 8 * c, 3)),
                nn.Sequential(_conv(8 * c, 16 * c, 3, stride=2), _conv(16 * c, 16 * c, 3)),
            ]
        )
        skips, widths = (8 * c, 8 * c, 4 * c, 2 * c), (8 * c, 4 * c, 2 * c, c)
        # Each step up reads features of the way down, features from below and the flow from below.
        inputs = (16 * c, *(skip + width + 2 for skip, width in zip(skips, widths, strict=True)))
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=False), nn.LeakyReLU(0.1, inplace=True))
            for a, b in zip(inputs, widths, strict=False)
        )
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1, bias=False) for _ in widths)
        self.predict = nn.ModuleList(nn.Conv2d(width, 2, 3, padding=1) for width in inputs)

    def prepare(self, images: Tensor) -> Tensor:
        """Return x / 255 - mean of the pixels x, at half resolution, rounded up."""
        means, deviations = self.normalisation
        scale = [deviation / 255 for deviation in deviations]
        shift = [mean / 255 - own for mean, own in zip(means, self.mean, strict=True)]
        halved = F.avg_pool2d(images, 2, ceil_mode=True)
        return halved * halved.new_tensor(scale).view(3, 1, 1) + halved.new_tensor(shift).view(3, 1, 1)

    def forward(self, current: Tensor, source: Tensor) -> Tensor:
        features = torch.cat([current, source], dim=1)
        maps = []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        flow: Tensor = self.predict[0](features)
        for skip, up, enlarge, predict in zip(maps[-2:0:-1], self.up, self.enlarge, self.predict[1:], strict=True):
            height, width = skip.shape[-2:]
            features = torch.cat([skip, up(features)[..., :height, :width], enlarge(flow)[..., :height, :width]], dim=1)
            flow = predict(features)
        return flow * (UNIT / STRIDE)


def _conv(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2),
        nn.LeakyReLU(0.1, inplace=True),
    )
