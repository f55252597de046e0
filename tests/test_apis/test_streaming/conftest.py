"""Frames that show their numbers, a model that predicts them, and a camera that breaks off."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmmtl.apis import MultiTaskInferencer
from mmmtl.apis.streaming import StreamFrame
from mmmtl.io import VideoWriter, write_png
from mmmtl.io.video import VideoFrame

CONFIG = Path(__file__).parents[2] / 'configs' / 'tiny_video.py'
SIZE = (32, 64)
CELL = 8


def coded(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A frame that shows its number as eight black or white cells, which survive compression."""
    image = np.full((*size, 3), 90, np.uint8)
    for bit in range(8):
        image[:CELL, bit * CELL : (bit + 1) * CELL] = 255 * (number >> bit & 1)
    image[CELL:, : number % size[1]] = (20, 150, 220)
    return image


def number_of(image: np.ndarray) -> int:
    cells = image[2 : CELL - 2, : 8 * CELL].reshape(CELL - 4, 8, CELL, 3).mean(axis=(0, 2, 3))
    return sum(1 << bit for bit, value in enumerate(cells) if value > 127)


@pytest.fixture(scope='module')
def inferencer() -> MultiTaskInferencer:
    """A model whose maps are not flat, and depend on the frames before."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        built = MultiTaskInferencer(CONFIG, device='cpu')
    with torch.no_grad():
        for name, layers in built.model.decode_head.predict.items():
            layers[-1].weight *= 100
            layers[-1].bias += 2.0 if name == 'depth' else 0.0
    return built


class Collected:
    """A sink that keeps the frames of each stream."""

    def __init__(self) -> None:
        self.frames: dict[str, list[StreamFrame]] = defaultdict(list)

    def __call__(self, frame: StreamFrame) -> None:
        self.frames[frame.stream.name].append(frame)

    def shown(self, name: str) -> list[int]:
        return [number_of(frame.image) for frame in self.frames[name]]

    def times(self, name: str) -> list[float]:
        return [round(frame.time, 3) for frame in self.frames[name]]


def film(path: Path, count: int, times: list[float] | None = None) -> Path:
    with VideoWriter(path, 10) as writer:
        for number in range(count):
            writer.write(coded(number)[..., ::-1], None if times is None else times[number])
    return path


def folder(path: Path, numbers: range, size: tuple[int, int] = SIZE) -> Path:
    for number in numbers:
        write_png(path / f'{number:03d}.png', coded(number, size))
    return path


def assert_same(one: StreamFrame, two: StreamFrame, atol: float = 0.0) -> None:
    assert (one.number, one.since_key, one.time) == (two.number, two.since_key, two.time)
    for name, array in one.maps.items():
        np.testing.assert_allclose(array, two.maps[name], atol=atol, rtol=0, err_msg=f'{name} {one.number}')


class Camera:
    """A reader of a live source that breaks off after some frames; None cannot be opened."""

    name, fps, declared, delivered, live, is_whole = 'camera', 10.0, None, 0, True, True
    connections: list[range | None]
    sizes: dict[int, tuple[int, int]] = {}

    def __init__(self, video: object) -> None:
        self.frames = Camera.connections.pop(0)
        if self.frames is None:
            raise ValueError('camera: cannot be opened')

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        for position, number in enumerate(self.frames or ()):
            yield VideoFrame(coded(number, Camera.sizes.get(number, SIZE)), position / 10)

    def summary(self) -> str:
        return ''

    def missing(self) -> str:
        return ''


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> type[Camera]:
    monkeypatch.setattr('mmmtl.apis.streaming.source.VideoReader', Camera)
    monkeypatch.setattr('mmmtl.apis.streaming.source.PAUSE', 0.001)
    return Camera
