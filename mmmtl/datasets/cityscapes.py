"""Cityscapes sequences: 30-frame snippets with labels and disparity for one frame of each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from mmmtl.registry import DATASETS

from .base import MultiTaskDataset
from .readers import read_picture, read_raw

NAME = re.compile(r'(?P<video>.+_\d{6})_(?P<time>\d{6})_gtFine_labelIds\.png')

CATEGORY_OF_ID = {
    7: 0, 8: 0, 9: 0, 10: 0,  # flat
    11: 1, 12: 1, 13: 1, 14: 1, 15: 1, 16: 1,  # construction
    17: 2, 18: 2, 19: 2, 20: 2,  # object
    21: 3, 22: 3,  # nature
    23: 4,  # sky
    24: 5, 25: 5,  # human
    26: 6, 27: 6, 28: 6, 29: 6, 30: 6, 31: 6, 32: 6, 33: 6,  # vehicle
}  # fmt: skip
TRAIN_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


@DATASETS.register_module()
class CityscapesVideo(MultiTaskDataset):
    """Cityscapes `leftImg8bit_sequence` with the labels of its annotated frames.

    ```
    leftImg8bit_sequence/{split}/{city}/{city}_{seq}_{frame}_leftImg8bit.png    for single frames also in leftImg8bit/
    gtFine/{split}/{city}/{city}_{seq}_{frame}_gtFine_labelIds.png
    disparity/{split}/{city}/{city}_{seq}_{frame}_disparity.png     uint16, p > 0: (p - 1) / 256 pixels
    ```

    Sources: `semseg` (19 classes, `classes='cityscapes_19'`), `semseg7` (the seven categories, of every label id that
    has one, `classes='cityscapes_7'`) and `disparity` (pixels at the full width of 2048; p = 1, which is 0 pixels,
    counts as none). Clips are found by frame number, which serves short snippets (label at frame 19) and long sequences
    (label at any frame) alike.

    Args:
        data_root: the folder.
        split: 'train' or 'val'.
    """

    def __init__(self, data_root: str, *, split: str, **kwargs: Any) -> None:
        self.split = split
        super().__init__(data_root, **kwargs)

    def load_frames(self) -> list[dict[str, Any]]:
        """The annotated frames."""
        root = Path(self.data_root)
        frames = []
        for labels in sorted((root / 'gtFine' / self.split).glob('*/*_gtFine_labelIds.png')):
            if (match := NAME.fullmatch(labels.name)) is None:
                continue
            video, time = match['video'], int(match['time'])
            disparity = root / 'disparity' / self.split / labels.parent.name / f'{video}_{time:06d}_disparity.png'
            maps = {'semseg': labels, 'semseg7': labels}
            if disparity.exists():
                maps['disparity'] = disparity
            frames.append(dict(video=video, time=time, maps=maps))
        return frames

    def find_frame(self, video: str, time: int) -> Path | None:
        """The frame's file; `video` is city and sequence."""
        folders = ('leftImg8bit_sequence', 'leftImg8bit')
        return next((path for folder in folders if (path := self._path(folder, video, time)).exists()), None)

    def frame_name(self, video: str, time: int) -> str:
        """The file in `leftImg8bit_sequence`."""
        return str(self._path('leftImg8bit_sequence', video, time))

    def read_image(self, reference: Path) -> np.ndarray:
        """A frame."""
        return read_picture(reference)

    def read_map(self, source: str, reference: Path) -> np.ndarray:
        """Train ids, categories or disparity."""
        raw = read_raw(reference)
        if source == 'disparity':
            return np.where(raw > 0, (raw.astype(np.float32) - 1) / 256, 0).astype(np.float32)
        table = np.full(256, 255, dtype=np.uint8)
        mapping = CATEGORY_OF_ID if source == 'semseg7' else {label: i for i, label in enumerate(TRAIN_IDS)}
        table[list(mapping)] = list(mapping.values())
        return table[raw]

    def _path(self, folder: str, video: str, time: int) -> Path:
        city = video.rsplit('_', 1)[0]
        return Path(self.data_root) / folder / self.split / city / f'{video}_{time:06d}_leftImg8bit.png'
