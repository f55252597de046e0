"""The files that are written of predictions; every kind of output has its place here."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from mmmtl.apis import MultiTaskInferencer, VideoWriter
from mmmtl.io import write_png

from .run_video import PredictedFrame

SAVES = ('video', 'panels')
"""What can be written: a video of the drawings, and the drawing of every frame."""


class Outputs(NamedTuple):
    """Where the results of an image or a video go; None writes no such file.

    Args:
        panel: the drawing of an image.
        frames: folder of the drawings of a video.
        video: video of the drawings.
    """

    panel: Path | None = None
    frames: Path | None = None
    video: Path | None = None


def outputs_of(folder: Path, name: str, save: Collection[str], *, is_video: bool) -> Outputs:
    """Return the outputs of an image or a video below a folder.

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


class ResultWriter:
    """The results of one image or video, written frame by frame.

    Args:
        inferencer: draws.
        outputs: where the drawings go.
        video: an open writer of `outputs.video`.
        keep_times: whether the frames of the video keep their own times.
    """

    def __init__(
        self,
        inferencer: MultiTaskInferencer,
        outputs: Outputs,
        *,
        video: VideoWriter | None = None,
        keep_times: bool = True,
    ) -> None:
        self.inferencer, self.outputs, self.video, self.keep_times = inferencer, outputs, video, keep_times

    def write(self, frame: PredictedFrame) -> None:
        """Write everything that is wanted of a frame."""
        panel = self.inferencer.panel(frame.image, frame.maps)
        if self.outputs.panel is not None:
            write_png(self.outputs.panel, panel[..., ::-1])
        if self.outputs.frames is not None:
            write_png(self.outputs.frames / f'{frame.number:06d}.png', panel[..., ::-1])
        if self.video is not None:
            self.video.write(panel, frame.time if self.keep_times else None)
