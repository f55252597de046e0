"""Fitting of images to the size that a model sees, and of its maps to the size that a user wants."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from mmmtl.io.images import resize_image
from mmmtl.structures import Array
from mmmtl.structures.array import is_size

Size = tuple[int, int]
FitSize = Size | Literal['input', 'letterbox', 'model'] | None

MEAN_COLOUR = (104, 116, 124)
"""The mean colour of ImageNet, BGR, which is near 0 for a model."""


class Fitted(NamedTuple):
    """An image for the model.

    Args:
        inputs: (h, w, 3) uint8 BGR, what the model sees.
        shown: (height, width) of `inputs` without the bars of a letterbox.
        image: (H, W, 3) uint8 BGR, the image at the size of its maps. It may share memory with `inputs`, never with
            what was given.
    """

    inputs: Array
    shown: Size
    image: Array


def check_fit(size: FitSize, model_size: Size | None) -> None:
    """Refuse a `size` that is not one of the names or (height, width), or that needs the model's size."""
    if size == 'letterbox' and model_size is None:
        raise ValueError(
            "size='letterbox' needs the model's size, but the test pipeline has no Resize; take size='input'"
        )
    if size in ('input', 'letterbox', 'model', None):
        return
    if not is_size(size):
        raise ValueError(f"size must be 'input', 'letterbox', 'model', (height, width) or None, not {size!r}")


def fit_image(image: Array, size: FitSize, model_size: Size | None) -> Fitted:
    """Bring an image (H, W, 3) to what `MultiTaskInferencer(size=...)` asks for."""
    # The caller may reuse its memory for the next frame before the model sees this one.
    image = image.copy()
    if size in ('input', 'letterbox') and model_size is not None:
        inside = fit_inside((image.shape[0], image.shape[1]), model_size)
        inputs = resize_image(image, inside)
        if size == 'letterbox':
            bars = np.full((*model_size, 3), MEAN_COLOUR, dtype=np.uint8)
            bars[: inside[0], : inside[1]] = inputs
            inputs = bars
        return Fitted(inputs, inside, image)
    target = model_size if size == 'model' else size if isinstance(size, (tuple, list)) else None
    resized = image if target is None else resize_image(image, (target[0], target[1]))
    return Fitted(resized, (resized.shape[0], resized.shape[1]), resized)


def fit_inside(size: Size, box: Size) -> Size:
    """Return the largest (height, width) of the same aspect that fits into a box.

    Examples:
        >>> fit_inside((360, 480), (64, 128))
        (64, 85)
    """
    scale = min(box[0] / size[0], box[1] / size[1])
    height, width = (min(limit, max(1, round(side * scale))) for side, limit in zip(size, box, strict=True))
    return height, width
