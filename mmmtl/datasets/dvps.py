"""Depth-aware video panoptic segmentation: labels and depth of the same frames, of Cityscapes and of KITTI."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mmmtl.io.images import read_image, read_raw
from mmmtl.registry import DATASETS

from .base import MultiTaskDataset
from .readers import as_map

VOID = 32


class DVPS(MultiTaskDataset):
    """The flat folders `video_sequence/{split}`, whose file names say sequence, frame and kind.

    Args:
        data_root: the folder that has `video_sequence`.
        split: 'train', 'val' or 'test'.

    Raises:
        ValueError: two files of one frame and kind, or a depth that is not one channel of uint16.
    """

    pattern: ClassVar[re.Pattern[str]]
    """Groups `video`, `time`, and one named after each source and `image`."""

    def __init__(self, data_root: str, *, split: str, **kwargs: Any) -> None:
        self.split = split
        self._images: dict[tuple[str, int], Path] = {}
        super().__init__(data_root, **kwargs)

    def time_of(self, number: int) -> int:
        """The time of a frame number in a file's name."""
        return number

    def load_frames(self) -> list[dict[str, Any]]:
        """The labelled frames, sequence by sequence."""
        folder = Path(self.data_root) / 'video_sequence' / self.split
        maps: dict[tuple[str, int], dict[str, Path]] = {}
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if (match := self.pattern.fullmatch(path.name)) is None:
                continue
            key = match['video'], self.time_of(int(match['time']))
            kind = next(kind for kind in ('image', 'semseg', 'depth') if match[kind])
            files = {kind: self._images.get(key)} if kind == 'image' else maps.setdefault(key, {})
            if (other := files.get(kind)) is not None and other != path:
                raise ValueError(f'{path}: the same frame as {other.name}; remove one of them')
            if kind == 'image':
                self._images[key] = path
            else:
                maps[key][kind] = path
        return [dict(video=video, time=time, maps=found) for (video, time), found in sorted(maps.items())]

    def find_frame(self, video: str, time: int) -> Path | None:
        """The frame's file."""
        return self._images.get((video, time))

    def frame_name(self, video: str, time: int) -> str:
        """The frame, in the folder of the split."""
        return f'{Path(self.data_root) / "video_sequence" / self.split}: frame {time} of video {video!r}'

    def read_image(self, reference: Path) -> np.ndarray:
        """A frame."""
        return read_image(reference)

    def read_map(self, source: str, reference: Path) -> np.ndarray:
        """Labels or metres."""
        raw = as_map(read_raw(reference), reference, channels=1)
        if source == 'semseg':
            return self.decode_labels(raw)
        if raw.dtype != np.uint16:
            raise ValueError(f'{reference}: {raw.dtype}, but depth is uint16 (metres * 256); get the file again')
        return raw.astype(np.float32) / 256

    def decode_labels(self, raw: np.ndarray) -> np.ndarray:
        """Labels, void as 255, of a label file."""
        return raw


