r"""Combine KITTI's tracking images and the maps of KITTI-STEP for the data set `KITTISTEP`, or check its folder.

python tools/dataset_converters/kitti_step.py data_tracking_image_2.zip kitti-step.tar.gz --out data/kitti_step
python tools/dataset_converters/kitti_step.py data/kitti_step
"""

from __future__ import annotations

from pathlib import Path

from mmmtl.cli.errors import readable_errors
from mmmtl.datasets.conversion.command import convert
from mmmtl.datasets.kitti_step import VAL_SEQUENCES

FRAMES = dict(train=5027, val=2981)
FOLDERS = ('images', 'panoptic_maps')
CONTENT = 'training/image_02 or panoptic_maps'


def arrange(unpacked: Path, root: Path) -> None:
    """Move KITTI's training/image_02/{sequence} and {split}/{sequence} of panoptic_maps to their folders."""
    for folder in sorted(unpacked.rglob('image_02')):
        for sequence in sorted(folder.iterdir()):
            split = 'test' if folder.parent.name == 'testing' else 'val' if sequence.name in VAL_SEQUENCES else 'train'
            move(sequence, root / 'images' / split / sequence.name)
    for folder in sorted(unpacked.rglob('panoptic_maps')):
        for sequence in sorted(folder.glob('*/[0-9]*')):
            move(sequence, root / 'panoptic_maps' / sequence.parent.name / sequence.name)


def move(source: Path, target: Path) -> None:
    """Move a folder, and make its parents."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


def count(root: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of files of each kind, and the expected numbers."""
    pairs = [(folder, split) for folder in FOLDERS for split in FRAMES]
    counts = {f'{f}/{split}': sum(1 for _ in (root / f / split).glob('[0-9]*/[0-9]*.png')) for f, split in pairs}
    return counts, {f'{folder}/{split}': FRAMES[split] for folder, split in pairs}


if __name__ == '__main__':
    with readable_errors():
        convert(__doc__, dataset='kitti_step', content=CONTENT, count=count, arrange=arrange)
