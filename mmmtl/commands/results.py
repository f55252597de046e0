"""The files that are written of predictions; every kind of output has its place here."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain, count
from pathlib import Path

from mmmtl.apis import MultiTaskInferencer
from mmmtl.apis.inferencer import ImagePrediction
from mmmtl.apis.streaming import PanelSink, RawSink, RerunSink, StreamSink, VideoSink
from mmmtl.io import write_png
from mmmtl.io.image_sources import is_url

SAVES = ('video', 'panels', 'raw', 'npy', 'rerun')
"""Kinds of results: a video of the drawings, the drawing of each frame, the maps as PNG or .npy files, a recording."""

RECORDING = 'videos.rrd'
"""The recording of all videos, for Rerun."""


def drawings_of(folder: Path, name: str, save: Collection[str], *, is_video: bool) -> list[Path]:
    """Return where the drawings of an image or a video go: a picture; or a folder of pictures, a video, or both.

    Args:
        folder: folder of all results.
        name: name of the input, as `distinct_names` returns it.
        save: which of `SAVES`; 'video' means nothing for an image.
        is_video: whether it is a video.
    """
    if is_video:
        places = {'panels': folder / name, 'video': folder / f'{name}.mp4'}
    else:
        places = {'panels': folder / f'{name}.png'}
    return [path for kind, path in places.items() if kind in save]


def map_folders(folder: Path, save: Collection[str], *, is_video: bool) -> dict[str, Path]:
    """Return where the maps go, {'raw' or 'npy': a `VideoFolder` of all videos, or an `ImageFolder` of all images}."""
    return {kind: folder / kind / ('videos' if is_video else 'images') for kind in ('raw', 'npy') if kind in save}


def video_sinks(
    folder: Path, inferencer: MultiTaskInferencer, save: Collection[str], *, fps: float | None, append: bool
) -> list[StreamSink]:
    """Return the sinks that write what is wanted of videos.

    Args:
        folder: folder of all results.
        inferencer: its tasks are those of the maps.
        save: which of `SAVES`.
        fps: frames per second of videos, in place of the times of the frames.
        append: add to the results of a stopped run.
    """
    sinks: list[StreamSink] = []
    if 'video' in save:
        sinks.append(VideoSink(folder, fps=fps))
    if 'panels' in save:
        sinks.append(PanelSink(folder))
    for kind, maps in map_folders(folder, save, is_video=True).items():
        sinks.append(RawSink(maps, inferencer.tasks, npy=kind == 'npy', append=append))
    if 'rerun' in save:
        sinks.append(RerunSink(recording_of(folder, append=append), inferencer.tasks))
    return sinks


def recording_of(folder: Path, *, append: bool) -> Path:
    """Return where the recording goes; that of a run that goes on is another file: videos-2.rrd, videos-3.rrd, ..."""
    path = folder / RECORDING
    others = (path.with_stem(f'{path.stem}-{number}') for number in count(2))
    return next(one for one in chain([path], others) if not (append and one.exists()))


def write_panel(path: Path, inferencer: MultiTaskInferencer, result: ImagePrediction) -> None:
    """Write the drawing of an image."""
    assert result.image is not None and result.maps is not None
    title = result.name if is_url(result.name) else Path(result.name).name
    write_png(path, inferencer.panel(result.image, result.maps, title=title)[..., ::-1])
