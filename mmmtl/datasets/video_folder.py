"""A folder of videos in the plain form that users bring their own data in."""

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

    What a label file holds is read off the file, see `read_map_by_kind`.

    A label needs its frame: one without counts as a missing frame.

    Args:
        data_root: the folder.
        split: videos whose `split` is this; None takes all.

    Raises:
        FileNotFoundError: no videos.json, or a video in it has no frames.
        ValueError: videos.json is not as above, has no video of `split`, or a frame has two files.
    """

    split: str | None = None

    def load_frames(self) -> Iterator[Frame]:
        """Return the frames, video by video."""
        for video in self._videos():
            images = list_video(self.root / 'frames' / video, video)
            if not images:
                raise FileNotFoundError(
                    f'{self.root / "frames" / video}: no frames (000000.jpg, ...) of a video that videos.json lists; '
                    'add them or take the video out of videos.json'
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
            raise ValueError(f'{path}: not valid JSON ({error}); mend the file') from None
        if not isinstance(videos, dict) or not all(isinstance(info, dict) for info in videos.values()):
            raise ValueError(f'{path}: must have the form {{"name of a video": {{"split": "train"}}, ...}}')
        chosen = [name for name, info in videos.items() if self.split in (None, info.get('split'))]
        if not chosen:
            splits = sorted({str(info.get('split')) for info in videos.values()})
            raise ValueError(f'{path}: no video has split {self.split!r}; the splits are {splits}')
        return chosen
