"""Encoders of VP9, which browsers play: PyAV, which keeps every time stamp, and OpenCV, which has one frame rate."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from mmmtl.structures import Array

from .backend import INSTALL, find_pyav

CODEC = 'libvpx-vp9'

TICKS = 90_000
"""Time stamps of a second; most frame rates are a whole number of them."""

BT709 = 1
"""FFmpeg's number of the colours of ITU-R BT.709. Players guess the colours of a file that names none."""

MAX_GAP = 60.0
"""The most seconds that OpenCV's encoder fills with one frame, as after a camera that stalled."""

OPTIONS = {'crf': '32', 'b': '0', 'deadline': 'realtime', 'cpu-used': '6', 'row-mt': '1'}
"""Constant quality, as fast as live video needs."""


class Encoder(ABC):
    """A file of frames (H, W, 3) uint8 RGB of one even size.

    Attributes:
        max_gap: the most seconds from one frame to the next.
    """

    max_gap = math.inf

    @abstractmethod
    def write(self, frame: Array, time: float) -> None:
        """Append a frame that is shown at `time`, in seconds."""

    @abstractmethod
    def close(self) -> None:
        """Complete the file."""


class PyAVEncoder(Encoder):
    """An encoder that writes each frame at its time, to 1/90000 s, and names the colours of the file."""

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        av = find_pyav()
        assert av is not None
        self._av = av
        self._container = av.open(str(path), 'w')
        self._stream = self._container.add_stream(CODEC, rate=Fraction(fps).limit_denominator(1001), options=OPTIONS)
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = 'yuv420p'
        context = self._stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        self._base = Fraction(1, TICKS)
        context.time_base = self._base
        self._duration = round(TICKS / fps)
        self._last = -1

    def write(self, frame: Array, time: float) -> None:
        picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format='rgb24')
        picture = picture.reformat(format='yuv420p', dst_colorspace=BT709)
        picture.pts = self._last = max(round(time * TICKS), self._last + 1)
        picture.time_base = self._base
        picture.duration = self._duration
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        try:
            self._container.mux(self._stream.encode())
        finally:
            self._container.close()


class OpenCVEncoder(Encoder):
    """An encoder that repeats frames until the time of the next one; none is left out.

    Raises:
        ValueError: the next frame is more than `MAX_GAP` seconds later.
        OSError: the file cannot be written, or is not a video when it is complete, as on a full disk.
    """

    max_gap = MAX_GAP

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        self._path, self._fps = path, fps
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'vp09'), fps, size[::-1])
        if not self._writer.isOpened():
            raise OSError('OpenCV cannot write a VP9 video there; check path and codec')
        self._written = 0
        self._previous: Array | None = None

    def write(self, frame: Array, time: float) -> None:
        if (gap := time - self._written / self._fps) > MAX_GAP:
            raise ValueError(
                f'OpenCV cannot write a gap of {gap:.0f} s before the frame at {time:.2f} s; for its time stamps, '
                f'{INSTALL}'
            )
        while self._previous is not None and self._written < round(time * self._fps):
            self._append(self._previous)
        self._previous = np.ascontiguousarray(frame[..., ::-1])
        self._append(self._previous)

    def close(self) -> None:
        self._writer.release()
        # OpenCV says nothing of errors.
        if self._path.is_file() and self._count() < self._written:
            raise OSError('OpenCV could not complete the video; check the free space')

    def _count(self) -> int:
        """Return how many frames the file has, without decoding them."""
        video = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
        return sum(1 for _ in iter(video.grab, False))

    def _append(self, frame: Array) -> None:
        self._writer.write(frame)
        self._written += 1


def open_encoder(path: Path, fps: float, size: tuple[int, int]) -> Encoder:
    """Return an encoder for frames of `size` (height, width): PyAV's where it is installed with VP9."""
    av = find_pyav()
    if av is not None and CODEC in av.codecs_available:
        return PyAVEncoder(path, fps, size)
    return OpenCVEncoder(path, fps, size)
