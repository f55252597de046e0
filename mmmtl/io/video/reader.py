"""The reader of videos: any source, frame by frame, with times, and what was lost."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from mmmtl._output import counted
from mmmtl.io.headers import MAX_PIXELS
from mmmtl.io.images import UNREAD_SUFFIXES
from mmmtl.io.outputs import FileKey, file_key
from mmmtl.io.source_names import NUMBERED, is_pipeline, source_name
from mmmtl.structures import Array

from .backend import Decoder, VideoFrame, find_pyav
from .images import ArrayDecoder, FolderDecoder
from .opencv import OpenCVDecoder
from .pyav import PyAVDecoder

Video = str | Path | int | Iterable[Array]
"""A file, folder of frames, URL, pipe, device, GStreamer pipeline, camera number, or frames."""

TEXT_ART = ('.adf', '.ans', '.art', '.asc', '.bin', '.diz', '.ice', '.idf', '.nfo', '.txt', '.vt', '.xb')
"""Suffixes of files whose letters FFmpeg would draw."""

PLAYLISTS = (b'#EXTM3U', b'<', b'ffconcat')
"""Beginnings of files that name others: HLS, XML such as DASH, and FFmpeg's own lists."""

BLANKS = b'\xef\xbb\xbf \t\r\n'
"""Bytes that may precede them: a byte order mark and white space."""

MAX_HEAD = 4096
"""Bytes that are read to tell a list from a video."""

_open_files: Counter[FileKey] = Counter()
"""Keys of the files that are being read, which no `VideoWriter` may replace."""


