"""A folder of videos in the plain form that users bring their own data in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mmmtl.io.images import IMAGE_SUFFIXES, read_image, read_raw
from mmmtl.registry import DATASETS

from .base import MultiTaskDataset
from .readers import decode_normals


@DATASETS.register_module()
class VideoFolder(MultiTaskDataset):
    """Videos as folders of numbered frames, with labels for all or some of them.

    ```
    videos.json                     {video: {"split": "train", "length": 16, ...}}
    frames/{video}/{t:06d}.jpg      or .png, .webp
    {source}/{video}/{t:06d}.png    one folder per task (its `source`, by default its name)
    ```

    What a label file holds is read off the file: one channel of 8 bits is labels (255 = ignore), one of 16 bits depth
    in millimetres (0 = none), three of 8 bits normals, v = round((n + 1) / 2 * 255) with (0, 0, 0) = none.

    A label needs its frame: one without counts as a missing frame.

    Args:
        data_root: the folder.
        split: videos whose `split` is this; None takes all.

    Raises:
        FileNotFoundError: no videos.json, or a video in it has no frames.
        ValueError: videos.json is not as above, has no video of `split`, or a frame has two files.
    """

    def __init__(self, data_root: str, *, split: str | None = None, **kwargs: Any) -> None:
        self.split = split
        self._frames: dict[str, dict[int, Path]] = {}
        super().__init__(data_root, **kwargs)

    def load_frames(self) -> list[dict[str, Any]]:
        """Frames with at least one label, video by video."""
        root = Path(self.data_root)
        sources = sorted({task.source for task in self.tasks.values()})
        frames = []
        for video in self._videos():
            self._frames[video] = _numbered_files(root / 'frames' / video)
            if not self._frames[video]:
                raise FileNotFoundError(
                    f'{root / "frames" / video}: no frames (000000.jpg, ...) of a video that videos.json lists; add '
                    'them or take the video out of videos.json'
                )
            labels = {source: _numbered_files(root / source / video) for source in sources}
            for time in sorted(set().union(*labels.values())):
                maps = {source: files[time] for source, files in labels.items() if time in files}
                frames.append(dict(video=video, time=time, maps=maps))
        return frames

    def find_frame(self, video: str, time: int) -> Path | None:
        """The frame's file."""
        return self._frames[video].get(time)

    def frame_name(self, video: str, time: int) -> str:
        """The file, of any suffix."""
        return str(Path(self.data_root) / 'frames' / video / f'{time:06d}.*')

    def video_length(self, video: str) -> int:
        """Number of frame files."""
        return len(self._frames[video])

    def read_image(self, reference: Path) -> np.ndarray:
        """A frame."""
        return read_image(reference)

    def read_map(self, source: str, reference: Path) -> np.ndarray:
        """A label map, see the class."""
        raw = read_raw(reference)
        if (raw.dtype, raw.ndim) == (np.uint8, 2):
            return raw
        if (raw.dtype, raw.ndim) == (np.uint16, 2):
            return raw.astype(np.float32) / 1000
        if (raw.dtype, raw.ndim) == (np.uint8, 3):
            return decode_normals(raw)
        raise ValueError(
            f'{reference}: {raw.dtype} of shape {raw.shape} is no label map; write labels as one channel of uint8, '
            'depth as one of uint16 (millimetres), normals as RGB of uint8'
        )

    def _videos(self) -> list[str]:
        path = Path(self.data_root) / 'videos.json'
        try:
            videos = json.loads(path.read_text())
        except FileNotFoundError:
            raise FileNotFoundError(f'{path}: no such file; a VideoFolder lists its videos there') from None
        except json.JSONDecodeError as error:
            raise ValueError(f'{path}: not valid JSON ({error}); mend the file') from None
        if not isinstance(videos, dict) or not all(isinstance(info, dict) for info in videos.values()):
            raise ValueError(f'{path}: must have the form {{"name of a video": {{"split": "train"}}, ...}}')
        chosen = [name for name, info in videos.items() if self.split in (None, info.get('split'))]
        if not chosen:
            splits = sorted({str(info.get('split')) for info in videos.values()})
            raise ValueError(f'{path}: no video has split {self.split!r}; the splits are {splits}')
        return chosen


def _numbered_files(folder: Path) -> dict[int, Path]:
    """{number: file} of the pictures in a folder; an absent folder has none."""
    files: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() not in IMAGE_SUFFIXES or not path.stem.isdecimal():
            continue
        if (other := files.setdefault(int(path.stem), path)) != path:
            raise ValueError(f'{path}: the same number as {other.name}; remove one of them')
    return files
