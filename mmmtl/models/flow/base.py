"""The interface between a warping neck and an optical flow."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor

from mmmtl.models.data_preprocessor import IMAGENET_MEAN, IMAGENET_STD


class FlowEstimator(BaseModule):
    """Optical flow from the current frame to a remembered one, which is warped to the current frame.

    It gets images that the data preprocessor has normalised. The segmentor sets `normalisation` to the preprocessor's
    mean and standard deviation (RGB), from which `prepare` computes the pixels.
    """

    normalisation: tuple[Sequence[float], Sequence[float]] = (IMAGENET_MEAN, IMAGENET_STD)

    @abstractmethod
    def prepare(self, images: Tensor) -> Tensor:
        """Return the memory of images (N, 3, H, W) from the data preprocessor; N may be 0."""

    @abstractmethod
    def forward(self, current: Tensor, source: Tensor) -> Tensor:
        """Return the flow (N, 2, h, w), x to the right and y down in pixels of this map, of any resolution.

        Place p of the current frame shows what place p + flow(p) of the source shows. Both frames come from `prepare`.
        """
