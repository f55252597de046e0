"""Decoding with OpenCV: cameras and pipelines, and files where PyAV is not installed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2

from mmmtl.io.source_names import is_pipeline, source_name

from .backend import INSTALL, MAX_FPS, Clock, Decoder, VideoFrame, check_pixels

TRIES = 30
"""Reads that may fail one after the other before a source is at its end."""

PAUSE = 0.05
"""Seconds from one try to read a live source to the next."""


COUNTED = ('.avi', '.m4v', '.mov', '.mp4', '.ts')
"""Suffixes of files whose number of frames is known and not a guess."""


class _Silence:
    """A silence of OpenCV, which would print a warning of each backend that cannot open a source.

    Its log belongs to the process, and threads open sources at the same time, so the last one out restores the level.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._level = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                cv2.utils.logging.setLogLevel(self._level)


_SILENCE = _Silence()


class OpenCVDecoder(Decoder):
    """A decoder of what `cv2.VideoCapture` opens: a camera's number, a device, a pipeline, a file or a URL.

    Args:
        source: what `cv2.VideoCapture` takes.
        live: frames come when they are made, and are stamped by the wall clock.
        max_pixels: the most pixels of a frame.
    """

    def __init__(self, source: str | int, *, live: bool, max_pixels: int) -> None:
        super().__init__()
        self._source, self._made_now, self._max_pixels = source, live, max_pixels
        self._name = source_name(source)
        with _SILENCE:
            # Any other backend would open a pipe a second time, and wait for ever.
            self._capture = cv2.VideoCapture(source) if live else cv2.VideoCapture(source, cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise ValueError(f'{self._name}: cannot be opened as a video; {self.advice}')
        fps, count = self._capture.get(cv2.CAP_PROP_FPS), self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.fps = fps if 0 < fps < MAX_FPS else None
        self.live = live or ('://' in str(source) and count <= 0)
        if live or not 0 < count < 1e9:
            return
        if Path(str(source)).suffix.lower() in COUNTED:
            self.declared = int(count)
        elif self.fps:
            # OpenCV computes the count from the duration.
            self.seconds = count / self.fps

    def frames(self) -> Iterator[VideoFrame]:
        clock, failures = Clock(self.fps), 0
        while failures < TRIES:
            ok, image = self._capture.read()
            if not ok:
                failures += 1
                if self._made_now:
                    time.sleep(PAUSE)
                continue
            if failures:
                self.skip('OpenCV could not read')
                failures = 0
            check_pixels(self._name, image.shape[1], image.shape[0], self._max_pixels)
            stamp = time.monotonic() if self._made_now else self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield VideoFrame(image, clock(stamp))

    def close(self) -> None:
        self._capture.release()

    @property
    def advice(self) -> str:
        if self._made_now and is_pipeline(str(self._source)):
            built = cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER)
            return 'check the pipeline' if built else 'this OpenCV is built without GStreamer'
        if self._made_now:
            return 'check that the camera is connected and not in use'
        return f'check the file; for codecs that OpenCV lacks, such as AV1, {INSTALL}'
