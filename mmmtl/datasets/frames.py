"""The frames of a data set: where their images and maps are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FrameKey = tuple[str, int]
"""A video and the number of a frame in it."""


@dataclass(frozen=True)
class Frame:
    """A moment of a video; a still is a video of one frame, at time 0.

    Args:
        video: name of the video.
        time: number of the frame; consecutive frames have consecutive numbers.
        image: reference of the image for `read_image` of the data set, hashable; None if it is missing.
        maps: {source: reference} of the labels for `read_map`; a missing label is a missing key.
    """

    video: str
    time: int
    image: Any
    maps: Mapping[str, Any] = field(default_factory=dict)


def check_step(name: str, step: int) -> None:
    """Refuse a step below 1; `name` is that of the argument."""
    if step < 1:
        raise ValueError(f'{name} must be at least 1, not {step}')


def join_files(images: Mapping[FrameKey, Path], maps: Mapping[str, Mapping[FrameKey, Path]]) -> list[Frame]:
    """Return a frame for each (video, time) that has an image or a map, sorted."""
    keys = sorted(set(images).union(*maps.values()))
    return [
        Frame(*key, images.get(key), {source: files[key] for source, files in maps.items() if key in files})
        for key in keys
    ]


class FrameIndex:
    """The images of all frames, found by video and time; messages use `name`, the data set's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._images: dict[str, dict[int, Any]] = {}

    def add(self, frame: Frame) -> None:
        """Add the image of a frame; refuse a second one."""
        images = self._images.setdefault(frame.video, {})
        if frame.image is not None and images.setdefault(frame.time, frame.image) != frame.image:
            raise ValueError(f'{frame.image}: the same frame as {images[frame.time]}; remove one of them')

    def find(self, video: str, time: int) -> Any | None:
        """Return the reference of an image, or None if there is no such frame."""
        return self._images[video].get(time)

    @property
    def stills(self) -> bool:
        """Whether every video is one frame, at time 0."""
        return all(images.keys() <= {0} for images in self._images.values())

    @property
    def apart(self) -> bool:
        """Whether videos have more than two frames, but no frame has a predecessor."""
        known = self._images.values()
        return any(len(images) > 2 for images in known) and not any(t - 1 in images for images in known for t in images)

    def describe(self, video: str, time: int) -> str:
        """Return the name of a frame in messages: folder of its images, number and video."""
        known = next(iter(self._images[video].values()), None)
        return f'{known.parent if isinstance(known, Path) else self.name}: frame {time} of video {video!r}'
