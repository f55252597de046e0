"""Predictions for the page: of a video, a picture, or the next frame of a camera."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmmtl.apis.streaming import StreamFrame, StreamRunner, VideoSink
from mmmtl.models.segmentors.frame_kinds import IMAGE, KEY, frame_kind
from mmmtl.structures import Array, StreamState
from mmmtl.visualization import Painter, frame_title

from .models import Models
from .time_line import TimeLine
from .watching import watch


def predict_video(
    models: Models, video: str | None, name: str, tasks: Sequence[str]
) -> Iterator[tuple[Array | None, str, str]]:
    """Yield the drawing of the newest frame, the timeline, and at the end the path of a video of all drawings.

    The path is '' until then. The first drawing is None and comes before the model is loaded, as the page can only stop
    a run that has yielded something. The video is deleted when the iterator goes on.

    Raises:
        ValueError: no video, or one that cannot be read.
    """
    if not video:
        raise ValueError('choose a video first')
    yield None, '', ''
    model = models.load(name, tasks)
    line = TimeLine(model.gmac)

    def count(frame: StreamFrame) -> None:
        line.add(frame.kind, frame.seconds['infer'])

    title = Path(video).stem
    runner = StreamRunner(model.inferencer, {title: video})
    with tempfile.TemporaryDirectory(prefix='mmmtl_') as folder:
        # Browsers play VP9 in WebM; gradio would convert an .mp4.
        film = Path(folder) / f'{title}_maps.webm'
        panel = None
        for frame in watch(runner, VideoSink(film), count):
            panel = frame.panel
            yield panel, line.html(), ''
        if panel is not None:
            yield panel, line.html(), str(film)


def predict_picture(models: Models, picture: str | None, name: str, tasks: Sequence[str]) -> tuple[Array, str]:
    """Return the drawing of a picture and its maps, and a line about time and, for an image model, cost.

    Raises:
        ValueError: no picture, or one that cannot be read.
    """
    if not picture:
        raise ValueError('choose a picture first')
    model = models.load(name, tasks)
    fitted = model.inferencer.fit(picture)
    start = time.perf_counter()
    found = model.inferencer.step_fitted([fitted])
    cost = [f'{1000 * (time.perf_counter() - start):.0f} ms']
    if len(model.gmac) == 1:
        # A video model runs both networks on a first frame, which is none of the kinds whose costs are known.
        cost += [f'{n:.3g} GMAC' for n in model.gmac.values()]
    return model.inferencer.panel(found.images[0], found.maps[0], title=Path(picture).name), f'<p>{", ".join(cost)}</p>'


@dataclass
class Camera:
    """The stream of a camera between two frames; each visitor of the page has one.

    Args:
        key: the model, its tasks and the size of the frames; another one begins a new stream.
        painter: keeps the legends of the maps in place.
        line: the timeline.
        state: state after the last frame.
        frames: number of frames up to now.
        since_key: number of frames since the last key frame.
    """

    key: tuple[object, ...]
    painter: Painter
    line: TimeLine
    state: StreamState | None = None
    frames: int = 0
    since_key: int = 0


def predict_camera(
    models: Models, image: Array | None, name: str, tasks: Sequence[str], camera: Camera | None
) -> tuple[Array | None, str, Camera | None]:
    """Return the drawing of the next frame, (H, W, 3) uint8 RGB, the timeline, and what the next call needs."""
    if image is None:
        return None, '', None
    model = models.load(name, tasks)
    inferencer = model.inferencer
    key = (name, *tasks, image.shape)
    if camera is None or camera.key != key:
        camera = Camera(key, Painter(inferencer.tasks, video=True), TimeLine(model.gmac))
    start = time.perf_counter()
    found = inferencer.step(np.ascontiguousarray(image[..., ::-1]), camera.state)
    kind = frame_kind(inferencer.model, found.is_key)
    camera.line.add(kind, time.perf_counter() - start)
    camera.since_key = 0 if found.is_key else camera.since_key + 1
    title = frame_title('camera', camera.frames, since_key=None if kind == IMAGE else camera.since_key)
    panel = inferencer.panel(found.image, found.maps, title=title, mark=kind == KEY, painter=camera.painter)
    camera.state, camera.frames = found.state, camera.frames + 1
    return panel, camera.line.html(), camera