class VideoReader:
    """An iterator over the frames of a video, for use in a `with` block; it can be run through once.

    PyAV decodes files, pipes and URLs where it is installed, OpenCV otherwise, and always cameras, devices and
    pipelines. Damaged spots are left out and counted. Frames are turned upright if the file says how.

    Args:
        video: a file, a folder of images (sorted by the numbers in their names), a URL, a named pipe, a device such as
            /dev/video0, a GStreamer pipeline (with '!'), the number of a camera, or frames (H, W, 3) uint8 BGR.
        max_pixels: the most pixels of a frame.
        one_size: refuse a frame whose size differs from the first.

    Attributes:
        fps: frames per second, on average; None if the source does not say.
        declared: number of frames that the source says it has; None if it does not.
        live: whether the source is a camera, a pipeline or a stream of the network without an end.
        delivered: number of frames up to now.
        damaged: number of spots that could not be decoded and were left out, up to now.
        flawed: number of frames that were decoded with errors, up to now.

    Raises:
        FileNotFoundError: no such file or device.
        ValueError: no video, a codec that cannot be decoded, no frame, or a frame of more than `max_pixels` or another
            size.

    Examples:
        >>> with VideoReader('drive.mp4') as reader:  # doctest: +SKIP
        ...     for image, time in reader:
        ...         ...
        ...     print(reader.summary())
    """

    def __init__(self, video: Video, *, max_pixels: int = MAX_PIXELS, one_size: bool = False) -> None:
        self.name = source_name(video) if isinstance(video, (str, Path, int)) else 'the frames'
        self.delivered = 0
        self.seconds = 0.0
        self.finished = False
        self._one_size, self._shape = one_size, tuple[int, ...]()
        self._decoder = _open(video, max_pixels)
        self.fps, self.declared, self.live = self._decoder.fps, self._decoder.declared, self._decoder.live
        self._file = file_key(video) if isinstance(video, (str, Path)) else None
        if self._file:
            _open_files[self._file] += 1
        self._frames = self._decoder.frames()
        self._closed = False

    @property
    def damaged(self) -> int:
        return self._decoder.damaged

    @property
    def flawed(self) -> int:
        return self._decoder.flawed

    def __iter__(self) -> Iterator[VideoFrame]:
        return self

    def __next__(self) -> VideoFrame:
        if self._closed:
            raise StopIteration
        try:
            frame = next(self._frames)
        except StopIteration:
            self.finished = True
            self.close()
            if not self.delivered:
                raise ValueError(
                    f'{self.name}: has no frame that can be decoded{self._reasons()}; {self._decoder.advice}'
                ) from None
            raise
        if self._one_size:
            shape = np.shape(frame.image)
            if self._shape not in ((), shape):
                raise ValueError(
                    f'{self.name}: the frame at {frame.time:.2f} s has the size {shape[:2]}, those before '
                    f'{self._shape[:2]} (height, width); start a stream for each size'
                )
            self._shape = shape
        self.delivered += 1
        self.seconds = frame.time + 1 / self.fps if self.fps else frame.time
        return frame

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the source."""
        if not self._closed:
            self._closed = True
            self._decoder.close()
            if self._file:
                _open_files[self._file] -= 1

    def summary(self) -> str:
        """Return how many frames and seconds came, and what was lost.

        Examples:
            '52 frames, 1.7 s' and '52 of 60 declared frames, 1.7 s; damaged spots left out: 3'
        """
        few = self.lost
        count = f'{self.delivered} of {self.declared} declared frames' if few else counted(self.delivered, 'frame')
        parts = [f'{count}, {self.seconds:.1f} s' + (f' of {self._short:.1f} s' if self._short else '')]
        parts += self._spots()
        if self.flawed:
            parts.append(f'frames that may show damage: {self.flawed}')
        return '; '.join(parts)

    def missing(self) -> str:
        """Return what did not come, and why; empty if nothing is missing.

        Examples:
            '8 of 60 frames; damaged spots left out: 3' and '0.3 of 2.0 s'
        """
        parts = self._spots()
        if self.lost:
            parts.insert(0, f'{self.lost} of {self.declared} frames')
        elif self._short:
            parts.insert(0, f'{self._short - self.seconds:.1f} of {self._short:.1f} s')
        return '; '.join(parts)

    @property
    def lost(self) -> int:
        """Return how many declared frames a video that was read to its end did not deliver."""
        return max(0, (self.declared or 0) - self.delivered) if self.finished else 0

    @property
    def is_whole(self) -> bool:
        """Return whether all that the source declared has come, without damage, up to now."""
        return not (self.lost or self._short or self.damaged or self.flawed)

    @property
    def _short(self) -> float | None:
        """Return the declared seconds if no number of frames is declared and much less has come, else None."""
        declared = self._decoder.seconds
        if not self.finished or self.declared or declared is None:
            return None
        return declared if declared - self.seconds > max(0.5, 3 / (self.fps or 1)) else None

    def _spots(self) -> list[str]:
        return [f'damaged spots left out: {self.damaged}{self._reasons()}'] if self.damaged else []

    def _reasons(self) -> str:
        problems = self._decoder.problems
        return f' ({"; ".join(problems)})' if problems else ''


def read_frames(video: Video) -> Iterator[Array]:
    """Yield the frames (H, W, 3) uint8 BGR of a video; warn at the end if some were lost.

    `VideoReader` says what a video can be, gives the time of each frame, and counts what was lost.
    """
    with VideoReader(video) as reader:
        for frame in reader:
            yield frame.image
        if not reader.is_whole:
            warnings.warn(f'{reader.name}: {reader.summary()}', stacklevel=2)


def is_being_read(path: str | Path) -> bool:
    """Return whether a reader in this process has a file open."""
    return _open_files[file_key(path)] > 0


def _open(video: Video, max_pixels: int) -> Decoder:
    """Return the decoder for a video."""
    if isinstance(video, int):
        return OpenCVDecoder(video, live=True, max_pixels=max_pixels)
    if not isinstance(video, (str, Path)):
        if not isinstance(video, Iterable):
            raise ValueError(f'a video must be a name, the number of a camera, or frames, not {type(video).__name__}')
        return ArrayDecoder(video)
    name, shown = str(video), source_name(video)
    if not name or '\0' in name:
        raise ValueError(f'{shown!r}: not the name of a video')
    path = Path(name)
    if os.path.isdir(path):
        return FolderDecoder(path, max_pixels=max_pixels)
    exists = os.path.exists(path)
    if exists and path.is_char_device():
        return OpenCVDecoder(name, live=True, max_pixels=max_pixels)
    if not exists:
        if re.match('[^/]*file:', name, re.IGNORECASE):
            # FFmpeg would read it, and nothing would keep an output from replacing it.
            raise ValueError(f'{shown}: an address of a file; give its path')
        if name.isdecimal():
            return OpenCVDecoder(int(name), live=True, max_pixels=max_pixels)
        if is_pipeline(name):
            return OpenCVDecoder(name, live=True, max_pixels=max_pixels)
        # FFmpeg reads numbered images such as frame_%04d.png.
        if '://' not in name and not NUMBERED.search(path.name):
            raise FileNotFoundError(f'{shown}: no such video')
    _check_file(path, shown)
    if exists:
        name = os.path.abspath(path)  # FFmpeg takes what stands before a colon for a protocol: 12:30.mp4
    if find_pyav() is not None:
        return PyAVDecoder(name, max_pixels=max_pixels)
    return OpenCVDecoder(name, live=False, max_pixels=max_pixels)


def _check_file(path: Path, shown: str) -> None:
    """Refuse files that FFmpeg would take for a video, and would misread."""
    suffix = path.suffix.lower()
    if suffix in TEXT_ART:
        raise ValueError(f'{shown}: a text file, not a video; give a video file')
    if suffix in UNREAD_SUFFIXES and not NUMBERED.search(path.name):
        raise ValueError(f'{shown}: an image of a kind that has no reader; convert it to JPEG or PNG')
    if os.path.isfile(path):  # an address may be longer than a path
        with path.open('rb') as file:
            head = file.read(MAX_HEAD)
        if _names_others(head):
            # It may name any other file of this machine.
            raise ValueError(f'{shown}: a playlist, not a video; give the video itself')


def _names_others(head: bytes) -> bool:
    """Return whether a file that begins so is a playlist to FFmpeg."""
    begun, zero, _ = head.partition(b'\0')
    text = begun.lstrip(BLANKS)
    if zero and text.startswith(b'<'):  # as a clip of a camcorder may begin; FFmpeg finds XML before the zero
        return b'<mpd' in text.lower() or b'<compositionplaylist' in text.lower()
    return text.startswith(PLAYLISTS) or (head != b'' and not zero and not text)
