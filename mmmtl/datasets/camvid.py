"""CamVid in the 480x360, 11-class form of the SegNet tutorial."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from mmmtl.io.images import IMAGE_SUFFIXES
from mmmtl.registry import DATASETS
from mmmtl.structures import Array
from mmmtl.tasks.base import IGNORE

from .base import MultiTaskDataset
from .frames import Frame, FrameKey, check_step, join_files
from .readers import list_files, read_stored

VOID = 11


@DATASETS.register_module()
class CamVid(MultiTaskDataset):
    """CamVid: street scenes from a car, 11 classes (`classes='camvid_11'`).

    ```
    {split}/{sequence}_{frame}.webp         or .png; some sequences write f before the number
    {split}annot/{sequence}_{frame}.png     uint8, 0 to 10, 11 = void
    ```

    The labelled train frames are 1 s apart; `StillToClip` makes clips of them. The val part of this form is continuous
    at 15 Hz: every second frame of the 30 Hz video.

    Args:
        split: 'train', 'val' or 'test'.
        frame_step: difference between the numbers of consecutive frames (2 at 15 Hz).
    """

    split: str
    frame_step: int = 2

    def load_frames(self) -> list[Frame]:
        check_step('frame_step', self.frame_step)
        fix = 'set frame_step to the difference of consecutive frame numbers, or remove one of the files'
        images, labels = (list_files(self.root / f'{self.split}{kind}', self._key, fix=fix) for kind in ('', 'annot'))
        return join_files(images, dict(semseg=labels))

    def read_map(self, source: str, reference: Path) -> Array:
        labels = read_stored(reference, np.uint8)
        labels[labels == VOID] = IGNORE
        return labels

    def _key(self, path: Path) -> FrameKey | None:
        match = re.fullmatch(r'(.+?)_f?(\d+)', path.stem)
        if path.suffix.lower() not in IMAGE_SUFFIXES or match is None:
            return None
        return match[1], int(match[2]) // self.frame_step
