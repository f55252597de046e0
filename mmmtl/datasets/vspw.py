"""VSPW: videos of scenes in the wild with 124 classes in every frame."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from mmmtl.registry import DATASETS
from mmmtl.structures import Array
from mmmtl.tasks.base import IGNORE

from .base import MultiTaskDataset
from .frames import Frame
from .readers import list_video, read_names, read_stored

NUM_CLASSES = 124


@DATASETS.register_module()
class VSPW(MultiTaskDataset):
    """VSPW in its 480p form: 2806 train, 343 val and 387 test videos at 15 Hz, all frames labelled.

    ```
    {split}.txt                          names of videos, one per line
    data/{video}/origin/{number}.jpg     frames; numbers may be left out
    data/{video}/mask/{number}.png       uint8, 0 = void, 1 to 124; 254 and 255 = void, too
    ```

    Source: `semseg` (`classes='vspw_124'`). Time is the position of a frame in its video, by number. Hidden files
    (`._*`, which macOS leaves) are ignored. An empty file counts as missing, with a warning: clips then lack its frame,
    and a label without an image is left out.

    Args:
        split: 'train', 'val' or 'test'.
    """

    split: str

    def load_frames(self) -> Iterator[Frame]:
        names = self.root / f'{self.split}.txt'
        empty: list[Path] = []
        for video in read_names(names):
            folder = self.root / 'data' / video
            images, labels = list_video(folder / 'origin', video), list_video(folder / 'mask', video)
            if not images:
                raise FileNotFoundError(
                    f'{folder / "origin"}: no frames, but {names.name} lists the video; unpack the archive again, or '
                    'remove the video from the list'
                )
            # An empty file leaves a gap: the frames around it are not neighbours.
            for time, key in enumerate(sorted(images | labels)):
                here = {kind: files[key] for kind, files in (('image', images), ('semseg', labels)) if key in files}
                hollow = [kind for kind, path in here.items() if not path.stat().st_size]
                empty += [here.pop(kind) for kind in hollow]
                if 'image' not in hollow:
                    yield Frame(video, time, here.pop('image', None), here)
        if empty:
            print_log(
                f'{self.root}: {len(empty)} empty files are left out, the first is {empty[0]}; unpack the archive '
                'again if they are not empty there',
                logger='current',
                level=logging.WARNING,
            )

    def read_map(self, source: str, reference: Path) -> Array:
        raw = read_stored(reference, np.uint8)
        if (wrong := np.unique(raw[(raw > NUM_CLASSES) & (raw < 254)])).size:
            raise ValueError(f'{reference}: labels {wrong[:8].tolist()} are not in 0..{NUM_CLASSES}, 254 or 255')
        return np.where((raw == 0) | (raw > NUM_CLASSES), IGNORE, raw.astype(np.int64) - 1).astype(np.uint8)
