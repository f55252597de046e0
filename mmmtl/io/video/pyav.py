"""Decoding with PyAV: every codec of FFmpeg, true time stamps, rotation, and damaged spots left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from mmmtl.io.source_names import NUMBERED, source_name
from mmmtl.structures import Array

from .backend import MAX_FPS, Clock, Decoder, VideoFrame, check_pixels, find_pyav

TIMEOUT = (30.0, 30.0)
"""Seconds to wait for a network stream: to open, and for each read."""

TRIES = 16
"""Errors of a container, one after the other, after which it is at its end."""


class PyAVDecoder(Decoder):
    """A decoder of files, pipes and URLs; `source` is what FFmpeg opens.

    Raises a ValueError if there is no video in it, or a frame has more than `max_pixels`.
    """

    def __init__(self, source: str, *, max_pixels: int) -> None:
        super().__init__()
        av = find_pyav()
        assert av is not None
        self._av, self._source, self._max_pixels = av, source, max_pixels
        self._name = source_name(source)
        try:
            self._container = av.open(source, timeout=TIMEOUT if '://' in source else None, **_options(av))
        except FileNotFoundError:
            fix = '; the first number must be between 0 and 4; otherwise give the folder'
            raise FileNotFoundError(f'{self._name}: no such video{fix if NUMBERED.search(source) else ""}') from None
        except av.FFmpegError as error:
            raise ValueError(f'{self._name}: cannot be opened as a video ({_reason(error)}); check the file') from None
        try:
            self._stream = self._find_stream()
        except ValueError:
            self._container.close()
            raise
        self._describe()

    def frames(self) -> Iterator[VideoFrame]:
        clock, matrix = Clock(self.fps), None
        for number, frame in enumerate(self._decoded()):
            if number == 0:
                # It is that of the file. A frame whose side data were looked at is a cycle, which keeps its pixels
                # until the garbage collector comes by.
                matrix = _display_matrix(frame)
            check_pixels(self._name, frame.width, frame.height, self._max_pixels)
            self.flawed += frame.is_corrupt
            yield VideoFrame(_upright(frame.to_ndarray(format='bgr24'), matrix), clock(frame.time))

    def close(self) -> None:
        self._container.close()

    def _find_stream(self) -> Any:
        """Return the best video stream that is not a cover picture."""
        container = self._container
        stream = container.streams.best('video')
        attached = self._av.stream.Disposition.attached_pic
        if stream is None or stream.disposition & attached:
            kinds = sorted({other.type for other in container.streams} - {'video'})
            found = f'only {", ".join(kinds)}' if kinds else f'as {container.format.name}'
            raise ValueError(f'{self._name}: has no video ({found}); give a video file')
        codec = stream.codec_context
        if codec is None:
            raise ValueError(f'{self._name}: FFmpeg has no decoder for its codec; convert the video to H.264')
        check_pixels(self._name, codec.width, codec.height, self._max_pixels)
        return stream

    def _describe(self) -> None:
        """Read what the container says about its length."""
        stream, container = self._stream, self._container
        # A server tells the size of a file; of HLS and DASH it is that of the list.
        has_size = container.size > 0 and container.format.name not in ('hls', 'dash')
        self.live = '://' in self._source and not container.duration and not has_size
        rates = (rate for rate in (stream.average_rate, stream.guessed_rate) if rate and rate.denominator)
        self.fps = next((fps for rate in rates if 0 < (fps := rate.numerator / rate.denominator) < MAX_FPS), None)
        self.declared = stream.frames or None
        if self.declared and container.format.name.startswith('mov'):
            # What an edit list cuts off is still in the count of the file.
            self.declared = sum(not entry.is_discard for entry in stream.index_entries) or None
        if stream.duration:
            self.seconds = float(stream.duration * stream.time_base)
            if container.format.name == 'mpegts' and self.fps:
                # It has no count, but the rate of broadcasts is fixed.
                self.declared = round(self.seconds * self.fps)
        elif match := re.fullmatch(r'(\d+):(\d\d):(\d\d(?:\.\d+)?)', stream.metadata.get('DURATION', '')):
            self.seconds = 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3])

    def _decoded(self) -> Iterator[Any]:
        """Yield frames as FFmpeg has them, past errors of the container and of packets."""
        failures = 0
        packets = self._container.demux(self._stream)
        while failures < TRIES:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except self._av.FFmpegError as error:
                failures += 1
                self.skip(_reason(error))
                packets = self._container.demux(self._stream)
                continue
            try:
                frames = packet.decode()
            except self._av.FFmpegError as error:
                # At the end of some formats the same error comes back for ever.
                failures += not packet.size
                self.skip(_reason(error))
                continue
            failures = 0 if frames else failures
            yield from frames


def _options(av: Any) -> dict[str, str]:
    """Return what keeps PyAV before 19 from refusing titles that are not UTF-8."""
    return {'metadata_errors': 'replace'} if int(av.__version__.partition('.')[0]) < 19 else {}


def _reason(error: Exception) -> str:
    """Return the words of FFmpeg without the number and the file."""
    return str(getattr(error, 'strerror', None) or type(error).__name__)


def _display_matrix(frame: Any) -> Array | None:
    """Return the 2x2 part of the matrix that turns a frame upright, or None."""
    data = frame.side_data.get('DISPLAYMATRIX')
    return None if data is None else np.frombuffer(bytes(data), dtype=np.int32).reshape(3, 3)[:2, :2]


def _upright(image: Array, matrix: Array | None) -> Array:
    """Turn and mirror an image as a display matrix says, to the nearest right angle.

    A pixel (x, y) goes to (x, y) @ matrix, up to a shift.
    """
    if matrix is None:
        return image
    (a, b), (c, d) = matrix.tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        # x becomes y.
        image, (a, d) = image.transpose(1, 0, 2), (c, b)
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
