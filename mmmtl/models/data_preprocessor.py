"""Batches of normalised, padded images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmmtl.registry import MODELS
from mmmtl.tasks import Task

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@MODELS.register_module()
class MultiTaskDataPreprocessor(BaseDataPreprocessor):
    """Conversion of uint8 BGR images or clips to a float32 RGB batch.

    `inputs` becomes (N, 3, H, W), or (N, 3, 3, H, W) for clips of three frames: normalised with `mean` and `std` (RGB,
    by default those of ImageNet), then padded with 0 at the bottom and the right to a multiple of `size_divisor`. In
    training, all are padded to the largest of the batch. Label maps do not change; a loss pads them with `pad` to the
    `padded_shape` (H, W), which `data_samples` get here.

    Outside training, several padded sizes are refused: predictions of the smaller images would depend on the batch.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        size_divisor: int = 1,
    ) -> None:
        super().__init__()
        self.tasks = tasks
        self.normalisation = tuple(mean), tuple(std)
        self.size_divisor = size_divisor
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        data = self.cast_data(data)
        padded = {self.padded_size(image.shape[-2:]) for image in data['inputs']}
        if not training and len(padded) > 1:
            raise ValueError(
                f'the images of a batch have the sizes {sorted(padded)} (padded height, width); predict each size '
                "separately, as the model's test_step does, or resize the images in the pipeline"
            )
        images = [(image.flip(-3).float() - self.mean) / self.std for image in data['inputs']]
        size = tuple(max(sides) for sides in zip(*padded, strict=True))
        data['inputs'] = torch.stack([pad(image, size, 0.0) for image in images])
        for sample in data.get('data_samples') or []:
            sample.set_metainfo({'padded_shape': size})
        return data

    def padded_size(self, size: Sequence[int]) -> tuple[int, int]:
        """Return the (H, W) that an image or a clip of `size` (H, W) gets alone."""
        return round_up(size[0], self.size_divisor), round_up(size[1], self.size_divisor)


def round_up(number: int, divisor: int) -> int:
    """Return the smallest multiple of `divisor` that is at least `number`."""
    return -(-number // divisor) * divisor


def pad(tensor: Tensor, size: Sequence[int], value: float) -> Tensor:
    """Pad (..., H, W) at the bottom and the right to `size`; refuse a tensor that is larger."""
    below, right = size[0] - tensor.shape[-2], size[1] - tensor.shape[-1]
    if below < 0 or right < 0:
        raise ValueError(
            f'cannot pad {tuple(tensor.shape[-2:])} to {tuple(size)} (height, width); if only the images were '
            'resized, remove Resize(maps=False) from the training pipeline'
        )
    return F.pad(tensor, (0, right, 0, below), value=value)
