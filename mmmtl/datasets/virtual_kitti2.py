"""Virtual KITTI 2: rendered drives with exact labels, depth and motion in every frame."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mmmtl.registry import DATASETS
from mmmtl.structures import Array
from mmmtl.tasks.base import IGNORE
from mmmtl.tasks.classes import CLASSES

from .base import MultiTaskDataset
from .frames import Frame, FrameKey, join_files
from .readers import labels_of_colours, list_files, read_stored

SCENES = ('Scene01', 'Scene02', 'Scene06', 'Scene18', 'Scene20')
VARIANTS = (
    'clone', 'fog', 'morning', 'overcast', 'rain', 'sunset',
    '15-deg-left', '15-deg-right', '30-deg-left', '30-deg-right',
)  # fmt: skip
SOURCES = dict(semseg='classSegmentation', depth='depth')
UNDEFINED = (0, 0, 0)
NO_DEPTH = 65535
COLOURS = {colour: label for label, colour in enumerate(CLASSES['vkitti_14'].values())} | {UNDEFINED: IGNORE}


@DATASETS.register_module()
class VirtualKITTI2(MultiTaskDataset):
    """Virtual KITTI 2 (2.0.3): five scenes, each in ten variants of weather and view, 1242x375, all frames labelled.

    ```
    {scene}/{variant}/frames/rgb/Camera_{c}/rgb_{t:05d}.jpg
    {scene}/{variant}/frames/depth/Camera_{c}/depth_{t:05d}.png                   uint16 centimetres, 65535 = none
    {scene}/{variant}/frames/classSegmentation/Camera_{c}/classgt_{t:05d}.png     RGB, the colours of `vkitti_14`
    {scene}/{variant}/frames/forwardFlow/Camera_{c}/flow_{t:05d}.png              optional, see `read_flow`
    ```

    Copies spell the folders differently (classsegmentation), so their case is ignored.

    Sources: `semseg` (`classes='vkitti_14'`, undefined is ignored) and `depth` (metres along the optical axis; none at
    and beyond 655.35 m, as in the sky; the task's `max_depth` sets nearer limits). A video is one variant seen by one
    camera, named scene/variant/Camera_c.

    There is no official split. All variants of a scene, which show the same drive, are in the same part.

    Args:
        split: 'train' (all scenes but `test_scenes`), 'test' (only these) or None (all).
        test_scenes: the scenes of the test part.
        variants: some of `VARIANTS`; None takes all that exist.
        cameras: 0 (left), 1 (right) or both.
    """

    split: str | None
    test_scenes: Sequence[str] = ('Scene20',)
    variants: Sequence[str] | None = None
    cameras: Sequence[int] = (0,)

    def load_frames(self) -> Iterator[Frame]:
        if self.split not in ('train', 'test', None):
            raise ValueError(f"split must be 'train', 'test' or None, not {self.split!r}")
        for name, chosen, known in (
            ('test_scenes', self.test_scenes, SCENES),
            ('variants', VARIANTS if self.variants is None else self.variants, VARIANTS),
            ('cameras', self.cameras, (0, 1)),
        ):
            if isinstance(chosen, str) or not chosen or not set(chosen) <= set(known):
                raise ValueError(f'{name} must be some of {list(known)}, not {chosen!r}')
        for video in self._videos():
            maps = {source: self._list(video, folder) for source, folder in SOURCES.items()}
            yield from join_files(self._list(video, 'rgb'), maps)

    def read_map(self, source: str, reference: Path) -> Array:
        if source == 'semseg':
            return labels_of_colours(read_stored(reference, np.uint8, channels=3), COLOURS, reference)
        raw = read_stored(reference, np.uint16)
        return np.where(raw == NO_DEPTH, 0, raw.astype(np.float32) / 100).astype(np.float32)

    def read_flow(self, video: str, time: int) -> tuple[Array, Array]:
        """Return the exact motion from a frame to the next, see the base class; the last frame of a video has none.

        Reference: the data set's documentation: B > 0 is valid, R and G are (f / (size - 1) + 1) / 2 * 65535.
        """
        if (path := self._list(video, 'forwardFlow').get((video, time))) is None:
            raise FileNotFoundError(
                f'{self.data_root}: no forwardFlow of frame {time} of video {video!r}; unpack '
                'vkitti_2.0.3_forwardFlow.tar, and note that the last frame of a video has none'
            )
        rgb = read_stored(path, np.uint16, channels=3)
        valid = rgb[..., 2] > 0
        extent = np.array([rgb.shape[1] - 1, rgb.shape[0] - 1], dtype=np.float32)
        flow = (rgb[..., :2].astype(np.float32) * (2 / 65535) - 1) * extent
        return np.where(valid[..., None], flow, 0).astype(np.float32), valid

    def _videos(self) -> list[str]:
        root = self.root
        wanted = [
            scene for scene in SCENES if self.split is None or (scene in self.test_scenes) == (self.split == 'test')
        ]
        present = [scene for scene in wanted if (root / scene).is_dir()]
        if not present:
            raise FileNotFoundError(f'{root}: lacks all of {wanted}; unpack the archives there, or check data_root')
        videos = []
        for scene in present:
            for variant in VARIANTS if self.variants is None else self.variants:
                if (root / scene / variant).is_dir():
                    videos += [f'{scene}/{variant}/Camera_{camera}' for camera in self.cameras]
                elif self.variants is not None:
                    raise FileNotFoundError(f'{root / scene / variant}: no such folder; remove it from `variants`')
        return videos

    def _list(self, video: str, kind: str) -> dict[FrameKey, Path]:
        """Return a video's images or maps of a kind; {} if the folder is missing."""
        variant, _, camera = video.rpartition('/')
        folder = _same_name(_same_name(self.root / variant / 'frames', kind), camera)

        def key(path: Path) -> FrameKey | None:
            match = re.fullmatch(r'[a-z]+_(\d{5})\.(?:jpg|png)', path.name)
            return None if match is None else (video, int(match[1]))

        return list_files(folder, key)


def _same_name(parent: Path, name: str) -> Path:
    """Return the folder in `parent` that has the name in any case, or else one of exactly this name."""
    found = [path for path in parent.iterdir() if path.name.lower() == name.lower()] if parent.is_dir() else []
    return found[0] if found else parent / name
