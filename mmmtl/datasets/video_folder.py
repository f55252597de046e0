"""Folders of numbered frames: the layout for your own videos."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath

from mmmtl.io.files import read_json
from mmmtl.registry import DATASETS

from .folders import FolderDataset
from .frames import Frame, join_files
from .readers import list_video


@DATASETS.register_module()
class VideoFolder(FolderDataset):
    """Videos as folders of numbered frames, with labels for all or some of them.

    ```
    videos.json                     {video: {"split": "train", "length": 16, ...}}
    frames/{video}/{t:06d}.jpg      or another image file; 7.png and frame_000007.jpg are frame 7, too
    {source}/{video}/{t:06d}.png    one folder per task (its `source`, by default its name)
    ```

    Neighbouring frames have neighbouring numbers. A label without a frame counts as a missing frame. Hidden files and
    images without a number are ignored.

    Args:
        data_root: the folder.
        split: use the videos with this `split`; None takes all.
    """

    split: str | None = None
    images: str = 'frames'

    def load_frames(self) -> Iterator[Frame]:
        self.check_units()
        for video in self._videos():
            images = list_video(self.root / self.images / video, video)
            if not images:
                raise FileNotFoundError(
                    f'{self.root / self.images / video}: no frames (000000.jpg, ...), but videos.json lists the '
                    'video; add them or remove it from videos.json'
                )
            self._check_numbers(sorted(time for _, time in images), self.root / self.images / video)
            folders = {source: self.root / source / video for source in sorted(self.sources)}
            yield from join_files(images, {source: list_video(path, video, images) for source, path in folders.items()})

    def _check_numbers(self, numbers: list[int], folder: Path) -> None:
        """Refuse clips and whole videos of frames without neighbours: clips would be copies of one frame."""
        apart = len(numbers) > 2 and all(after - before > 1 for before, after in pairwise(numbers))
        if apart and self.items.reads_neighbours:
            raise ValueError(
                f'{folder}: the numbers of the frames ({", ".join(map(str, numbers[:3]))}, ...) differ by more than '
                'one, so no frame has a neighbour; number them 0, 1, 2, ..., or, if they do not form a video, set '
                'clip=dict(still=True) and add StillToClip'
            )

    def _videos(self) -> list[str]:
        path = self.root / 'videos.json'
        videos = read_json(path, missing='no such file; a VideoFolder lists its videos there')
        if not isinstance(videos, dict) or not all(isinstance(info, dict) for info in videos.values()):
            raise ValueError(f'{path}: must have the form {{"name of a video": {{"split": "train"}}, ...}}')
        for name, info in videos.items():
            if not _is_folder_name(name):
                raise ValueError(f'{path}: {name!r} is not a folder inside {self.images}; name videos by their folders')
            if not isinstance(info.get('split'), str | None):
                raise ValueError(
                    f'{path}: the split of video {name!r} is {info["split"]!r}, not a text such as "train"'
                )
        chosen = [name for name, info in videos.items() if self.split in (None, info.get('split'))]
        if not chosen:
            splits = sorted({str(info.get('split')) for info in videos.values()})
            raise ValueError(f'{path}: no video has split {self.split!r}; the splits are {splits}')
        return chosen


def _is_folder_name(name: str) -> bool:
    """Return whether a name, as written, is that of a folder inside another: no `..`, no absolute path."""
    try:
        parts = [*map(os.fsencode, name.split('/'))]
    except UnicodeEncodeError:
        return False
    plain = all(part not in (b'', b'.', b'..') and len(part) < 256 and b'\0' not in part for part in parts)
    return plain and len(parts) < 16 and not PurePosixPath(name).is_absolute() and not PureWindowsPath(name).anchor
