"""The progress of running streams, as bars at the terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.progress import Progress, TaskID

from mmmtl.apis.streaming import StreamFrame, StreamSink


class ProgressSink(StreamSink):
    """A bar of each stream; it has an end where the source says how long it is.

    Args:
        max_frames: the most frames of each stream, if there is a limit.
    """

    def __init__(self, max_frames: int | None = None) -> None:
        self._max_frames = max_frames
        self._progress = Progress()
        self._bars: dict[str, TaskID] = {}

    def write(self, frame: StreamFrame) -> None:
        name = frame.stream.name
        if name not in self._bars:
            total = min((count for count in (frame.stream.declared, self._max_frames) if count), default=None)
            self._bars[name] = self._progress.add_task(escape(name), total=total)
        self._progress.update(self._bars[name], completed=frame.number + 1)

    def open(self) -> None:
        self._progress.start()

    def close(self, error: BaseException | None) -> None:
        self._progress.stop()
