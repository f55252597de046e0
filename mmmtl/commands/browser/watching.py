"""A run of a video that another thread looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, Queue
from threading import Thread

from mmmtl.apis.streaming import StreamFrame, StreamRunner, StreamSink


def watch(runner: StreamRunner, sink: StreamSink, count: Callable[[StreamFrame], object]) -> Iterator[StreamFrame]:
    """Run in another thread, and yield the newest frame whenever the caller wants one; frames may be left out.

    Args:
        runner: has not run yet. It is stopped if the caller closes the iterator.
        sink: gets every frame, and is complete when the iterator ends.
        count: gets every frame, too.

    Raises:
        Exception: what `StreamRunner.run` raises.
    """
    newest: Queue[StreamFrame | None] = Queue(maxsize=1)
    failures: list[BaseException] = []

    def take(frame: StreamFrame) -> None:
        count(frame)
        with suppress(Empty):
            newest.get_nowait()
        newest.put(frame)

    def run() -> None:
        try:
            with sink:
                runner.run(sink, take)
        except BaseException as error:
            failures.append(error)
        finally:
            newest.put(None)

    thread = Thread(target=run, name='run of the page')
    thread.start()
    try:
        while (frame := newest.get()) is not None:
            yield frame
    finally:
        runner.stop()
        while thread.is_alive():
            with suppress(Empty):
                newest.get(timeout=0.1)
    if failures:
        raise failures[0]
