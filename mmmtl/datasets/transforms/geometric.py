"""Geometric transforms: one draw for all frames and maps; the values of the maps follow the camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmmtl.io.images import resize_image
from mmmtl.registry import TRANSFORMS
from mmmtl.structures import Array, CameraChange
from mmmtl.structures.array import is_size

Size = tuple[int, int]


def resize_map(array: Array, size: Size) -> Array:
    """Resize a map by nearest neighbour (pixel centres), with its values unchanged."""
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, array.shape, strict=False))
    resized: Array = array[rows][:, columns]
    return resized


def warp_image(image: Array, matrix: Array) -> Array:
    """Move an image by `matrix` (3, 3: old to new pixel, centres at integers), bilinear, mirrored at the border."""
    size = image.shape[1::-1]
    return cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def warp_map(array: Array, matrix: Array, fill: float) -> Array:
    """Move a map by `matrix`, nearest neighbour; the outside becomes `fill`."""
    # float32 holds every label exactly, and OpenCV warps it with one or three channels.
    moved = cv2.warpPerspective(
        array.astype(np.float32),
        matrix,
        array.shape[1::-1],
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill,) * 3,
    )
    return moved.astype(array.dtype)


class GeometricTransform(BaseTransform):
    """Base of the transforms that move pixels."""

    keeps_flow = False
    """Whether the motion between the original images still fits those of the item."""

    def apply(
        self,
        results: dict[str, Any],
        on_image: Callable[[Array], Array],
        on_map: Callable[[Array, float], Array] | None,
        change: CameraChange | None = None,
    ) -> dict[str, Any]:
        """Move the pixels of every frame and map, then let each task adjust its values to `change`.

        Args:
            results: results of the pipeline.
            on_image: image -> image.
            on_map: (map, fill) -> map; None leaves the maps alone.
            change: change of the camera; None leaves the values alone.

        Raises:
            ValueError: the maps no longer fit the images, after `Resize(maps=False)`; or the item has a `flow`, which
                stays that of the original image, and not `keeps_flow`.
        """
        size = results['imgs'][0].shape[:2]
        if results.get('flow') is not None and not self.keeps_flow:
            raise ValueError(f'{type(self).__name__}: the motion between frames (`exact_flow`) only follows Resize')
        for name, array in results['gt_maps'].items():
            if array.shape[:2] != size:
                raise ValueError(
                    f'{type(self).__name__}: a map of task {name!r} has {array.shape[:2]} pixels, the image {size}; '
                    'Resize(maps=False) must be the last geometric transform'
                )
        if not self.keeps_flow:
            results['moved_by'] = type(self).__name__
        results['imgs'] = [on_image(image) for image in results['imgs']]
        results['img_shape'] = results['imgs'][0].shape[:2]
        if on_map is None:
            return results
        if 'map_shape' in results:
            results['map_shape'] = results['img_shape']
        for name, array in results['gt_maps'].items():
            task = results['tasks'][name]
            moved = on_map(array, task.fill)
            results['gt_maps'][name] = moved if change is None else task.adjust(moved, change)
        return results


@TRANSFORMS.register_module()
class Resize(GeometricTransform):
    """Resizing to a fixed size; map values are unchanged.

    Args:
        size: (height, width).
        maps: also resize the maps. Test pipelines do not, and score predictions at the labels' size.
    """

    keeps_flow = True

    def __init__(self, size: Size, *, maps: bool = True) -> None:
        self.size = checked_size(size)
        self.maps = maps

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        return self.apply(
            results,
            lambda image: resize_image(image, self.size),
            (lambda array, fill: resize_map(array, self.size)) if self.maps else None,
        )


@TRANSFORMS.register_module()
class RandomZoom(GeometricTransform):
    """A crop, enlarged to the whole image: the scene comes nearer.

    Depth is divided by the zoom and disparity multiplied, as in MTAN's later code (the intrinsics stay the same).

    Args:
        zooms: factors to choose from, each at least 1.
        place: place of the crop, 'random' as in MTAN's later code, or 'center' as in MTI-Net's and SCA-MTL's.
    """

    def __init__(self, zooms: Sequence[float] = (1.0, 1.2, 1.5), place: Literal['random', 'center'] = 'random') -> None:
        if not zooms or min(zooms) < 1:
            raise ValueError(f'zooms must be one or more factors of at least 1, not {tuple(zooms)}')
        if place not in ('random', 'center'):
            raise ValueError(f"place must be 'random' or 'center', not {place!r}")
        self.zooms = tuple(zooms)
        self.place = place

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        rng = results['rng']
        zoom = self.zooms[int(rng.integers(len(self.zooms)))]
        size = results['imgs'][0].shape[:2]
        crop = (round(size[0] / zoom), round(size[1] / zoom))
        window = crop_window(rng, size, crop) if self.place == 'random' else center_window(size, crop)
        return self.apply(
            results,
            lambda image: resize_image(np.ascontiguousarray(image[window]), size),
            lambda array, fill: resize_map(np.ascontiguousarray(array[window]), size),
            CameraChange(depth_ratio=1 / zoom),
        )


@TRANSFORMS.register_module()
class RandomCrop(GeometricTransform):
    """A random crop of a fixed size; map values are unchanged.

    Args:
        size: (height, width), at most the image's.
    """

    def __init__(self, size: Size) -> None:
        self.size = checked_size(size)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        window = crop_window(results['rng'], results['imgs'][0].shape[:2], self.size)
        return self.apply(results, lambda image: image[window], lambda array, fill: array[window])


@TRANSFORMS.register_module()
class RandomFlip(GeometricTransform):
    """A horizontal mirror image, with probability `prob`; normals change their sign in x."""

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = checked_probability(prob)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if results['rng'].random() >= self.prob:
            return results
        change = CameraChange(linear=np.diag([-1.0, 1.0, 1.0]).astype(np.float32))
        return self.apply(results, lambda image: image[:, ::-1], lambda array, fill: array[:, ::-1], change)


@TRANSFORMS.register_module()
class RandomRotate(GeometricTransform):
    """A roll of the camera about its optical axis, with probability `prob`.

    Normals rotate too, and uncovered corners have no labels.

    Args:
        max_angle: the angle is uniform in [-max_angle, max_angle] degrees, counter-clockwise as displayed.
    """

    def __init__(self, max_angle: float = 10.0, *, prob: float = 0.5) -> None:
        if not max_angle >= 0:
            raise ValueError(f'max_angle must be at least 0, not {max_angle}')
        self.max_angle = max_angle
        self.prob = checked_probability(prob)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        rng = results['rng']
        if rng.random() >= self.prob:
            return results
        angle = rng.uniform(-self.max_angle, self.max_angle)
        height, width = results['imgs'][0].shape[:2]
        matrix = np.eye(3)
        matrix[:2] = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
        linear = np.eye(3, dtype=np.float32)
        linear[:2, :2] = matrix[:2, :2]
        return self.apply(
            results,
            lambda image: warp_image(image, matrix),
            lambda array, fill: warp_map(array, matrix, fill),
            CameraChange(linear=linear),
        )


@TRANSFORMS.register_module()
class RandomScale(GeometricTransform):
    """A zoom about the middle of the image, whose size stays: the scene comes nearer or moves away.

    Depth is divided by the factor and disparity multiplied, as by `RandomZoom`. If the image shrinks, its
    margin is filled by mirroring and is unlabelled.

    Args:
        scales: (min, max) factor, drawn uniformly.
    """

    def __init__(self, scales: tuple[float, float] = (0.75, 1.25)) -> None:
        if not 0 < scales[0] <= scales[1]:
            raise ValueError(f'scales must be (min, max), both positive, not {tuple(scales)}')
        self.scales = tuple(scales)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        scale = results['rng'].uniform(*self.scales)
        height, width = results['imgs'][0].shape[:2]
        matrix = np.diag([scale, scale, 1.0])
        matrix[:2, 2] = (1 - scale) * (width - 1) / 2, (1 - scale) * (height - 1) / 2
        return self.apply(
            results,
            lambda image: warp_image(image, matrix),
            lambda array, fill: warp_map(array, matrix, fill),
            CameraChange(depth_ratio=1 / scale),
        )


def checked_size(size: Size) -> Size:
    """Return the argument `size` of a transform; refuse all but two whole numbers of at least 1."""
    if not is_size(size):
        raise ValueError(f'size must be (height, width), two whole numbers of at least 1, not {size!r}')
    return size[0], size[1]


def checked_probability(prob: float) -> float:
    """Return the argument `prob` of a transform; refuse what is not a probability."""
    if not 0 <= prob <= 1:
        raise ValueError(f'prob must be a probability from 0 to 1, not {prob}')
    return prob


def center_window(size: Size, crop: Size) -> tuple[slice, slice]:
    """Return the window of `crop` in the middle of `size`; if there is none, the one above and to the left of it."""
    top, left = ((s - c) // 2 for s, c in zip(size, crop, strict=True))
    return slice(top, top + crop[0]), slice(left, left + crop[1])


def crop_window(rng: np.random.Generator, size: Size, crop: Size) -> tuple[slice, slice]:
    """Return a random window of `crop` inside `size`; refuse a crop larger than the image."""
    if crop[0] > size[0] or crop[1] > size[1]:
        raise ValueError(f'crop {crop} (height, width) is larger than the image {size}; resize first')
    top, left = (int(rng.integers(s - c + 1)) for s, c in zip(size, crop, strict=True))
    return slice(top, top + crop[0]), slice(left, left + crop[1])
