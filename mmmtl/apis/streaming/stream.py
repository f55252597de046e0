"""One stream of a run: its source, its writer, and what the model remembers of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Condition

from mmmtl.apis.inferencer import MultiTaskInferencer, TaskMaps
from mmmtl.io.video import Video
from mmmtl.models.segmentors.frame_kinds import IMAGE, KEY, frame_kind
from mmmtl.structures import Array
from mmmtl.visualization import Painter, frame_title

from .frames import StreamFrame
from .records import StreamRecord
from .sinks import StreamSink
from .source import Position, Settings, Source, WaitingFrame
from .states import SavedStream
from .writer import Writer


class Stream:
    """A stream, before it begins, while it runs, and after it ended.

    Args:
        name: name of the stream.
        inferencer: fits and draws its frames.
        video: what `VideoReader` reads.
        saved: where a stopped run left it.
        changed: is notified of everything that the thread of the model waits for.
        settings: settings of the run.
    """

    def __init__(
        self,
        name: str,
        inferencer: MultiTaskInferencer,
        video: Video,
        saved: SavedStream,
        *,
        changed: Condition,
        settings: Settings,
    ) -> None:
        self.name, self.record = name, StreamRecord()
        self.state = None if saved.state is None else saved.state.to(inferencer.device)
        self.position = saved.start
        self.done = saved.done
        self.described = saved.source
        self._inferencer, self._changed, self._buffer = inferencer, changed, settings.buffer
        self._painter = Painter(inferencer.tasks, video=True)
        self.source = Source(
            name,
            video,
            fit=inferencer.fit,
            changed=changed,
            start=saved.start,
            record=self.record,
            settings=settings,
        )
        self.writer: Writer | None = None

    def begin(self, sinks: Sequence[StreamSink], fail: Callable[[BaseException], None]) -> None:
        """Start the threads."""
        self.writer = Writer(
            self.name, sinks, changed=self._changed, record=self.record, buffer=self._buffer, fail=fail
        )
        self.writer.thread.start()
        self.source.thread.start()

    def end(self) -> None:
        """Read no more, and let the sinks take what waits for them."""
        self.source.stop()
        if self.writer is not None:
            self.writer.finish(self.source.info)

    @property
    def ready(self) -> WaitingFrame | None:
        """Return the next frame, if there is one and the sinks have room for it."""
        return None if self.writer is None or self.writer.is_full else self.source.first()

    def hand_on(self, waiting: WaitingFrame, maps: TaskMaps, is_key: bool, *, wait: float, infer: float) -> None:
        """Count a predicted frame and give it to the sinks.

        Args:
            waiting: the frame, as it came from the source.
            maps: {task: (M, H, W)}.
            is_key: whether it was a key frame.
            wait: seconds until the model began.
            infer: seconds of the model.
        """
        assert self.writer is not None
        kind = frame_kind(self._inferencer.model, is_key)
        number, since_key = self.position.number, 0 if is_key else self.position.since_key + 1
        seconds = {'decode': waiting.decode, 'wait': wait, 'infer': infer}
        self.record.restarts += waiting.fresh
        self.record.stages['wait'].add(wait)
        self.record.stages['infer'].add(infer)
        self.record.model[kind].add(infer)
        for array in (waiting.fitted.image, *maps.values()):
            array.setflags(write=False)
        frame = StreamFrame(
            stream=self.source.info,
            number=number,
            dropped=waiting.dropped,
            time=waiting.time,
            image=waiting.fitted.image,
            maps=maps,
            kind=kind,
            since_key=None if kind == IMAGE else since_key,
            seconds=seconds,
            draw=self._draw,
        )
        self.position = Position(number + 1, waiting.dropped, waiting.time, since_key, waiting.size)
        self.writer.put(frame, waiting.since)

    def saved(self) -> SavedStream:
        """Return what a later run needs to go on; it retries a stream that ended with an error."""
        done = self.done and self.record.failure is None
        return SavedStream(self.described, self.position, done, None if done else self.state)

    def _draw(self, frame: StreamFrame) -> Array:
        title = frame_title(self.name, frame.number, since_key=frame.since_key)
        mark = frame.kind == KEY
        return self._inferencer.panel(frame.image, frame.maps, title=title, mark=mark, painter=self._painter)
