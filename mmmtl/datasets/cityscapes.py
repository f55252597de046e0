"""Cityscapes: stills or 30-frame snippets; one frame of each has labels, disparity and depth."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from mmmtl.io.files import read_json
from mmmtl.registry import DATASETS
from mmmtl.structures import Array
from mmmtl.tasks.base import IGNORE

from .base import MultiTaskDataset
from .frames import Frame, FrameKey, join_files
from .readers import list_files, read_stored

NAME = re.compile(r'(.+_\d{6})_(\d{6})_(?:gtFine_labelIds|leftImg8bit|disparity)\.png')

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
class Cityscapes(MultiTaskDataset):
    """The annotated frames of Cityscapes: stills or, with `clip`, clips from the snippets of `leftImg8bit_sequence`.

    ```
    leftImg8bit/{split}/{city}/{city}_{seq}_{frame}_leftImg8bit.png             stills
    leftImg8bit_sequence/{split}/{city}/{city}_{seq}_{frame}_leftImg8bit.png    snippets; can replace the stills
    gtFine/{split}/{city}/{city}_{seq}_{frame}_gtFine_labelIds.png
    disparity/{split}/{city}/{city}_{seq}_{frame}_disparity.png     uint16, p > 0: (p - 1) / 256 pixels; missing files
                                                                    are looked for in disparity_sequence
    camera/{split}/{city}/{city}_{seq}_{frame}_camera.json          for depth: `extrinsic.baseline`, `intrinsic.fx`
    ```

    Sources: `semseg` (19 classes, `classes='cityscapes_19'`), `semseg7` (the seven categories, of every label id that
    has one, `classes='cityscapes_7'`), `disparity` (pixels at the full width of 2048; p = 1, which is 0 pixels, counts
    as none) and `depth` (metres, baseline * fx / disparity; 0 = none). Clips are found by frame number, in short
    snippets (label at frame 19) as in long sequences (label at any frame).

    Args:
        split: 'train' or 'val'.
    """

    split: str

    def load_frames(self) -> list[Frame]:
        """Return the annotated frames and those around them."""
        labels = self._list('gtFine', 'gtFine_labelIds.png')
        images = self._list('leftImg8bit') | self._list('leftImg8bit_sequence')
        disparity = {key: path for key in labels if (path := self._disparity(*key)) is not None}
        depth = {key: path for key, path in disparity.items() if self._path('camera', *key).exists()}
        return join_files(images, dict(semseg=labels, semseg7=labels, disparity=disparity, depth=depth))

    def read_map(self, source: str, reference: Path) -> Array:
        if source in ('semseg', 'semseg7'):
            return decode_labels(read_stored(reference, np.uint8), categories=source == 'semseg7')
        disparity = decode_disparity(read_stored(reference, np.uint16))
        if source == 'disparity':
            return disparity
        key = frame_key(reference)
        assert key is not None
        scale = baseline_times_fx(self._path('camera', *key))
        depth: Array = np.divide(scale, disparity, out=np.zeros_like(disparity), where=disparity > 0)
        return depth

    def _list(self, folder: str, suffix: str = 'leftImg8bit.png') -> dict[FrameKey, Path]:
        return list_files(self.root / folder / self.split, frame_key, f'*/*_{suffix}')

    def _disparity(self, video: str, time: int) -> Path | None:
        paths = (self._path(folder, video, time) for folder in ('disparity', 'disparity_sequence'))
        return next((path for path in paths if path.exists()), None)

    def _path(self, folder: str, video: str, time: int) -> Path:
        city = video.rsplit('_', 1)[0]
        suffix = 'camera.json' if folder == 'camera' else 'disparity.png'
        return self.root / folder / self.split / city / f'{video}_{time:06d}_{suffix}'


def decode_labels(ids: Array, *, categories: bool) -> Array:
    """Return train ids (0 to 18) or categories (0 to 6) of label ids; 255 = ignore. (H, W) uint8."""
    table = np.full(IGNORE + 1, IGNORE, dtype=np.uint8)
    mapping = CATEGORY_OF_ID if categories else {label: i for i, label in enumerate(TRAIN_IDS)}
    table[list(mapping)] = list(mapping.values())
    return table.take(ids)


def decode_disparity(raw: Array) -> Array:
    """Return pixels at the full width of 2048, of the numbers p of a disparity file; 0 = none. (H, W) float32."""
    return np.where(raw > 0, (raw.astype(np.float32) - 1) / 256, 0).astype(np.float32)


def baseline_times_fx(path: Path) -> np.float32:
    """Return metres times pixels of disparity, from a camera file."""
    try:
        camera = read_json(path)
        baseline, fx = float(camera['extrinsic']['baseline']), float(camera['intrinsic']['fx'])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path}: no extrinsic.baseline and intrinsic.fx ({error}); get the file again') from error
    if not (baseline > 0 and fx > 0):
        raise ValueError(f'{path}: baseline {baseline} and fx {fx} must be positive; get the file again')
    return np.float32(baseline * fx)


def frame_key(path: Path) -> FrameKey | None:
    """Return (city with sequence, frame number) of a file, or None if its name has another form."""
    match = NAME.fullmatch(path.name)
    return None if match is None else (match[1], int(match[2]))
