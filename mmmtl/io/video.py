"""A reader and a writer of videos, frame by frame."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from mmmtl.structures import Array

from .images import IMAGE_SUFFIXES, read_image


def read_frames(video: str | Path | int | Iterable[Array]) -> Iterator[Array]:
    """Yield the frames (H, W, 3) uint8 BGR of a video file, URL, camera number or folder, or the frames given.

    The images of a folder are sorted by the numbers in their names.
    """
    if isinstance(video, (str, Path)) and Path(video).is_dir():
        paths = [path for path in Path(video).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
        if not paths:
            raise ValueError(f'{video}: no frame in this folder; frames are files {", ".join(IMAGE_SUFFIXES)}')
        for path in sorted(paths, key=_numbers_count):
            yield read_image(path)
    elif isinstance(video, (str, Path, int)):
        yield from _decode(video)
    else:
        yield from video


def _decode(video: str | Path | int) -> Iterator[Array]:
    if not isinstance(video, int) and '://' not in str(video) and not Path(video).is_file():
        raise FileNotFoundError(f'{video}: no such video')
    capture = cv2.VideoCapture(video if isinstance(video, int) else str(video))
    try:
        number = 0
        while (read := capture.read())[0]:
            number += 1
            yield read[1]
    finally:
        capture.release()
    if not number:
        raise ValueError(f'{video}: cannot be opened as a video or has no frames; check that OpenCV supports its codec')


def _numbers_count(path: Path) -> list[tuple[int, str]]:
    """Return a sort key that places frame_9 before frame_10."""
    return [(int(part), '') if part.isdecimal() else (-1, part) for part in re.split(r'(\d+)', path.name)]


class VideoWriter:
    """A writer of an mp4 file (VP9, which browsers play) for use in a `with` block."""

    def __init__(self, path: str | Path, fps: float) -> None:
        self.path = Path(path)
        self.fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, ...] | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, frame: Array) -> None:
        """Append a frame (H, W, 3) uint8 RGB; an odd last row or column is cut off."""
        self._shape = self._shape or frame.shape
        if frame.shape != self._shape or frame.shape[2:] != (3,) or frame.dtype != np.uint8:
            # OpenCV would silently drop the frame.
            raise ValueError(
                f'{self.path}: frames must be (H, W, 3) uint8 and have the size of the first, not {frame.shape} '
                f'{frame.dtype} after {self._shape}'
            )
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            codec = cv2.VideoWriter.fourcc(*'vp09')
            self._writer = cv2.VideoWriter(str(self.path), codec, self.fps, frame.shape[1::-1])
            if not self._writer.isOpened():
                raise ValueError(f'{self.path}: OpenCV cannot write a VP9 video there; check path and codec')
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def __exit__(self, *exception: object) -> None:
        if self._writer is not None:
            self._writer.release()
