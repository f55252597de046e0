"""The thread that hands the frames of one stream to the sinks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Condition, Event, Thread

from .frames import StreamFrame, StreamInfo
from .records import StreamRecord
from .sinks import StreamSink


class Writer:
    """A thread with the frames of one stream that wait for the sinks.

    Args:
        stream: name of the stream.
        sinks: sinks of the run.
        changed: is notified when there is room again.
        record: counts frames and times.
        buffer: number of frames that may wait.
        fail: takes the error of a sink.

    Attributes:
        ended: whether nothing more is written. Once ctrl-C has interrupted a `Thread.join`, the next one does not wait
            (Python < 3.13).
    """

    def __init__(
        self,
        stream: str,
        sinks: Sequence[StreamSink],
        *,
        changed: Condition,
        record: StreamRecord,
        buffer: int,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._sinks, self._changed, self._record, self._buffer, self._fail = sinks, changed, record, buffer, fail
        # Only the thread of the model puts frames, and only where there is room. The stream itself is put last.
        self._queue: SimpleQueue[tuple[StreamFrame, float] | StreamInfo] = SimpleQueue()
        self._given_up, self.ended = False, Event()
        self.thread = Thread(target=self._run, name=f'write {stream}', daemon=True)

    @property
    def is_full(self) -> bool:
        """Return whether the sinks are behind."""
        return self._queue.qsize() >= self._buffer

    def put(self, frame: StreamFrame, since: float) -> None:
        """Hand over a frame, which was read at `since`."""
        self._queue.put((frame, since))

    def finish(self, stream: StreamInfo) -> None:
        """End after the frames that wait."""
        self._queue.put(stream)

    def give_up(self) -> None:
        """Leave out the frames that wait."""
        self._given_up = True

    def _run(self) -> None:
        try:
            while not isinstance(item := self._queue.get(), StreamInfo) and not self._given_up:
                self._write(*item)
            if isinstance(item, StreamInfo) and not self._given_up:
                for sink in self._sinks:
                    sink.end(item)
        except BaseException as error:  # everything that a sink may raise ends the run, in the thread of `run`
            self._fail(error)
        finally:
            self.ended.set()

    def _write(self, frame: StreamFrame, since: float) -> None:
        start = time.perf_counter()
        for sink in self._sinks:
            sink.write(frame)
        end = time.perf_counter()
        self._record.stages['write'].add(end - start)
        self._record.stages['latency'].add(end - since)
        self._record.frames += 1
        with self._changed:
            self._changed.notify_all()
