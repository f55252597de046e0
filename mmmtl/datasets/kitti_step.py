"""KITTI-STEP: drives of KITTI's tracking benchmark with labels in every frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmmtl.registry import DATASETS
from mmmtl.structures import Array

from .base import MultiTaskDataset
from .frames import Frame, FrameKey, join_files
from .readers import list_files, read_stored

VAL_SEQUENCES = ('0002', '0006', '0007', '0008', '0010', '0013', '0014', '0016', '0018')
"""Of KITTI's 21 training sequences; the other 12 are the train part."""


@DATASETS.register_module()
class KITTISTEP(MultiTaskDataset):
    """KITTI-STEP: 12 train and 9 val sequences at 10 Hz, 5027 and 2981 frames, all labelled.

    ```
    images/{split}/{sequence:04d}/{t:06d}.png
    panoptic_maps/{split}/{sequence:04d}/{t:06d}.png    RGB: R = train id of Cityscapes, 255 = void; G, B = instance
    ```

    Source: `semseg` (`classes='cityscapes_19'`).

    Args:
        split: 'train' or 'val'.
    """

    split: str

    def load_frames(self) -> list[Frame]:
        return join_files(self._list('images'), dict(semseg=self._list('panoptic_maps')))

    def read_map(self, source: str, reference: Path) -> Array:
        return np.ascontiguousarray(read_stored(reference, np.uint8, channels=3)[..., 0])

    def _list(self, folder: str) -> dict[FrameKey, Path]:
        return list_files(
            self.root / folder / self.split,
            lambda path: (path.parent.name, int(path.stem)) if path.stem.isdecimal() else None,
            '[0-9]*/[0-9]*.png',
        )
