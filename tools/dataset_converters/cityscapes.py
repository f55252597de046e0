r"""Unpack the official archives of Cityscapes into one folder for the data set `Cityscapes`, or check such a folder.

All archives at once; stills need the first two, disparity and depth the others, clips leftImg8bit_sequence:
    python tools/dataset_converters/cityscapes.py leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip \
        disparity_trainvaltest.zip camera_trainvaltest.zip --out data/cityscapes
    python tools/dataset_converters/cityscapes.py data/cityscapes
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmmtl.datasets.conversion.archives import joined_folder
from mmmtl.datasets.conversion.manifest import check_counts, write_manifest

SPLITS = dict(train=2975, val=500, test=1525)
FRAMES_PER_SNIPPET = 30
PATTERNS = dict(
    leftImg8bit='*_leftImg8bit.png',
    gtFine='*_gtFine_labelIds.png',
    disparity='*_disparity.png',
    camera='*_camera.json',
    leftImg8bit_sequence='*_leftImg8bit.png',
    disparity_sequence='*_disparity.png',
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('sources', type=Path, nargs='+', metavar='source', help='official archives, or one folder')
    parser.add_argument('--out', type=Path, help='the new data set; not for a folder')
    parser.add_argument('--allow-partial', action='store_true', help='accept other numbers of files and missing splits')
    return parser.parse_args()


def count(root: Path) -> tuple[dict[str, int], dict[str, int]]:
    """How many files of each kind and split there are, and how many there must be of the kinds that are there."""
    counts: dict[str, int] = {}
    expected: dict[str, int] = {}
    for folder, pattern in PATTERNS.items():
        # The labels are what makes a data set of the rest.
        if folder == 'gtFine' or (root / folder).is_dir():
            for split, number in SPLITS.items():
                counts[f'{folder}/{split}'] = sum(1 for _ in (root / folder / split).glob(f'*/{pattern}'))
                expected[f'{folder}/{split}'] = number * (FRAMES_PER_SNIPPET if folder.endswith('_sequence') else 1)
    return counts, expected


def finish(root: Path, args: argparse.Namespace) -> None:
    """Count, check and write the manifest."""
    counts, expected = count(root)
    if not any(counts.values()):
        raise ValueError(f'{args.sources[0]}: no {", ".join(PATTERNS)} in it; give official archives, or their folder')
    if not args.allow_partial:
        check_counts(counts, expected, where=args.out or root)
    write_manifest(root, dataset='cityscapes', counts=counts, sources=args.sources)


def main() -> None:
    args = parse_args()
    with joined_folder(args.sources, args.out) as root:
        finish(root, args)
    print(f'{args.out or args.sources[0]}: complete, see manifest.json')


if __name__ == '__main__':
    main()
