"""The files that are written of predictions; every kind of output has its place here."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from mmmtl.apis import MultiTaskInferencer, VideoWriter
from mmmtl.io import MapWriter, write_png
from mmmtl.io.image_sources import is_url
from mmmtl.structures import Array
from mmmtl.visualization import Painter, frame_title

from .run_video import PredictedFrame

SAVES = ('video', 'panels', 'raw', 'npy')
"""Kinds of results: a video of the drawings, the drawing of each frame, and the maps as PNG or .npy files."""


class Outputs(NamedTuple):
    """Paths of the drawings of an image or a video; nothing is written for None.

    Args:
        panel: the drawing of an image.
        frames: folder of the drawings of a video.
        video: video of the drawings.
    """

    panel: Path | None = None
    frames: Path | None = None
    video: Path | None = None


def outputs_of(folder: Path, name: str, save: Collection[str], *, is_video: bool) -> Outputs:
    """Return where the drawings of an image or a video go, below a folder.

    Args:
        folder: of all results.
        name: of the input, as `distinct_names` returns it.
        save: which of `SAVES`; 'video' means nothing for an image.
        is_video: whether it is a video.
    """
    return Outputs(
        panel=folder / f'{name}.png' if 'panels' in save and not is_video else None,
        frames=folder / name if 'panels' in save and is_video else None,
        video=folder / f'{name}.mp4' if 'video' in save and is_video else None,
    )


def raw_folder(folder: Path, save: Collection[str], *, is_video: bool) -> Path | None:
    """Return where the maps go: a `VideoFolder` of all videos, an `ImageFolder` of all images; None if not wanted."""
    return folder / 'raw' / ('videos' if is_video else 'images') if {'raw', 'npy'} & set(save) else None


class ResultWriter:
    """The results of one image or video, written frame by frame.

    Args:
        inferencer: draws.
        source: the image or video; the drawings say its name.
        outputs: where the drawings go.
        is_video: whether it is a video, whose drawings all have the same keys.
        video: an open writer of `outputs.video`.
        keep_times: whether the frames of the video keep their own times.
        maps: an open writer of the maps.
        name: of the maps, as `distinct_names` returns it.
    """

    def __init__(
        self,
        inferencer: MultiTaskInferencer,
        source: str,
        outputs: Outputs,
        *,
        is_video: bool = False,
        video: VideoWriter | None = None,
        keep_times: bool = True,
        maps: MapWriter | None = None,
        name: str = '',
    ) -> None:
        self.inferencer, self.outputs, self.is_video = inferencer, outputs, is_video
        self.title = source if is_url(source) else Path(source).name
        self.video, self.keep_times = video, keep_times
        self.maps, self.name = maps, name
        self.painter = Painter(inferencer.tasks, video=is_video)

    def write(self, frame: PredictedFrame) -> None:
        """Write everything that is wanted of a frame."""
        if self.maps is not None:
            self.maps.write(self.name, frame.number, frame.image, frame.maps)
        if not any(self.outputs):
            return
        panel = self.draw(frame)
        if self.outputs.panel is not None:
            write_png(self.outputs.panel, panel[..., ::-1])
        if self.outputs.frames is not None:
            write_png(self.outputs.frames / f'{frame.number:06d}.png', panel[..., ::-1])
        if self.video is not None:
            self.video.write(panel, frame.time if self.keep_times else None)

    def draw(self, frame: PredictedFrame) -> Array:
        """Return the drawing of a frame, (H, W, 3) uint8 RGB."""
        number = frame.number if self.is_video else None
        title = frame_title(self.title, number, since_key=frame.since_key)
        mark = frame.since_key == 0
        return self.inferencer.panel(frame.image, frame.maps, title=title, mark=mark, painter=self.painter)
