"""The labelled images of NYU Depth v2, in the 384x288 pack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmmtl.registry import DATASETS
from mmmtl.structures import Array
from mmmtl.tasks.base import IGNORE
from mmmtl.tasks.stored import decode_normals

from .base import MultiTaskDataset
from .frames import Frame
from .readers import list_stems, listed_files, read_names, read_stored

FOLDERS = dict(semseg='lab40', semseg13='lab40', depth='depth8', normals='normals')
EVALUATION_WINDOW = (slice(27, 283), slice(25, 361))
"""The usual rows 45:471 and columns 41:601 of 480x640, scaled to 288x384."""
HELD_OUT = frozenset(
    f'{number:04d}'
    for start in (92, 138, 228, 336, 366, 480, 745, 880, 1059, 1370)
    for number in range(start, start + 10)
)
"""Ten blocks of ten consecutive train images, since neighbours often show one room."""
TO_13 = (11, 4, 5, 0, 3, 8, 9, 11, 12, 5, 7, 5, 12, 9, 5, 12, 5, 6, 6, 4, 6, 2, 1, 5, 10, *(6,) * 6, 5, *(6,) * 6, 5, 6)
"""The class in `nyuv2_13` of each class of `nyuv2_40`."""


@DATASETS.register_module()
class NYUv2(MultiTaskDataset):
    """NYU Depth v2: 795 train and 654 test images of indoor scenes, with semantic labels, depth and normals.

    ```
    rgb/{number}.webp       384x288
    lab40/{number}.png      uint8, 0 to 39, 255 = ignore
    depth8/{number}.png     uint8 v, metres = (v + 0.5) / 25.5
    normals/{number}.png    uint8 RGB, v = round((n + 1) / 2 * 255)
    train.txt, test.txt     numbers, 0001 to 1449
    ```

    Sources: `semseg` (`classes='nyuv2_40'`), `semseg13` (`classes='nyuv2_13'`), `depth` and `normals`. Class 39,
    `otherprop`, occurs only in the test labels: leave it out of the score with `unscored=['otherprop']`. The normals
    are pseudo ground truth, derived from the depth by the pack's `derive_normals.py`: say so beside their scores.

    A border of about 8 pixels (at 480x640) is white, and its depth is made up: scores usually leave it out.

    Args:
        split: 'train' or 'test', the official parts; 'held-out', the 100 train images `HELD_OUT`, on which choices are
            made without the test images; 'fit', the other 695.
        evaluation_window: label only rows 27:283, columns 25:361.
    """

    split: str
    evaluation_window: bool = False

    def load_frames(self) -> Iterator[Frame]:
        part = 'train' if self.split in ('fit', 'held-out') else self.split
        listed = self.root / f'{part}.txt'
        names = read_names(listed)
        if part != self.split:
            names = [name for name in names if (name in HELD_OUT) == (self.split == 'held-out')]
        if not (folder := self.root / 'normals').is_dir() and 'normals' in self.sources:
            raise FileNotFoundError(
                f'{folder}: no such folder; run `python derive_normals.py --root . --out normals` in {self.root}, or '
                'remove the task that needs them'
            )
        for name, image in listed_files(names, list_stems(self.root / 'rgb'), listed).items():
            files = {source: self.root / folder / f'{name}.png' for source, folder in FOLDERS.items()}
            maps = {source: file for source, file in files.items() if file.exists()}
            yield Frame(name, 0, image, maps)

    def read_map(self, source: str, reference: Path) -> Array:
        if source == 'normals':
            return self._windowed(decode_normals(read_stored(reference, np.uint8, channels=3)), 0)
        raw = read_stored(reference, np.uint8)
        if source == 'depth':
            return self._windowed((raw.astype(np.float32) + 0.5) / 25.5, 0)
        return self._windowed(classes_13(raw) if source == 'semseg13' else raw, IGNORE)

    def _windowed(self, array: Array, fill: float) -> Array:
        if not self.evaluation_window:
            return array
        inside = np.full_like(array, fill)
        inside[EVALUATION_WINDOW] = array[EVALUATION_WINDOW]
        return inside


def classes_13(labels: Array) -> Array:
    """Return labels of `nyuv2_13` for labels of `nyuv2_40`, (H, W) uint8; all others are ignored."""
    table = np.full(IGNORE + 1, IGNORE, dtype=np.uint8)
    table[: len(TO_13)] = TO_13
    return table.take(labels)
