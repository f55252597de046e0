"""Squeeze-and-excitation: a gate on each channel."""

from __future__ import annotations

from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """Channels weighted by a gate computed from their global means, with C // reduction hidden units (at least 1).

    Reference: Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, equations 2 to 4.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.gate = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        gate: Tensor = self.gate(features.mean(dim=(2, 3), keepdim=True))
        return features * gate
