"""A recording of running streams for the viewer Rerun."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from mmmtl.io import whole_file
from mmmtl.models.segmentors.frame_kinds import IMAGE, KEY
from mmmtl.structures import Array
from mmmtl.tasks import Task

from .frames import StreamFrame
from .sinks import StreamSink

INSTALL = 'pip install "rerun-sdk>=0.24"'


class RerunSink(StreamSink):
    """A recording for Rerun (`rerun maps.rrd`), which shows values under the pointer and has a timeline.

    Below the name of each stream are its `image`, the map of each task, `is_key`, and `seconds/{stage}`. As
    `Task.decoding` describes them, maps of classes are segmentations with names and colours, and maps in metres are
    depth images; others are drawn. The timelines are `frame` and `time`. The file appears when the block ends.

    Args:
        path: path of the file, ends in '.rrd'.
        tasks: tasks of the inferencer.

    Raises:
        ValueError: another suffix, or Rerun is not installed.
    """

    def __init__(self, path: str | Path, tasks: Mapping[str, Task]) -> None:
        if Path(path).suffix != '.rrd':
            raise ValueError(f'{path}: a recording must end in .rrd')
        try:
            import rerun
        except ImportError:
            raise ValueError(f'{path}: a recording needs Rerun; {INSTALL}') from None
        self._rerun: Any = rerun
        self._path, self._tasks = Path(path), tasks
        self._decodings = {name: task.decoding() or {} for name, task in tasks.items()}
        self._streams: set[str] = set()
        self._stack = ExitStack()

    def open(self) -> None:
        partial = self._stack.enter_context(whole_file(self._path))
        self._recording = self._rerun.RecordingStream('mmmtl')
        self._recording.save(str(partial))
        self._stack.callback(self._recording.disconnect)

    def write(self, frame: StreamFrame) -> None:
        name, recording = frame.stream.name, self._recording
        if name not in self._streams:
            self._streams.add(name)
            self._describe_classes(name)
        # Timelines belong to a thread, and each stream has one.
        recording.set_time('frame', sequence=frame.number)
        recording.set_time('time', duration=frame.time)
        recording.log([name, 'image'], self._picture(frame.image[..., ::-1]))
        for task_name, array in frame.maps.items():
            recording.log([name, task_name], self._map(task_name, frame.image, array))
        if frame.kind != IMAGE:
            recording.log([name, 'is_key'], self._rerun.Scalars(float(frame.kind == KEY)))
        for stage, seconds in frame.seconds.items():
            recording.log([name, 'seconds', stage], self._rerun.Scalars(seconds))

    def close(self, error: BaseException | None) -> None:
        self._stack.__exit__(None if error is None else type(error), error, None)

    def _describe_classes(self, stream: str) -> None:
        """Log the names and colours of all classes."""
        for name, task in self._tasks.items():
            if self._decodings[name].get('kind') == 'classes':
                context = [
                    (number, label, colour)
                    for number in range(task.out_channels)
                    for label, colour in task.legend(np.full((1, 1, 1), number)).swatches.items()
                ]
                self._recording.log([stream, name], self._rerun.AnnotationContext(context), static=True)

    def _map(self, task: str, image: Array, array: Array) -> Any:
        """Return what shows a map (M, H, W) of an image (H, W, 3) BGR."""
        decoding = self._decodings[task]
        if decoding.get('kind') == 'classes':
            return self._rerun.SegmentationImage(array[0].astype(np.uint16))
        if decoding.get('unit') == 'm':
            return self._rerun.DepthImage(array[0], meter=1.0)
        return self._picture(self._tasks[task].draw(image[..., ::-1], array))

    def _picture(self, image: Array) -> Any:
        return self._rerun.Image(np.ascontiguousarray(image)).compress()
