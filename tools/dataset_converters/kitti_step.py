r"""Put KITTI's tracking images and the maps of KITTI-STEP together for the data set `KITTISTEP`, or check its folder.

python tools/dataset_converters/kitti_step.py data_tracking_image_2.zip kitti-step.tar.gz --out data/kitti_step
python tools/dataset_converters/kitti_step.py data/kitti_step
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmmtl.datasets.conversion.archives import joined_folder
from mmmtl.datasets.conversion.manifest import check_counts, write_manifest
from mmmtl.datasets.kitti_step import VAL_SEQUENCES

FRAMES = dict(train=5027, val=2981)
FOLDERS = ('images', 'panoptic_maps')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('sources', type=Path, nargs='+', metavar='source', help='the two archives, or one folder')
    parser.add_argument('--out', type=Path, help='the new data set; not for a folder')
    parser.add_argument('--allow-partial', action='store_true', help='accept missing sequences and frames')
    return parser.parse_args()


def arrange(unpacked: Path, root: Path) -> None:
    """Move KITTI's training/image_02/{sequence} and the {split}/{sequence} of panoptic_maps to their places."""
    for folder in sorted(unpacked.rglob('image_02')):
        for sequence in sorted(folder.iterdir()):
            split = 'test' if folder.parent.name == 'testing' else 'val' if sequence.name in VAL_SEQUENCES else 'train'
            move(sequence, root / 'images' / split / sequence.name)
    for folder in sorted(unpacked.rglob('panoptic_maps')):
        for sequence in sorted(folder.glob('*/[0-9]*')):
            move(sequence, root / 'panoptic_maps' / sequence.parent.name / sequence.name)


def move(source: Path, target: Path) -> None:
    """Rename a folder into another."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


def count(root: Path) -> tuple[dict[str, int], dict[str, int]]:
    """How many images and maps each split has, and how many there must be."""
    pairs = [(folder, split) for folder in FOLDERS for split in FRAMES]
    counts = {f'{f}/{split}': sum(1 for _ in (root / f / split).glob('[0-9]*/[0-9]*.png')) for f, split in pairs}
    return counts, {f'{folder}/{split}': FRAMES[split] for folder, split in pairs}


def finish(root: Path, args: argparse.Namespace) -> None:
    """Count, check and write the manifest."""
    counts, expected = count(root)
    if not any(counts.values()):
        raise ValueError(
            f'{args.sources[0]}: neither training/image_02 nor panoptic_maps in it; give official archives'
        )
    if not args.allow_partial:
        check_counts(counts, expected, where=args.out or root)
    write_manifest(root, dataset='kitti_step', counts=counts, sources=args.sources)


def main() -> None:
    args = parse_args()
    with joined_folder(args.sources, args.out, arrange=arrange) as root:
        finish(root, args)
    print(f'{args.out or args.sources[0]}: complete, see manifest.json')


if __name__ == '__main__':
    main()
