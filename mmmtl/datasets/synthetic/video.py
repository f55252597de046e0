"""The embedded data set: videos of synthetic rooms and streets, made on demand."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mmmtl.datasets.base import MultiTaskDataset
from mmmtl.registry import DATASETS

from .flow import scene_flow
from .layout import make_scene
from .render import Frame, render
from .scene import Scene

SEEDS = {'train': 0, 'val': 1_000_000, 'test': 2_000_000}
"""The first scene of each split; no two splits share one."""


class FrameReference(NamedTuple):
    """A frame that need not be rendered yet."""

    video: str
    time: int

    def __str__(self) -> str:
        return f'{self.video}/{self.time:06d}'


BYTES_PER_PIXEL = 23
KEPT_BYTES = 1 << 30
"""Rendered frames are kept up to about so much memory per process."""


@DATASETS.register_module()
class SyntheticVideo(MultiTaskDataset):
    """Rooms and streets of boxes, spheres and cylinders, seen by a moving camera: no files, exact labels.

    Sources: `semseg` (`classes='synthetic'`), `depth` (metres, none in the sky) and `normals`. Every frame is labelled.
    Frames are rendered when they are first asked for and kept, up to 1 GiB.

    Args:
        split: 'train', 'val' or 'test': different scenes.
        num_videos: number of videos.
        length: frames of each.
        size: (height, width).
    """

    def __init__(self, *, split: str, num_videos: int, length: int, size: tuple[int, int], **kwargs: Any) -> None:
        if split not in SEEDS:
            raise ValueError(f'split must be one of {sorted(SEEDS)}, not {split!r}')
        self.split = split
        self.num_videos = num_videos
        self.length = length
        self.size = (size[0], size[1])
        self._scenes: dict[str, Scene] = {}
        self._rendered: dict[FrameReference, Frame] = {}
        super().__init__(**kwargs)

    def load_frames(self) -> list[dict[str, Any]]:
        """Every frame of every video."""
        frames = []
        for number in range(self.num_videos):
            video = f'{self.split}_{number:04d}'
            self._scenes[video] = make_scene(SEEDS[self.split] + number)
            for time in range(self.length):
                maps = dict.fromkeys(('semseg', 'depth', 'normals'), FrameReference(video, time))
                frames.append(dict(video=video, time=time, maps=maps))
        return frames

    def find_frame(self, video: str, time: int) -> FrameReference | None:
        """Every frame inside the video."""
        return FrameReference(video, time) if 0 <= time < self.length else None

    def video_length(self, video: str) -> int:
        """Frames of each video."""
        return self.length

    def read_image(self, reference: FrameReference) -> np.ndarray:
        """The picture of a frame."""
        return self._render(reference).image.copy()

    def read_map(self, source: str, reference: FrameReference) -> np.ndarray:
        """A map of a frame."""
        return getattr(self._render(reference), source).copy()

    def read_flow(self, video: str, time: int) -> tuple[np.ndarray, np.ndarray]:
        """The exact motion from a frame to the next, see `MultiTaskDataset.read_flow`."""
        return scene_flow(self._scenes[video], self._render(FrameReference(video, time)), time)

    def _render(self, reference: FrameReference) -> Frame:
        if reference in self._rendered:
            return self._rendered[reference]
        frame = render(self._scenes[reference.video], reference.time, *self.size)
        if self._rendered and len(self._rendered) * frame.semseg.size * BYTES_PER_PIXEL >= KEPT_BYTES:
            self._rendered.popitem()  # room for this one: its picture and maps are asked for one after another
        self._rendered[reference] = frame
        return frame
