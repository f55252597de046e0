"""A source of a running stream: a thread that reads a video ahead of the model, and the frames that wait for it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Literal, NamedTuple, cast

from mmmtl.apis.fitting import Fitted
from mmmtl.io import distinct_names
from mmmtl.io.image_sources import is_image_name
from mmmtl.io.outputs import folded
from mmmtl.io.video import DEFAULT_FPS, Video, VideoFrame, VideoReader
from mmmtl.structures import Array

from .frames import StreamInfo
from .records import StreamRecord

PAUSE = 1.0
"""Seconds before the first try to connect again; each further pause is twice as long."""

MAX_PAUSE = 30.0

OnResize = Literal['error', 'new_state']


class Settings(NamedTuple):
    """The settings that all sources of a run share; `StreamRunner` explains them."""

    buffer: int
    latest: bool | None
    on_resize: OnResize
    reconnect: int
    max_frames: int | None


class Position(NamedTuple):
    """The place where a stream goes on.

    Args:
        number: number of the next frame, among the predicted ones.
        dropped: frames that were left out before that one.
        time: time of the last frame, in seconds.
        since_key: frames since the key frame.
        size: (height, width) of the last frame, as the source delivered it; None before the first one.
    """

    number: int = 0
    dropped: int = 0
    time: float = 0.0
    since_key: int = 0
    size: tuple[int, int] | None = None


class WaitingFrame(NamedTuple):
    """A frame that waits for the model.

    Args:
        fitted: the frame at the size that the model sees.
        size: (height, width), as the source delivered it.
        time: seconds from the first frame of the stream.
        fresh: whether a new state begins, because of another size or a new connection.
        dropped: frames left out up to now.
        decode: seconds it took to read and to fit it.
        since: when it was ready, on the clock of `time.perf_counter`.
    """

    fitted: Fitted
    size: tuple[int, int]
    time: float
    fresh: bool
    dropped: int
    decode: float
    since: float


class OtherSize(ValueError):
    """A frame whose size differs from the one before."""


class Source:
    """A video that a thread reads ahead; a source that stalls holds up nobody else.

    Args:
        name: name of the stream.
        video: what `VideoReader` reads.
        fit: brings a frame to the size that the model sees.
        changed: is notified of each frame and of the end, and guards what waits.
        start: where the stream goes on.
        record: counts frames and times.
        settings: settings of the run.

    Attributes:
        info: about the stream; the video says most of it when it is opened.
        done: whether no further frame comes.
    """

    def __init__(
        self,
        name: str,
        video: Video,
        *,
        fit: Callable[[Array], Fitted],
        changed: Condition,
        start: Position,
        record: StreamRecord,
        settings: Settings,
    ) -> None:
        self.info = StreamInfo(name, None, None, False, start.number)
        self.done = False
        self._video, self._fit, self._changed = video, fit, changed
        self._start, self._record, self._settings = start, record, settings
        self._waiting: deque[WaitingFrame] = deque()
        self._stopping = Event()
        self._size = start.size
        self._last_time, self._opened = start.time, 0.0
        self._kept = start.number
        self._latest = False
        self.thread = Thread(target=self._run, name=f'read {name}', daemon=True)

    def first(self) -> WaitingFrame | None:
        """Return the next frame without taking it; the caller holds `changed`."""
        return self._waiting[0] if self._waiting else None

    def take(self) -> WaitingFrame:
        """Take the next frame; the caller holds `changed`."""
        self._changed.notify_all()
        return self._waiting.popleft()

    def stop(self) -> None:
        """Read no further frame; the caller holds `changed`."""
        self._stopping.set()
        self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._read_connections()
        except BaseException as error:  # frames of the user's own may raise anything
            self._record.failure = error
        finally:
            with self._changed:
                self.done = True
                self._changed.notify_all()

    def _read_connections(self) -> None:
        """Read the video, and open it again where it is live and interrupted."""
        failures, pause, limit = 0, PAUSE, self._settings.reconnect
        while True:
            before, reason = self._record.stages['decode'].count, 'it ended'
            try:
                self._read()
            except (ValueError, OSError) as error:
                # A name that is wrong from the beginning does not become right.
                if isinstance(error, OtherSize) or not self._can_reconnect():
                    raise
                reason = str(error)
            if self._is_full() or not self._can_reconnect():
                return
            if self._record.stages['decode'].count > before:
                failures, pause = 0, PAUSE
            if failures >= limit:
                raise ValueError(f'{self.info.name}: lost after {limit} tries to connect again ({reason})')
            if self._stopping.wait(pause):
                return
            pause = min(2 * pause, MAX_PAUSE)
            failures += 1
            self._record.reconnects += 1

    def _can_reconnect(self) -> bool:
        named = isinstance(self._video, (str, Path, int))
        return self.info.live and named and self._settings.reconnect > 0 and not self._stopping.is_set()

    def _is_full(self) -> bool:
        limit = self._settings.max_frames
        return self._stopping.is_set() or (limit is not None and self._kept >= limit)

    def _read(self) -> None:
        """Read the video until its end, a stop, or the largest number of frames."""
        if self._is_full():
            return
        with VideoReader(self._video) as reader:
            first = not self._opened
            if first:
                self._opened = time.perf_counter()
                self.info = self.info._replace(fps=reader.fps, declared=reader.declared, live=reader.live)
                self._latest = reader.live if self._settings.latest is None else self._settings.latest
            # A file has the frames before a stop once more, and their times; a camera has neither.
            skip = self._start.number + self._start.dropped if first and not reader.live else 0
            offset = self._offset(first) if reader.live else 0.0
            try:
                began = time.perf_counter()
                for number, frame in enumerate(reader):
                    if number >= skip:
                        self._keep(frame, offset, began, new_connection=not first and number == 0)
                    if self._is_full():
                        break
                    began = time.perf_counter()
                if reader.delivered < skip and not self._is_full():
                    raise ValueError(
                        f'{self.info.name}: ended after {reader.delivered} frames, but the stopped run had taken '
                        f'{skip}; give the same source, from its beginning, or delete the state file'
                    )
            finally:
                self._record.add(reader.summary(), reader.missing(), whole=reader.is_whole)

    def _offset(self, first: bool) -> float:
        """Return the time of the stream at which a live source begins to count."""
        if first and not self._start.number:
            return 0.0
        following = self._last_time + 1 / (self.info.fps or DEFAULT_FPS)
        return following if first else max(following, time.perf_counter() - self._opened)

    def _keep(self, frame: VideoFrame, offset: float, began: float, *, new_connection: bool) -> None:
        """Queue a frame for the model: wait for room, or replace the frame before if only the latest counts."""
        size = frame.image.shape[:2]
        resized = self._size not in (None, size)
        if resized and self._settings.on_resize == 'error':
            raise OtherSize(
                f'{self.info.name}: the frame at {frame.time:.2f} s has the size {size}, those before {self._size} '
                "(height, width); on_resize='new_state' (--on-resize new_state) begins a new state there"
            )
        fitted, fresh = self._fit(frame.image), new_connection or resized
        self._size, self._last_time = size, offset + frame.time
        now = time.perf_counter()
        self._record.stages['decode'].add(now - began)
        with self._changed:
            if self._latest and self._waiting:
                replaced = self._waiting.pop()
                fresh = fresh or replaced.fresh
                self._record.dropped += 1
            else:
                self._kept += 1
            while len(self._waiting) >= self._settings.buffer and not self._stopping.is_set():
                self._changed.wait()
            dropped = self._start.dropped + self._record.dropped
            self._waiting.append(WaitingFrame(fitted, size, self._last_time, fresh, dropped, now - began, now))
            self._changed.notify_all()


def name_sources(sources: Video | Sequence[str | Path | int] | Mapping[str, Video]) -> dict[str, Video]:
    """Return the videos by name, by default that of the source. Refuse given names that are not those of files."""
    if isinstance(sources, (str, Path, int)):
        return _by_name([sources])
    if isinstance(sources, (list, tuple)) and _are_videos(sources):
        return _by_name(sources)
    if not isinstance(sources, Mapping):
        return {'frames': cast(Video, sources)}  # names of images are frames, too
    if not sources:
        raise ValueError('no source is given')
    for name in sources:
        if name in ('', '.', '..') or set(name) & set('/\\\0'):
            raise ValueError(
                f'{name!r} cannot name a stream, because files are named after it; use a name without a slash'
            )
    names: dict[str, str] = {}
    for name in sources:
        if (other := names.setdefault(folded(name), name)) != name:
            raise ValueError(
                f'the streams {other!a} and {name!a} would share a file on macOS or Windows; rename one of them'
            )
    return dict(sources)


def _by_name(sources: Sequence[str | Path | int]) -> dict[str, Video]:
    names = distinct_names([f'camera_{one}' if isinstance(one, int) else one for one in sources])
    return dict(zip(names, sources, strict=True))


def _are_videos(listed: Sequence[object]) -> bool:
    """Return whether these are names and cameras of several videos, and not frames or the names of their images."""
    names = all(isinstance(one, (str, Path, int)) for one in listed)
    return names and not all(is_image_name(str(one)) for one in listed)