@DATASETS.register_module()
class CityscapesDVPS(DVPS):
    """Cityscapes-DVPS: snippets of Cityscapes, six frames of each labelled, every fifth: 2400 train and 300 val frames.

    ```
    video_sequence/{split}/{seq:06d}_{i:06d}_{city}_{cseq:06d}_{frame:06d}_leftImg8bit.png
    video_sequence/{split}/{seq:06d}_{i:06d}_{city}_{cseq:06d}_{frame:06d}_gtFine_instanceTrainIds.png
    video_sequence/{split}/{seq:06d}_{i:06d}_{city}_{cseq:06d}_{frame:06d}_depth.png
    leftImg8bit_sequence/{any}/{city}/{city}_{cseq}_{frame}_leftImg8bit.png    the frames between; optional
    ```

    Labels are train ids, or 1000 times these plus an instance, 32 = void; depth is uint16, metres * 256, 0 = none.
    Sources: `semseg` (`classes='cityscapes_19'`) and `depth`. A video is one `seq`; its time is Cityscapes' `frame`, so
    clips take the frames between from Cityscapes' own sequences.

    Args:
        data_root: the folder that has `video_sequence` and, for clips at the full rate, `leftImg8bit_sequence`.
        split: 'train' or 'val'.
        frame_step: 1 counts time in frames of Cityscapes, at 17 Hz; 5 in labelled frames, of which clips then consist.

    Raises:
        ValueError: two files of one frame and kind, a depth that is not one channel of uint16, or `frame_step` < 1.
    """

    pattern = re.compile(
        r'(?P<video>\d{6})_\d{6}_(?P<city>[^_]+)_(?P<cseq>\d{6})_(?P<time>\d{6})_'
        r'(?:(?P<image>leftImg8bit)|(?P<semseg>gtFine_instanceTrainIds)|(?P<depth>depth))\.png'
    )

    def __init__(self, data_root: str, *, split: str, frame_step: int = 1, **kwargs: Any) -> None:
        if frame_step < 1:
            raise ValueError(f'frame_step must be at least 1, not {frame_step}')
        self.frame_step = frame_step
        self._sequences: dict[str, str] = {}
        super().__init__(data_root, split=split, **kwargs)

    def time_of(self, number: int) -> int:
        """Frames of Cityscapes or labelled ones."""
        return number // self.frame_step

    def load_frames(self) -> list[dict[str, Any]]:
        """The labelled frames, sequence by sequence."""
        frames = super().load_frames()
        for frame in frames:
            match = self.pattern.fullmatch(next(iter(frame['maps'].values())).name)
            assert match is not None
            self._sequences[frame['video']] = f'{match["city"]}_{match["cseq"]}'
        return frames

    def find_frame(self, video: str, time: int) -> Path | None:
        """A labelled frame's file, or that of Cityscapes' sequence."""
        found = super().find_frame(video, time)
        if found is not None or self.frame_step > 1:
            return found
        # Their train part, too, is of Cityscapes' val.
        paths = [self._between(video, time, split) for split in ('val', 'train', 'test')]
        return next((path for path in paths if path.exists()), None)

    def frame_name(self, video: str, time: int) -> str:
        """The file of a frame between labelled ones."""
        return super().frame_name(video, time) if self.frame_step > 1 else str(self._between(video, time, 'val'))

    def decode_labels(self, raw: np.ndarray) -> np.ndarray:
        """Train ids, void as 255."""
        labels = np.where(raw >= 1000, raw // 1000, raw)
        return np.where(labels == VOID, 255, labels)

    def _between(self, video: str, time: int, split: str) -> Path:
        sequence = self._sequences[video]
        city = sequence.rsplit('_', 1)[0]
        name = f'{sequence}_{time:06d}_leftImg8bit.png'
        return Path(self.data_root) / 'leftImg8bit_sequence' / split / city / name


@DATASETS.register_module()
class SemKITTIDVPS(DVPS):
    """SemKITTI-DVPS: sequences of KITTI's odometry benchmark at 10 Hz, all frames with sparse labels and depth.

    ```
    video_sequence/{split}/{seq:06d}_{t:06d}_leftImg8bit.png
    video_sequence/{split}/{seq:06d}_{t:06d}_gtFine_class.png            uint8, 0 to 18, 255 = void
    video_sequence/{split}/{seq:06d}_{t:06d}_depth_{focal length}.png    uint16, metres * 256, 0 = none
    ```

    Sources: `semseg` (`classes='semantickitti_19'`) and `depth`. Both come from laser points, so most pixels have none.

    Args:
        data_root: the folder that has `video_sequence`.
        split: 'train', 'val' or 'test'.

    Raises:
        ValueError: two files of one frame and kind, or a depth that is not one channel of uint16.
    """

    pattern = re.compile(
        r'(?P<video>\d{6})_(?P<time>\d{6})_'
        r'(?:(?P<image>leftImg8bit)|(?P<semseg>gtFine_class)|(?P<depth>depth_[\d.]+))\.png'
    )
