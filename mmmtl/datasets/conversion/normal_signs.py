"""Axes of stored normals, found from the depth of the same images or from the view of the camera."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

from mmmtl.datasets import MultiTaskDataset
from mmmtl.datasets.samplers import evenly_spread
from mmmtl.structures import Array

FX_PER_WIDTH = 519 / 640
"""The focal length of NYU Depth v2's camera."""
DOUBTFUL = 30.0
SAMPLES = 20
"""Images whose normals are looked at."""


class NormalSigns(NamedTuple):
    """Factors of x, y, z that turn stored normals into those computed from depth, and the median angle between them."""

    signs: tuple[int, int, int]
    angle: float


def sample_labels(dataset: MultiTaskDataset, *, samples: int = SAMPLES) -> Iterator[tuple[Array, Array]]:
    """Yield normals, as stored, and depth in metres of some images that have both.

    Args:
        dataset: a data set with the sources `depth` and `normals` of NYU Depth v2.
        samples: number of images to look at, evenly spread.
    """
    for index in evenly_spread(len(dataset), samples):
        maps = dataset.get_data_info(index)['maps']
        if {'depth', 'normals'} <= set(maps):
            yield dataset.read_map('normals', maps['normals']), dataset.read_map('depth', maps['depth'])


def find_normal_signs(labels: Iterable[tuple[Array, Array]]) -> NormalSigns | None:
    """Return the signs of normals (H, W, 3) that fit depths (H, W) in metres best; None without both in a pixel."""
    stored, derived = [], []
    for normals, depth in labels:
        truth = normals_of_depth(depth)
        both = normals.any(axis=-1) & truth.any(axis=-1)
        stored.append(normals[both])
        derived.append(truth[both])
    if not sum(map(len, stored)):
        return None
    ours, truth = np.concatenate(stored), np.concatenate(derived)
    signs = np.where((ours * truth).sum(axis=0) < 0, -1, 1)
    angles = np.rad2deg(np.arccos((ours * signs * truth).sum(axis=-1).clip(-1, 1)))
    x, y, z = signs.tolist()
    return NormalSigns((x, y, z), float(np.median(angles)))


def report_signs(found: NormalSigns | None) -> str:
    """Describe the signs that were found, in one line."""
    if found is None:
        return 'normals: no image has both depth and normals, so their axes were not checked'
    if found.angle > DOUBTFUL:
        return f'normals: fit the depth with no signs (median angle {found.angle:.0f} degrees); look at the files'
    fit = f'fit the depth (median angle {found.angle:.1f} degrees)'
    if found.signs == (1, 1, 1):
        return f'normals: {fit}'
    return f'normals: {fit} with other signs: set normal_signs={found.signs} in the data set'


def report_facing(normals: Array) -> str:
    """Say in one line whether stored normals (..., 3) point to the camera (z < 0); no depth is needed.

    All visible surfaces do, except a few near the border of a wide image. Zero vectors do not count.
    """
    z = normals[normals.any(axis=-1)][:, 2]
    if not len(z):
        return 'normals: none to check'
    away = np.count_nonzero(z > 0) / len(z)
    if away > 0.5:
        return f'normals: {100 * away:.0f} % point away from the camera: set normal_signs=(1, 1, -1) in the data set'
    return f'normals: {100 * (1 - away):.0f} % point to the camera; the signs of x and y were not checked'


def normals_of_depth(depth: Array) -> Array:
    """Return rough unit normals (H, W, 3), towards the camera, of depth (H, W) in metres.

    They are zero near pixels without depth. Axes: x right, y down, z forward.
    """
    height, width = depth.shape
    smooth = cv2.GaussianBlur(depth, (0, 0), width / 100)
    focal = FX_PER_WIDTH * width
    columns, rows = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
    points = np.stack([columns * smooth / focal, rows * smooth / focal, smooth], axis=-1)
    down, right = np.gradient(points, axis=(0, 1))
    normals = np.cross(down, right)
    length = np.linalg.norm(normals, axis=-1)
    margin = cv2.erode((depth > 0).astype(np.uint8), np.ones((width // 16 + 1,) * 2), borderValue=0)
    known = (margin > 0) & (length > 0)
    return np.where(known[..., None], normals / np.where(known, length, 1)[..., None], 0).astype(np.float32)
