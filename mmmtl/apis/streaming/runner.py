"""A runner of one model over one or several videos, cameras and streams, while other threads read and write."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Condition, Event

from mmmtl.apis.inferencer import MultiTaskInferencer
from mmmtl.checkpoint import digest_model
from mmmtl.io import check_outputs
from mmmtl.io.safetensors import SUFFIX
from mmmtl.io.signals import stopped_by_signals
from mmmtl.io.source_names import NUMBERED
from mmmtl.io.video import Video
from mmmtl.structures import StreamState

from .frames import StreamFrame
from .records import StreamRecord, check_records
from .sinks import CallbackSink, StreamSink
from .source import OnResize, Position, Settings, name_sources
from .states import SavedStream, describe_source, load_streams, save_streams
from .stream import Stream

POLL = 0.2
"""The most seconds until a signal is noticed while no frame comes."""

PATIENCE = 5.0
"""Seconds to wait at the end for a source that is stuck in a read."""

Sink = StreamSink | Callable[[StreamFrame], object]


class StreamRunner:
    """A run of one model over one or several streams.

    A thread of each source reads ahead, the thread that calls `run` predicts, and a thread of each stream draws and
    writes. Queues between them are short, so memory stays the same however long a stream is. Frames of several streams
    that wait at the same time go through the model as one batch, with a state of each stream. A slow or stalled
    stream holds up no other.

    Args:
        inferencer: the model.
        sources: a video as `VideoReader` reads it (a file, a folder, a URL, a camera, an iterable of frames), or
            several: {name: video}, or a list of files, folders, URLs and cameras, which give the names. A list of
            arrays or of image files is the frames of one stream.
        at_once: number of streams that run at the same time, the others wait; None is all.
        max_batch: the most frames of a batch; None is one of each stream, or 1 for a compiled model, which would
            compile anew for every size of a batch.
        buffer: number of frames of a stream that may wait before the model, and after it.
        latest: drop the frame that waits when a newer one comes, and count it; None does so for live sources.
        on_resize: what to do if the frame size changes, also when a stopped run is continued: 'error' ends the stream
            with an error, 'new_state' begins a new state.
        reconnect: number of times in a row to reopen a live source that is interrupted. The new connection begins a new
            state.
        max_frames: the most frames of each stream; None sets no limit.
        resume: a state file (.safetensors). It is written when `stop`, ctrl-C or SIGTERM ends the run, read if it
            exists at the beginning, and deleted when all streams have ended. Live sources go on with their state;
            files, folders and iterables are read from their beginning, and go on at the next frame.

    Raises:
        ValueError: wrong settings or names, or a `resume` that cannot be written, or is of another model or of other
            sources.

    Examples:
        >>> runner = StreamRunner(inferencer, {'front': 'front.mp4', 'rear': 0})  # doctest: +SKIP
        >>> with VideoSink('maps') as videos:  # doctest: +SKIP
        ...     records = runner.run(videos, lambda frame: print(frame.number, frame.time))
    """

    def __init__(
        self,
        inferencer: MultiTaskInferencer,
        sources: Video | Sequence[str | Path | int] | Mapping[str, Video],
        *,
        at_once: int | None = None,
        max_batch: int | None = None,
        buffer: int = 4,
        latest: bool | None = None,
        on_resize: OnResize = 'error',
        reconnect: int = 5,
        max_frames: int | None = None,
        resume: str | Path | None = None,
    ) -> None:
        for name, value, least in (
            ('at_once', at_once, 1),
            ('max_batch', max_batch, 1),
            ('buffer', buffer, 1),
            ('reconnect', reconnect, 0),
            ('max_frames', max_frames, 1),
        ):
            if value is not None and value < least:
                raise ValueError(f'{name} must be at least {least}, not {value}')
        if on_resize not in ('error', 'new_state'):
            raise ValueError(f"on_resize must be 'error' or 'new_state', not {on_resize!r}")
        if resume is not None and Path(resume).suffix != SUFFIX:
            raise ValueError(f'{resume}: a state file must end in {SUFFIX}')
        check_outputs([resume])
        videos = name_sources(sources)
        files = [Path(video) for video in videos.values() if isinstance(video, (str, Path))]
        self._files = [path.parent if NUMBERED.search(path.name) else path for path in files]
        settings = Settings(buffer, latest, on_resize, reconnect, max_frames)
        self._inferencer, self._resume = inferencer, None if resume is None else Path(resume)
        self._at_once = at_once or len(videos)
        self._max_batch = max_batch or (1 if inferencer.optimize == 'compile' else len(videos))
        self._changed, self._stopping = Condition(), Event()
        self._failure: BaseException | None = None
        model = inferencer.model
        policy = model.key_frame_policy if model.has_key_frames else None
        rule = policy and (policy.rule() or type(policy).__name__)
        # The names of sizes stand for the model's.
        size = (inferencer.size, inferencer.model_size) if isinstance(inferencer.size, str) else inferencer.size
        self._model = '' if resume is None else f'{digest_model(model)}, size {size}, key frames {rule}'
        self._goes_on = self._resume is not None and self._resume.exists()
        saved = self._saved(videos)
        self._streams = [
            Stream(name, inferencer, video, saved[name], changed=self._changed, settings=settings)
            for name, video in videos.items()
        ]
        self._running: deque[Stream] = deque()
        # The streams of the last batch and their joint state, which is taken apart when another batch follows.
        self._joint: tuple[list[Stream], StreamState] | None = None
        self._used = False

    def stop(self) -> None:
        """End the run soon, in good order: frames that were predicted are written, and the states are saved.

        Any thread may call it, and a sink, too.
        """
        self._stopping.set()

    def run(self, *sinks: Sink, check: bool = True) -> dict[str, StreamRecord]:
        """Predict all streams to their ends, and return the record of each.

        Args:
            *sinks: get every frame; a sink, or a function of a `StreamFrame`.
            check: raise what ended a stream too early, after the others have ended, and warn of lost frames; False
                leaves that to the caller, who finds it in the records.

        Raises:
            FileNotFoundError: no such file or device.
            ValueError: a source that cannot be read, or that changed its size; a sink outside its `with` block, or
                that would overwrite a source.
            Exception: what a sink raises; it ends the run.
        """
        if self._used:
            raise ValueError('this StreamRunner has run; make a new one')
        taken = [sink if isinstance(sink, StreamSink) else CallbackSink(sink) for sink in sinks]
        for sink in taken:
            sink.check_open()
            outputs = dict.fromkeys(path for stream in self._streams for path in sink.outputs(stream.name))
            check_outputs(outputs, self._files)
        self._used = True
        waiting = deque(stream for stream in self._streams if not stream.done)
        complete = False
        with stopped_by_signals(self.stop):
            try:
                while batch := self._next_batch(waiting, taken):
                    self._predict(batch)
                complete = self._failure is None
            finally:
                self._finish(give_up=not complete)
            if self._failure is not None:
                raise self._failure
            self._keep_states()
        for stream in self._streams:
            stream.record.stopped = not (stream.done or stream.source.info.live)
        records = {stream.name: stream.record for stream in self._streams}
        if check:
            check_records(records)
        return records

    def _next_batch(self, waiting: deque[Stream], sinks: list[StreamSink]) -> list[Stream]:
        """Begin and end streams, and wait until some have frames of one size; none if all have ended, or at a stop."""
        with self._changed:
            while not self._stopping.is_set() and self._failure is None:
                for stream in [one for one in self._running if one.source.done and one.source.first() is None]:
                    stream.done = True
                    stream.end()
                    if stream.record.failure is None:
                        self._separate()
                        stream.state = None  # nobody needs it, and there may be many streams
                    self._running.remove(stream)
                while waiting and len(self._running) < self._at_once:
                    self._running.append(waiting.popleft())
                    self._running[-1].begin(sinks, self._fail)
                if not self._running:
                    return []
                if batch := self._choose():
                    return batch
                self._changed.wait(POLL)
        return []

    def _choose(self) -> list[Stream]:
        """Return streams whose next frames fit into one batch, the longest-waiting first."""
        ready = [(stream, frame) for stream in self._running if (frame := stream.ready) is not None]
        sizes = [frame.fitted.inputs.shape for _, frame in ready]
        chosen = [stream for (stream, _), size in zip(ready, sizes, strict=True) if size == sizes[0]][: self._max_batch]
        for stream in chosen:
            self._running.remove(stream)
            self._running.append(stream)
        # In one order, so that the same streams as before keep their joint state.
        return sorted(chosen, key=self._streams.index)

    def _predict(self, streams: list[Stream]) -> None:
        """Predict the next frame of each of some streams, and hand them on."""
        with self._changed:
            frames = [stream.source.take() for stream in streams]
        start = time.perf_counter()
        state = self._join(streams, [frame.fresh for frame in frames])
        try:
            found = self._inferencer.step_fitted([frame.fitted for frame in frames], state)
        except FloatingPointError as error:
            rows = [f'{row}: frame {stream.position.number} of {stream.name}' for row, stream in enumerate(streams)]
            raise FloatingPointError(f'{error} The rows were {"; ".join(rows)}.') from error
        self._joint = streams, found.state
        seconds = (time.perf_counter() - start) / len(streams)
        for row, (stream, frame) in enumerate(zip(streams, frames, strict=True)):
            stream.hand_on(frame, found.maps[row], found.is_key[row], wait=start - frame.since, infer=seconds)

    def _join(self, streams: list[Stream], fresh: list[bool]) -> StreamState | None:
        """Return the joint state of some streams; None if all of them begin anew."""
        if self._joint is not None and self._joint[0] == streams and not any(fresh):
            return self._joint[1]
        self._separate()
        for stream, begins in zip(streams, fresh, strict=True):
            stream.state = None if begins else stream.state
        if all(stream.state is None for stream in streams):
            return None
        return StreamState.cat([stream.state or StreamState.new(1) for stream in streams])

    def _separate(self) -> None:
        """Give each stream its row of the joint state."""
        if self._joint is not None:
            streams, state = self._joint
            for row, stream in enumerate(streams):
                stream.state = state.select([row])
            self._joint = None

    def _fail(self, error: BaseException) -> None:
        """Take the error of a sink, in its thread."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def _finish(self, *, give_up: bool) -> None:
        """End all threads; one that is stuck in a read is left behind."""
        with self._changed:
            for stream in self._running:
                stream.end()
        writers = [stream.writer for stream in self._streams if stream.writer is not None]
        try:
            for writer in writers if not give_up else ():
                writer.ended.wait()
        finally:
            # Also at a second ctrl-C: sinks must not be closed while a thread writes to them.
            for writer in writers:
                writer.give_up()
            deadline = time.monotonic() + PATIENCE
            for writer in writers:
                writer.ended.wait(None if give_up else max(0.0, deadline - time.monotonic()))
        deadline = time.monotonic() + PATIENCE
        for stream in self._running:
            stream.source.thread.join(max(0.0, deadline - time.monotonic()))
        self._separate()

    def _saved(self, videos: Mapping[str, Video]) -> dict[str, SavedStream]:
        """Return where each stream begins."""
        described = {name: '' if self._resume is None else describe_source(video) for name, video in videos.items()}
        if self._resume is not None and self._goes_on:
            return load_streams(self._resume, described, self._model)
        return {name: SavedStream(source, Position(), False, None) for name, source in described.items()}

    def _keep_states(self) -> None:
        """Write the state file if something is left to do, else delete the one from which this run went on.

        A run that went on from the file keeps it while a stream fails: perhaps its folder is only not mounted yet.
        """
        if self._resume is None:
            return
        failed = any(stream.record.failure is not None for stream in self._streams)
        if not all(stream.done for stream in self._streams) or (failed and self._goes_on):
            save_streams(self._resume, {stream.name: stream.saved() for stream in self._streams}, self._model)
        elif self._goes_on:
            self._resume.unlink(missing_ok=True)
