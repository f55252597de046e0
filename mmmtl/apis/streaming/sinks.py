"""Sinks of a `StreamRunner`: what becomes of each frame with its maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from itertools import chain, count
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import NamedTuple, TypeVar

from mmengine.logging import print_log

from mmmtl.io import MapWriter, VideoWriter, write_png
from mmmtl.io.video import DEFAULT_FPS
from mmmtl.tasks import Task

from .frames import StreamFrame, StreamInfo

Self = TypeVar('Self', bound='StreamSink')


class StreamSink(ABC):
    """Base of the sinks, for use in a `with` block around the run.

    `write` gets the frames of each stream in order, those of different streams in different threads. A run refuses a
    sink that has an `open` or a `close` of its own outside its block.
    """

    _is_open = False

    def outputs(self, stream: str) -> list[Path]:
        """Return the files and folders that this sink writes for a stream; a run refuses them as sources."""
        return []

    def open(self) -> None:
        """Prepare what `write` needs, at the beginning of the `with` block."""

    @abstractmethod
    def write(self, frame: StreamFrame) -> None:
        """Take a frame; an error ends the run."""

    def end(self, stream: StreamInfo) -> None:
        """Take note that no more frames of a stream come in this run."""

    def close(self, error: BaseException | None) -> None:
        """Complete everything, or leave out what an error in the `with` block makes worthless."""

    def check_open(self) -> None:
        """Refuse a sink that would show or complete nothing, as it is not in its block."""
        kind = type(self)
        needs_block = kind.open is not StreamSink.open or kind.close is not StreamSink.close
        if needs_block and not self._is_open:
            raise ValueError(f'a {kind.__name__} works in its block alone: `with {kind.__name__}(...) as sink:`')

    def __enter__(self: Self) -> Self:
        self.open()
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self.close(error)


class CallbackSink(StreamSink):
    """A function of a frame, which never runs twice at the same time. `StreamRunner.run` takes the function itself."""

    def __init__(self, function: Callable[[StreamFrame], object]) -> None:
        self._function, self._lock = function, Lock()

    def write(self, frame: StreamFrame) -> None:
        with self._lock:
            self._function(frame)


class _Film(NamedTuple):
    """A video that is being written, the shape of its drawings, and the time of its first frame in its stream."""

    writer: VideoWriter
    shape: tuple[int, ...]
    began: float


class VideoSink(StreamSink):
    """Videos of the drawings (see `VideoWriter`), one of each stream, with the times of its frames.

    Another file begins where a stopped run goes on, where frames change their size, and after a pause too long for
    OpenCV's encoder; it has the number of its first frame in its name: drive-000120.mp4, or drive-000120-2.mp4 if there
    is a file of this name. The log says so. After an error elsewhere, videos hold the frames so far.

    Args:
        path: a file for a single stream, or a folder (a path without a suffix, or one that exists), in which files are
            named after their streams.
        fps: frames per second, in place of the times of the frames.

    Attributes:
        files: what is written, in the order in which it was begun.

    Raises:
        ValueError: two streams for one file, or what `VideoWriter` refuses.
    """

    def __init__(self, path: str | Path, *, fps: float | None = None) -> None:
        path = Path(path)
        self._one = path if path.suffix and not path.is_dir() else None
        self._folder, self._fps = path, fps
        if self._one is not None:
            # Refuse a wrong name before the work starts.
            VideoWriter(self._one, fps or DEFAULT_FPS)
        self._owner: str | None = None
        self._films: dict[str, _Film] = {}
        self.files: list[Path] = []

    def outputs(self, stream: str) -> list[Path]:
        return [self._one or self._folder / f'{stream}.mp4']

    def write(self, frame: StreamFrame) -> None:
        film = self._films.get(frame.stream.name)
        if film is None or not self._goes_on(film, frame):
            self.end(frame.stream)
            path = self._path(frame)
            if frame.number:
                print_log(f'{path}: the video of {frame.stream.name!r} from frame {frame.number} on', logger='current')
            writer = VideoWriter(path, self._fps or frame.stream.fps or DEFAULT_FPS)
            film = _Film(writer.__enter__(), frame.panel.shape, frame.time)
            self._films[frame.stream.name] = film
        try:
            film.writer.write(frame.panel, None if self._fps else frame.time - film.began)
        except Exception as error:
            del self._films[frame.stream.name]
            film.writer.__exit__(type(error), error, None)
            raise

    def end(self, stream: StreamInfo) -> None:
        if (film := self._films.pop(stream.name, None)) is not None:
            film.writer.__exit__(None, None, None)

    def close(self, error: BaseException | None) -> None:
        """Complete all videos, also after an error of something else; leave them out if ctrl-C ends the program."""
        given_up = None if error is None or isinstance(error, Exception) else error
        kind = None if given_up is None else type(given_up)
        with ExitStack() as films:
            while self._films:
                _, film = self._films.popitem()
                films.callback(film.writer.__exit__, kind, given_up, None)

    def _goes_on(self, film: _Film, frame: StreamFrame) -> bool:
        """Return whether a video can take a frame."""
        in_reach = self._fps is not None or film.writer.reaches(frame.time - film.began)
        return film.shape == frame.panel.shape and in_reach

    def _path(self, frame: StreamFrame) -> Path:
        name = frame.stream.name
        self._owner = self._owner or name
        if self._one is not None and self._owner != name:
            raise ValueError(f'{self._one}: one file for the streams {self._owner!r} and {name!r}; give a folder')
        (first,) = self.outputs(name)
        if frame.number:
            first = first.with_stem(f'{first.stem}-{frame.number:06d}')
        # Callers make sure that a stream's first name is free, but do not know those of later files.
        free = (
            path
            for path in chain([first], (first.with_stem(f'{first.stem}-{n}') for n in count(2)))
            if path not in self.files and not (frame.number and path.exists())
        )
        self.files.append(path := next(free))
        return path


class PanelSink(StreamSink):
    """Drawings of all frames as pictures, {folder}/{stream}/{number:06d}.png."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def outputs(self, stream: str) -> list[Path]:
        return [self._folder / stream]

    def write(self, frame: StreamFrame) -> None:
        write_png(self._folder / frame.stream.name / f'{frame.number:06d}.png', frame.panel[..., ::-1])


class RawSink(StreamSink):
    """The images and the maps themselves, in files that `VideoFolder` reads (see `MapWriter`).

    Args:
        folder: a new or an empty one.
        tasks: tasks of the inferencer.
        npy: write .npy files, which hold every number, in place of PNGs.
        append: add to the folder of the stopped run that goes on.
    """

    def __init__(
        self, folder: str | Path, tasks: Mapping[str, Task], *, npy: bool = False, append: bool = False
    ) -> None:
        self._maps = MapWriter(folder, tasks, npy=npy, append=append)

    def write(self, frame: StreamFrame) -> None:
        # A frame that an earlier run wrote, but did not count as done, does not count twice.
        self._maps.lengths[frame.stream.name] = frame.number
        self._maps.write(frame.stream.name, frame.number, frame.image, frame.maps)

    def open(self) -> None:
        self._maps.__enter__()

    def close(self, error: BaseException | None) -> None:
        self._maps.__exit__(None, None, None)
