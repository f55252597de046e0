"""Folders of numbered frames: the layout for your own videos."""

from __future__ import annotations

import json
from collections.abc import Iterator

from mmmtl.registry import DATASETS

from .base import MultiTaskDataset
from .frames import Frame, join_files
from .readers import list_video


@DATASETS.register_module()
class VideoFolder(MultiTaskDataset):
    """Videos as folders of numbered frames, with labels for all or some of them.

    ```
    videos.json                     {video: {"split": "train", "length": 16, ...}}
    frames/{video}/{t:06d}.jpg      or .png, .webp
    {source}/{video}/{t:06d}.png    one folder per task (its `source`, by default its name)
    ```

    The kind of a label file tells what it holds, see `read_map_by_kind`. A label without a frame counts as a missing
    frame.

    Args:
        data_root: the folder.
        split: use the videos with this `split`; None takes all.
    """

    split: str | None = None

    def load_frames(self) -> Iterator[Frame]:
        for video in self._videos():
            images = list_video(self.root / 'frames' / video, video)
            if not images:
                raise FileNotFoundError(
                    f'{self.root / "frames" / video}: no frames (000000.jpg, ...), but videos.json lists the '
                    'video; add them or remove it from videos.json'
                )
            maps = {source: list_video(self.root / source / video, video) for source in sorted(self.sources)}
            yield from join_files(images, maps)

    def _videos(self) -> list[str]:
        path = self.root / 'videos.json'
        try:
            videos = json.loads(path.read_text())
        except FileNotFoundError:
            raise FileNotFoundError(f'{path}: no such file; a VideoFolder lists its videos there') from None
        except json.JSONDecodeError as error:
            raise ValueError(f'{path}: not valid JSON ({error}); correct the file') from None
        if not isinstance(videos, dict) or not all(isinstance(info, dict) for info in videos.values()):
            raise ValueError(f'{path}: must have the form {{"name of a video": {{"split": "train"}}, ...}}')
        chosen = [name for name, info in videos.items() if self.split in (None, info.get('split'))]
        if not chosen:
            splits = sorted({str(info.get('split')) for info in videos.values()})
            raise ValueError(f'{path}: no video has split {self.split!r}; the splits are {splits}')
        return chosen
