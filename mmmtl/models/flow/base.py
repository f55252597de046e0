"""What a neck that warps asks of an optical flow."""

from __future__ import annotations

from abc import abstractmethod

from mmengine.model import BaseModule
from torch import Tensor


class FlowEstimator(BaseModule):
    """Optical flow from the current frame to a remembered one: the current frame is what the other one is warped to."""

    @abstractmethod
    def prepare(self, images: Tensor) -> Tensor:
        """What is remembered of pictures (N, 3, H, W), normalised as the data preprocessor does; N may be 0."""

    @abstractmethod
    def forward(self, current: Tensor, source: Tensor) -> Tensor:
        """The flow (N, 2, h, w), x to the right and y down in pixels of this map, of any resolution.

        What the current frame has at p, the source has at p + flow(p).

        Args:
            current: what `prepare` made of the current frames.
            source: what it made of the frames to propagate from.
        """
