"""VSPW: videos of scenes in the wild with 124 classes in every frame."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmmtl.io.images import read_image, read_raw
from mmmtl.registry import DATASETS

from .base import MultiTaskDataset
from .readers import as_map

NUM_CLASSES = 124
SUFFIXES = dict(origin='.jpg', mask='.png')


@DATASETS.register_module()
class VSPW(MultiTaskDataset):
    """VSPW in its 480p form: 2806 train, 343 val and 387 test videos at 15 Hz, all frames labelled.

    ```
    {split}.txt                          names of videos, one per line
    data/{video}/origin/{number}.jpg     frames; the numbers need not follow one another
    data/{video}/mask/{number}.png       uint8, 0 = void, 1 to 124; 254 and 255 = void, too
    ```

    Source: `semseg` (`classes='vspw_124'`). Time is counted in the frames at hand, in the order of their numbers.
    Hidden files (`._*`, which macOS leaves) are passed over. An empty file counts as missing, with a warning: clips
    that need its frame lack it, and a label without a picture is left out.

    Args:
        data_root: the folder.
        split: 'train', 'val' or 'test'.

    Raises:
        FileNotFoundError: no list of the split, or a video in it has no frames.
        ValueError: a label is none of the above.
    """

    def __init__(self, data_root: str, *, split: str, **kwargs: Any) -> None:
        self.split = split
        self._frames: dict[str, list[Path | None]] = {}
        super().__init__(data_root, **kwargs)

    def load_frames(self) -> list[dict[str, Any]]:
        """Frames with a label, video by video."""
        root = Path(self.data_root)
        names = root / f'{self.split}.txt'
        if not names.is_file():
            raise FileNotFoundError(
                f"{names}: no such list; check data_root, and that split is 'train', 'val' or 'test'"
            )
        frames = []
        empty: list[Path] = []
        for video in names.read_text().split():
            files = {folder: numbered_files(root / 'data' / video, folder) for folder in SUFFIXES}
            if not files['origin']:
                raise FileNotFoundError(
                    f'{root / "data" / video / "origin"}: no frames of a video that {names.name} lists; unpack the '
                    'archive again, or take the video out of the list'
                )
            # That of an empty file stays a gap: the frames around it are not neighbours.
            numbers = sorted(set().union(*files.values()))
            for found in files.values():
                hollow = {number: path for number, path in found.items() if not path.stat().st_size}
                empty += hollow.values()
                for number in hollow:
                    del found[number]
            self._frames[video] = [files['origin'].get(number) for number in numbers]
            for time, number in enumerate(numbers):
                if number in files['mask'] and number in files['origin']:
                    frames.append(dict(video=video, time=time, maps=dict(semseg=files['mask'][number])))
        if empty:
            print_log(
                f'{root}: {len(empty)} empty files are left out, the first is {empty[0]}; unpack the archive '
                'again if it has them whole',
                logger='current',
                level=logging.WARNING,
            )
        return frames

    def find_frame(self, video: str, time: int) -> Path | None:
        """The frame's file."""
        frames = self._frames[video]
        return frames[time] if 0 <= time < len(frames) else None

    def frame_name(self, video: str, time: int) -> str:
        """The folder, and the frame's place in it."""
        return f'{Path(self.data_root) / "data" / video / "origin"}: frame {time}, counted from 0,'

    def video_length(self, video: str) -> int:
        """Number of frames."""
        return len(self._frames[video])

    def read_image(self, reference: Path) -> np.ndarray:
        """A frame."""
        return read_image(reference)

    def read_map(self, source: str, reference: Path) -> np.ndarray:
        """Labels from 0 on, void as 255."""
        raw = as_map(read_raw(reference), reference, channels=1)
        if (wrong := np.unique(raw[(raw > NUM_CLASSES) & (raw < 254)])).size:
            raise ValueError(f'{reference}: labels {wrong[:8].tolist()} are not in 0..{NUM_CLASSES}, 254 or 255')
        # 0 becomes 255 by wrapping around.
        return np.where(raw >= 254, 255, raw - np.uint8(1)).astype(np.uint8)


def numbered_files(video: Path, folder: str) -> dict[int, Path]:
    """{number: file} of a folder of a video, `origin` or `mask`, without the hidden ones."""
    found = sorted((video / folder).glob(f'[0-9]*{SUFFIXES[folder]}'))
    return {int(path.stem): path for path in found if path.stem.isdecimal()}
