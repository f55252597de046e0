"""What the decoders of videos have in common, and the choice between PyAV and OpenCV."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

from mmmtl.structures import Array

DEFAULT_FPS = 15.0
"""Frames per second of a source that does not declare any."""

MAX_FPS = 1e4
"""Frames per second above which a number cannot be a rate."""

INSTALL = 'pip install "av>=17.1"'
"""What brings PyAV, in error messages."""


class VideoFrame(NamedTuple):
    """A frame, (H, W, 3) uint8 BGR, and its time in seconds from the first frame."""

    image: Array
    time: float


class Decoder(ABC):
    """A source of frames, in order, with increasing times.

    Attributes:
        fps: frames per second, on average; None if unknown.
        declared: number of frames that the source says it has; None if it does not.
        seconds: duration that the source says it has; None if it does not.
        live: whether frames are made while they are read, and those that nobody reads are lost.
        damaged: spots that could not be decoded and were left out.
        flawed: frames that were decoded with errors and may show them.
        problems: reasons, the first of each kind.
    """

    fps: float | None = None
    declared: int | None = None
    seconds: float | None = None
    live: bool = False

    def __init__(self) -> None:
        self.damaged = 0
        self.flawed = 0
        self.problems: list[str] = []

    @property
    def advice(self) -> str:
        """Return the fix if nothing can be decoded."""
        return 'check the file'

    @abstractmethod
    def frames(self) -> Iterator[VideoFrame]:
        """Yield the frames."""

    def close(self) -> None:
        """Release the source."""

    def skip(self, reason: str) -> None:
        """Count a damaged spot."""
        self.damaged += 1
        if reason not in self.problems and len(self.problems) < 3:
            self.problems.append(reason)


def find_pyav() -> ModuleType | None:
    """Return the module `av`, or None if PyAV is not installed."""
    try:
        import av
    except ImportError:
        return None
    module: ModuleType = av
    return module


def check_pixels(name: str, width: int, height: int, most: int) -> None:
    """Refuse frames of more pixels than `most`."""
    if width * height > most:
        raise ValueError(
            f'{name}: frames of {width}x{height} pixels, more than the limit of {most}; scale the video down or raise '
            'max_pixels'
        )


class Clock:
    """Seconds from the first frame, increasing, of time stamps that may be missing, out of order, or jump back."""

    LATE = 3
    """Frames in a row behind their predecessors after which a jump back, not disorder, is the reason."""

    def __init__(self, fps: float | None) -> None:
        self._step = 1 / (fps or DEFAULT_FPS)
        self._start: float | None = None
        self._last = -self._step
        self._late = 0
        self._stamp: float | None = None

    def __call__(self, stamp: float | None) -> float:
        """Return the time of the next frame; after a jump back the clock goes on from the last frame."""
        following = self._last + self._step
        repeated = stamp == self._stamp
        self._stamp = stamp
        if stamp is None or repeated:
            self._last = following
            return following
        if self._start is None:
            self._start = stamp - following
        time = stamp - self._start
        if time > self._last:
            self._late = 0
        else:
            self._late += 1
            time = self._last + self._step / 8
            if self._late == self.LATE:
                self._start, self._late, time = stamp - following, 0, following
        self._last = time
        return time
