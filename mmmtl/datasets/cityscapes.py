"""Cityscapes: stills or 30-frame snippets, with labels, disparity and depth for one frame of each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from mmmtl.io.images import read_image, read_raw
from mmmtl.registry import DATASETS

from .base import MultiTaskDataset

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

SUFFIXES = dict(disparity='disparity.png', disparity_sequence='disparity.png', camera='camera.json')


@DATASETS.register_module()
class Cityscapes(MultiTaskDataset):
    """Cityscapes, its annotated frames: as stills, or with `clip` in the snippets of `leftImg8bit_sequence`.

    ```
    leftImg8bit/{split}/{city}/{city}_{seq}_{frame}_leftImg8bit.png             stills
    leftImg8bit_sequence/{split}/{city}/{city}_{seq}_{frame}_leftImg8bit.png    snippets; serve stills too
    gtFine/{split}/{city}/{city}_{seq}_{frame}_gtFine_labelIds.png
    disparity/{split}/{city}/{city}_{seq}_{frame}_disparity.png     uint16, p > 0: (p - 1) / 256 pixels; where there
                                                                    is none, disparity_sequence
    camera/{split}/{city}/{city}_{seq}_{frame}_camera.json          for depth: `extrinsic.baseline`, `intrinsic.fx`
    ```

    Sources: `semseg` (19 classes, `classes='cityscapes_19'`), `semseg7` (the seven categories, of every label id that
    has one, `classes='cityscapes_7'`), `disparity` (pixels at the full width of 2048; p = 1, which is 0 pixels,
    counts as none) and `depth` (metres, baseline * fx / disparity; 0 where there is none). Clips are found by frame
    number, which serves short snippets (label at frame 19) and long sequences (label at any frame) alike.

    Args:
        data_root: the folder.
        split: 'train' or 'val'.

    Raises:
        ValueError: a camera file is not as above.
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
            disparity = self._first(('disparity', 'disparity_sequence'), video, time)
            maps = {'semseg': labels, 'semseg7': labels}
            if disparity is not None:
                maps['disparity'] = disparity
                if self._path('camera', video, time).exists():
                    maps['depth'] = disparity
            frames.append(dict(video=video, time=time, maps=maps))
        return frames

    def find_frame(self, video: str, time: int) -> Path | None:
        """The frame's file; `video` is city and sequence."""
        return self._first(('leftImg8bit_sequence', 'leftImg8bit'), video, time)

    def frame_name(self, video: str, time: int) -> str:
        """The file: of a still in `leftImg8bit`, of a clip in `leftImg8bit_sequence`."""
        return str(self._path('leftImg8bit' if self.clip is None else 'leftImg8bit_sequence', video, time))

    def read_image(self, reference: Path) -> np.ndarray:
        """A frame."""
        return read_image(reference)

    def read_map(self, source: str, reference: Path) -> np.ndarray:
        """Train ids, categories, disparity or depth."""
        raw = read_raw(reference)
        if source == 'disparity':
            return decode_disparity(raw)
        if source == 'depth':
            disparity = decode_disparity(raw)
            camera = self._path('camera', *_video_and_time(reference))
            return np.divide(baseline_times_fx(camera), disparity, out=np.zeros_like(disparity), where=disparity > 0)
        return decode_labels(raw, categories=source == 'semseg7')

    def _first(self, folders: tuple[str, ...], video: str, time: int) -> Path | None:
        return next((path for folder in folders if (path := self._path(folder, video, time)).exists()), None)

    def _path(self, folder: str, video: str, time: int) -> Path:
        city = video.rsplit('_', 1)[0]
        suffix = SUFFIXES.get(folder, 'leftImg8bit.png')
        return Path(self.data_root) / folder / self.split / city / f'{video}_{time:06d}_{suffix}'


def decode_labels(ids: np.ndarray, *, categories: bool) -> np.ndarray:
    """Train ids, 0 to 18, or the categories, 0 to 6, of label ids; 255 = ignore. (H, W) uint8."""
    table = np.full(256, 255, dtype=np.uint8)
    mapping = CATEGORY_OF_ID if categories else {label: i for i, label in enumerate(TRAIN_IDS)}
    table[list(mapping)] = list(mapping.values())
    return table[ids]


def decode_disparity(raw: np.ndarray) -> np.ndarray:
    """Pixels at the full width of 2048, of the numbers p of a disparity file; 0 = none. (H, W) float32."""
    return np.where(raw > 0, (raw.astype(np.float32) - 1) / 256, 0).astype(np.float32)


def baseline_times_fx(path: Path) -> np.float32:
    """Metres times pixels of disparity, of a camera file.

    Raises:
        ValueError: the file is no camera file, or its numbers are not positive.
    """
    try:
        camera = json.loads(path.read_text())
        baseline, fx = float(camera['extrinsic']['baseline']), float(camera['intrinsic']['fx'])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path}: no extrinsic.baseline and intrinsic.fx ({error}); get the file again') from error
    if not (baseline > 0 and fx > 0):
        raise ValueError(f'{path}: baseline {baseline} and fx {fx} must be positive; get the file again')
    return np.float32(baseline * fx)


def _video_and_time(path: Path) -> tuple[str, int]:
    """City with sequence, and frame number, of a file."""
    video, time, _ = path.name.rsplit('_', 2)
    return video, int(time)
