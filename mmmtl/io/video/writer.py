"""A writer of videos, frame by frame, that keeps time stamps."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np

from mmmtl.io.outputs import whole_file
from mmmtl.structures import Array

from .backend import MAX_FPS
from .encoders import Encoder, open_encoder
from .reader import is_being_read

SUFFIXES = ('.mp4', '.webm', '.mkv')


class VideoWriter:
    """A writer of an mp4, webm or mkv file (VP9, which browsers play) for use in a `with` block.

    The file appears when the block ends; after an error in it there is none, and an older one stays as it was. With
    PyAV frames stand at their times; OpenCV repeats frames to come as near as `fps` allows.

    Args:
        path: the file; its folder is made.
        fps: frames per second of frames without a time, and of OpenCV's file.

    Raises:
        ValueError: another suffix, an `fps` that is not above 0, a path that is a folder or that is being read.
    """

    def __init__(self, path: str | Path, fps: float) -> None:
        self.path = Path(path)
        self.fps = fps
        if self.path.suffix.lower() not in SUFFIXES:
            raise ValueError(f'{path}: a video must end in one of {", ".join(SUFFIXES)}')
        if not 0 < fps < MAX_FPS:
            raise ValueError(f'{path}: fps must be above 0 and below {MAX_FPS:g}, not {fps}')
        self._stack = ExitStack()
        self._encoder: Encoder | None = None
        self._shape: tuple[int, ...] | None = None
        self._last = -1 / fps

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, frame: Array, time: float | None = None) -> None:
        """Append a frame (H, W, 3) uint8 RGB; an odd last row or column is cut off.

        Args:
            frame: a frame of the size of the first.
            time: seconds from the beginning, later than the last; None is 1 / fps after the last frame.

        Raises:
            ValueError: another size or type, a time that is not later, or the file is being read.
            OSError: the file cannot be written.
        """
        time = self._last + 1 / self.fps if time is None else time
        if not (math.isfinite(time) and time > self._last and time >= 0):
            raise ValueError(f'{self.path}: a frame at {time} s after one at {self._last} s; times must increase')
        self._shape = self._shape or frame.shape
        height, width = (side // 2 * 2 for side in frame.shape[:2]) if frame.ndim == 3 else (0, 0)
        if frame.shape != self._shape or frame.shape[2:] != (3,) or frame.dtype != np.uint8 or not height * width:
            raise ValueError(
                f'{self.path}: frames must be (H, W, 3) uint8, 2x2 pixels at least, and have the size of the first, '
                f'not {frame.shape} {frame.dtype} after {self._shape}'
            )
        if self._encoder is None:
            self._encoder = self._open((height, width))
        self._encoder.write(frame[:height, :width], time)
        self._last = time

    def reaches(self, time: float) -> bool:
        """Return whether a frame at `time` can follow the last one: OpenCV cannot write long pauses."""
        return self._encoder is None or time - self._last <= self._encoder.max_gap

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _open(self, size: tuple[int, int]) -> Encoder:
        if is_being_read(self.path):
            raise ValueError(f'{self.path}: is the video that is being read; choose another name')
        partial = self._stack.enter_context(whole_file(self.path))
        encoder = open_encoder(partial, self.fps, size)
        self._stack.callback(encoder.close)
        return encoder
