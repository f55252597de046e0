"""Depth-aware video panoptic segmentation: frames with labels and depth, from Cityscapes and from KITTI."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmmtl.io.labels import read_raw
from mmmtl.registry import DATASETS
from mmmtl.structures import Array
from mmmtl.tasks.base import IGNORE

from .base import MultiTaskDataset
from .cityscapes import frame_key
from .frames import Frame, FrameKey, check_step, join_files
from .readers import as_map, list_files, read_stored

VOID = 32


class DVPS(MultiTaskDataset):
    """Flat folders `video_sequence/{split}` of files whose names give sequence, frame and kind.

    Args:
        data_root: the folder that has `video_sequence`.
        split: 'train', 'val' or 'test'.
    """

    pattern: ClassVar[re.Pattern[str]]
    """Groups `video`, `time`, and one named after each source and `image`."""

    split: str
    frame_step = 1

    def load_frames(self) -> list[Frame]:
        check_step('frame_step', self.frame_step)
        files: dict[str, dict[FrameKey, Path]] = dict(image={}, semseg={}, depth={})
        for (kind, video, time), path in list_files(self.root / 'video_sequence' / self.split, self._key).items():
            files[kind][video, time] = path
        images = files.pop('image')
        return join_files(self.frames_between(files) | images, files)

    def frames_between(self, maps: Mapping[str, Mapping[FrameKey, Path]]) -> dict[FrameKey, Path]:
        """Return images of these videos from other folders; none by default."""
        return {}

    def read_map(self, source: str, reference: Path) -> Array:
        if source == 'semseg':
            return self.decode_labels(as_map(read_raw(reference), reference, channels=1))
        return read_stored(reference, np.uint16).astype(np.float32) / 256

    def decode_labels(self, raw: Array) -> Array:
        """Return labels, void as 255, from the numbers in a label file."""
        return raw

    def _key(self, path: Path) -> tuple[str, str, int] | None:
        if (match := self.pattern.fullmatch(path.name)) is None:
            return None
        kind = next(kind for kind in ('image', 'semseg', 'depth') if match[kind])
        return kind, match['video'], int(match['time']) // self.frame_step


@DATASETS.register_module()
class CityscapesDVPS(DVPS):
    """Cityscapes-DVPS: snippets with every fifth frame labelled, six each: 2400 train and 300 val frames.

    ```
    video_sequence/{split}/{seq:06d}_{i:06d}_{city}_{cseq:06d}_{frame:06d}_leftImg8bit.png
    video_sequence/{split}/{seq:06d}_{i:06d}_{city}_{cseq:06d}_{frame:06d}_gtFine_instanceTrainIds.png
    video_sequence/{split}/{seq:06d}_{i:06d}_{city}_{cseq:06d}_{frame:06d}_depth.png
    leftImg8bit_sequence/{any}/{city}/{city}_{cseq}_{frame}_leftImg8bit.png    the frames between; optional
    ```

    Labels are train ids, or 1000 times these plus an instance, 32 = void; depth is uint16, metres * 256, 0 = none.
    Sources: `semseg` (`classes='cityscapes_19'`) and `depth`. A video is one `seq`, its time Cityscapes' `frame`: clips
    take the frames between from `leftImg8bit_sequence`.

    Args:
        data_root: the folder that has `video_sequence` and, for clips at the full rate, `leftImg8bit_sequence`.
        split: 'train' or 'val'.
        frame_step: 1 counts time in frames of Cityscapes, at 17 Hz; 5 counts labelled frames, and clips consist of
            these.
    """

    pattern = re.compile(
        r'(?P<video>\d{6})_\d{6}_(?P<city>[^_]+)_(?P<cseq>\d{6})_(?P<time>\d{6})_'
        r'(?:(?P<image>leftImg8bit)|(?P<semseg>gtFine_instanceTrainIds)|(?P<depth>depth))\.png'
    )

    frame_step: int = 1

    def frames_between(self, maps: Mapping[str, Mapping[FrameKey, Path]]) -> dict[FrameKey, Path]:
        """Return the frames of Cityscapes' own sequences, unless clips consist of labelled frames."""
        if self.frame_step > 1:
            return {}
        found: dict[FrameKey, Path] = {}
        for video, path in {video: path for files in maps.values() for (video, _), path in files.items()}.items():
            match = self.pattern.fullmatch(path.name)
            assert match is not None
            name = f'{match["city"]}_{match["cseq"]}_*_leftImg8bit.png'
            # Both parts come from Cityscapes' val.
            for split in ('test', 'train', 'val'):
                files = list_files(self.root / 'leftImg8bit_sequence' / split / match['city'], frame_key, name)
                found |= {(video, time): path for (_, time), path in files.items()}
        return found

    def decode_labels(self, raw: Array) -> Array:
        raw = raw.astype(np.int32)  # a file without instances may have 8 bits
        labels = np.where(raw >= 1000, raw // 1000, raw)
        return np.where(labels == VOID, IGNORE, labels)


@DATASETS.register_module()
class SemKITTIDVPS(DVPS):
    """SemKITTI-DVPS: sequences of KITTI's odometry benchmark at 10 Hz, all frames with sparse labels and depth.

    ```
    video_sequence/{split}/{seq:06d}_{t:06d}_leftImg8bit.png
    video_sequence/{split}/{seq:06d}_{t:06d}_gtFine_class.png            uint8, 0 to 18, 255 = void
    video_sequence/{split}/{seq:06d}_{t:06d}_depth_{focal length}.png    uint16, metres * 256, 0 = none
    ```

    Sources: `semseg` (`classes='semantickitti_19'`) and `depth`. Both come from laser points, so most pixels have none.
    """

    pattern = re.compile(
        r'(?P<video>\d{6})_(?P<time>\d{6})_'
        r'(?:(?P<image>leftImg8bit)|(?P<semseg>gtFine_class)|(?P<depth>depth_[\d.]+))\.png'
    )
