"""CamVid in the 480x360, 11-class form of the SegNet tutorial."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from mmmtl.io.images import IMAGE_SUFFIXES, read_image, read_raw
from mmmtl.registry import DATASETS

from .base import MultiTaskDataset

VOID = 11


@DATASETS.register_module()
class CamVid(MultiTaskDataset):
    """CamVid: street scenes from a car, 11 classes (`classes='camvid_11'`).

    ```
    {split}/{sequence}_{frame}.webp         or .png; some sequences write f before the number
    {split}annot/{sequence}_{frame}.png     uint8, 0 to 10, 11 = void
    ```

    The labelled train frames are 1 s apart: stills, to be made clips by `StillToClip`. The val part of this form is
    continuous at 15 Hz, every second frame of the 30 Hz film; its time here is counted in frames at hand.

    Args:
        data_root: the folder.
        split: 'train', 'val' or 'test'.
        frame_step: numbers between consecutive frames at hand (2 at 15 Hz).
    """

    def __init__(self, data_root: str, *, split: str, frame_step: int = 2, **kwargs: Any) -> None:
        self.split = split
        self.frame_step = frame_step
        self._files: dict[tuple[str, int], Path] = {}
        super().__init__(data_root, **kwargs)

    def load_frames(self) -> list[dict[str, Any]]:
        """Every picture, with its label where there is one."""
        root = Path(self.data_root)
        frames = []
        for path in sorted((root / self.split).glob('*')):
            match = re.fullmatch(r'(.+?)_f?(\d+)', path.stem)
            if path.suffix.lower() not in IMAGE_SUFFIXES or match is None:
                continue
            video, time = match[1], int(match[2]) // self.frame_step
            if (other := self._files.setdefault((video, time), path)) != path:
                raise ValueError(
                    f'{path}: the same frame as {other.name} with frame_step={self.frame_step}; set frame_step to the '
                    'difference of consecutive frame numbers, or remove one of the files'
                )
            label = root / f'{self.split}annot' / f'{path.stem}.png'
            frames.append(dict(video=video, time=time, maps={'semseg': label} if label.exists() else {}))
        return frames

    def find_frame(self, video: str, time: int) -> Path | None:
        """The frame's file."""
        return self._files.get((video, time))

    def read_image(self, reference: Path) -> np.ndarray:
        """A frame."""
        return read_image(reference)

    def read_map(self, source: str, reference: Path) -> np.ndarray:
        """Labels, void as 255."""
        labels = read_raw(reference)
        labels[labels == VOID] = 255
        return labels
