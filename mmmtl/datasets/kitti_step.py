"""KITTI-STEP: drives of KITTI's tracking benchmark with labels in every frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmmtl.io.images import read_image, read_raw
from mmmtl.registry import DATASETS

from .base import MultiTaskDataset
from .readers import as_map

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
        data_root: the folder.
        split: 'train' or 'val'.

    Raises:
        ValueError: a label is no picture of three channels of uint8.
    """

    def __init__(self, data_root: str, *, split: str, **kwargs: Any) -> None:
        self.split = split
        super().__init__(data_root, **kwargs)

    def load_frames(self) -> list[dict[str, Any]]:
        """The labelled frames, sequence by sequence."""
        labels = sorted((Path(self.data_root) / 'panoptic_maps' / self.split).glob('[0-9]*/[0-9]*.png'))
        return [dict(video=path.parent.name, time=int(path.stem), maps=dict(semseg=path)) for path in labels]

    def find_frame(self, video: str, time: int) -> Path | None:
        """The frame's file."""
        path = Path(self.frame_name(video, time))
        return path if path.exists() else None

    def frame_name(self, video: str, time: int) -> str:
        """The file."""
        return str(Path(self.data_root) / 'images' / self.split / video / f'{time:06d}.png')

    def read_image(self, reference: Path) -> np.ndarray:
        """A frame."""
        return read_image(reference)

    def read_map(self, source: str, reference: Path) -> np.ndarray:
        """Train ids."""
        raw = read_raw(reference)
        if raw.dtype != np.uint8:
            raise ValueError(f'{reference}: {raw.dtype}, but a panoptic map is RGB of uint8; get the file again')
        return np.ascontiguousarray(as_map(raw, reference, channels=3)[..., 0])
