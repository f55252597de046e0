"""The embedded data set: videos of synthetic rooms and streets, made on demand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import NamedTuple

from mmmtl.datasets.base import MultiTaskDataset
from mmmtl.datasets.frames import Frame, check_step
from mmmtl.registry import DATASETS
from mmmtl.structures import Array

from .flow import scene_flow
from .layout import make_scene
from .render import RenderedFrame, render
from .scene import Scene

SEEDS = {'train': 0, 'val': 1_000_000, 'test': 2_000_000}
"""The seed of the first scene of each split."""


class FrameReference(NamedTuple):
    """A frame, rendered or not."""

    video: str
    time: int

    def __str__(self) -> str:
        return f'{self.video}/{self.time:06d}'


BYTES_PER_PIXEL = 23
KEPT_BYTES = 1 << 30
"""Memory for rendered frames, per process."""


@DATASETS.register_module()
class SyntheticVideo(MultiTaskDataset):
    """Rooms and streets of boxes, spheres and cylinders, seen by a moving camera: no files, exact labels.

    Sources: `semseg` (`classes='synthetic'`), `depth` (metres, none in the sky) and `normals`. Every frame is labelled.
    Frames are rendered when they are first used, and up to 1 GiB of them is kept.

    Args:
        split: 'train', 'val' or 'test': different scenes.
        length: frames of each video.
        size: (height, width).
        frame_step: 1 for 30 Hz or so; with n, every n-th frame of that is taken, and all moves n times as fast.
    """

    split: str
    num_videos: int
    length: int
    size: tuple[int, int]
    frame_step: int = 1
    _scenes: dict[str, Scene] = field(init=False, default_factory=dict)
    _rendered: dict[FrameReference, RenderedFrame] = field(init=False, default_factory=dict)

    def load_frames(self) -> Iterator[Frame]:
        if self.split not in SEEDS:
            raise ValueError(f'split must be one of {sorted(SEEDS)}, not {self.split!r}')
        check_step('frame_step', self.frame_step)
        for number in range(self.num_videos):
            video = f'{self.split}_{number:04d}'
            self._scenes[video] = make_scene(SEEDS[self.split] + number)
            for time in range(self.length):
                reference = FrameReference(video, time)
                yield Frame(video, time, reference, dict.fromkeys(('semseg', 'depth', 'normals'), reference))

    def read_image(self, reference: FrameReference) -> Array:
        return self._render(reference).image.copy()

    def read_map(self, source: str, reference: FrameReference) -> Array:
        kept: Array = getattr(self._render(reference), source)
        return kept.copy()

    def read_flow(self, video: str, time: int) -> tuple[Array, Array]:
        frame, step = self._render(FrameReference(video, time)), self.frame_step
        return scene_flow(self._scenes[video], frame, time * step, step)

    def _render(self, reference: FrameReference) -> RenderedFrame:
        if reference in self._rendered:
            return self._rendered[reference]
        frame = render(self._scenes[reference.video], reference.time * self.frame_step, *self.size)
        if self._rendered and len(self._rendered) * frame.semseg.size * BYTES_PER_PIXEL >= KEPT_BYTES:
            self._rendered.popitem()  # make room for this one, whose image and maps are read one by one
        self._rendered[reference] = frame
        return frame
