"""Reading and writing videos, frame by frame."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from .images import IMAGE_SUFFIXES, read_image


def read_frames(video: str | Path | int | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 BGR of a video file, folder (in the order of the numbers in its names), URL, or camera.

    Frames themselves are passed on.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be opened, or holds no frame.
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


def _decode(video: str | Path | int) -> Iterator[np.ndarray]:
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
        raise ValueError(f'{video}: cannot be opened as a video, or holds no frame; does OpenCV know its codec?')


def _numbers_count(path: Path) -> list[tuple[int, str]]:
    """Key by which frame_9 comes before frame_10."""
    return [(int(part), '') if part.isdecimal() else (-1, part) for part in re.split(r'(\d+)', path.name)]


class VideoWriter:
    """An mp4 file (VP9, which browsers play), frame by frame; use it in a `with` block.

    Args:
        path: of the file.
        fps: frames per second.
    """

    def __init__(self, path: str | Path, fps: float) -> None:
        self.path = Path(path)
        self.fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, ...] | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, frame: np.ndarray) -> None:
        """Add a frame (H, W, 3) uint8 RGB; an odd last row or column is cut off.

        Raises:
            ValueError: it is no such frame, has not the size of the first, or no video can be written there.
        """
        self._shape = self._shape or frame.shape
        if frame.shape != self._shape or frame.shape[2:] != (3,) or frame.dtype != np.uint8:
            # OpenCV would leave it out without a word.
            raise ValueError(
                f'{self.path}: frames must be (H, W, 3) uint8 and of the size of the first, not {frame.shape} '
                f'{frame.dtype} after {self._shape}'
            )
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            codec = cv2.VideoWriter.fourcc(*'vp09')
            self._writer = cv2.VideoWriter(str(self.path), codec, self.fps, frame.shape[1::-1])
            if not self._writer.isOpened():
                raise ValueError(f'{self.path}: OpenCV cannot write VP9 video there')
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def __exit__(self, *exception: object) -> None:
        if self._writer is not None:
            self._writer.release()
