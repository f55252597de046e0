r"""Unpack the archives of Virtual KITTI 2 into one folder for the data set `VirtualKITTI2`, or check such a folder.

All archives at once; forwardFlow is for metrics over time alone:
    python tools/dataset_converters/vkitti2.py vkitti_2.0.3_rgb.tar vkitti_2.0.3_depth.tar \
        vkitti_2.0.3_classSegmentation.tar vkitti_2.0.3_forwardFlow.tar --out data/vkitti2
    python tools/dataset_converters/vkitti2.py data/vkitti2
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from mmmtl.datasets.conversion.archives import joined_folder
from mmmtl.datasets.conversion.manifest import check_counts, write_manifest
from mmmtl.datasets.virtual_kitti2 import SCENES, VARIANTS

FRAMES = dict(zip(SCENES, (447, 233, 270, 339, 837), strict=True))
VIEWS = len(VARIANTS) * 2
KINDS = ('rgb', 'depth', 'classSegmentation')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('sources', type=Path, nargs='+', metavar='source', help='official archives, or one folder')
    parser.add_argument('--out', type=Path, help='the new data set; not for a folder')
    parser.add_argument('--allow-partial', action='store_true', help='accept missing scenes, variants and frames')
    return parser.parse_args()


def count(root: Path) -> tuple[dict[str, int], dict[str, int]]:
    """How many files of each scene and kind there are, and how many there must be of the kinds that are there."""
    names = {kind.lower(): kind for kind in (*KINDS, 'forwardFlow')}
    found: Counter[str] = Counter()
    for scene in SCENES:
        for folder in (root / scene).glob('*/frames/*'):
            if (kind := names.get(folder.name.lower())) is not None:
                found[f'{scene}/{kind}'] += sum(1 for _ in folder.glob('[Cc]amera_[01]/*_[0-9]*.*'))
    kinds = {'rgb', *(name.partition('/')[2] for name in found)}
    expected = {f'{scene}/{kind}': FRAMES[scene] * VIEWS for scene in SCENES for kind in KINDS if kind in kinds}
    return dict(sorted(found.items())), expected


def finish(root: Path, args: argparse.Namespace) -> None:
    """Count, check and write the manifest."""
    counts, expected = count(root)
    if not counts:
        raise ValueError(f'{args.sources[0]}: no {SCENES[0]}, ... in it; give official archives, or their folder')
    if not args.allow_partial:
        check_counts(counts, expected, where=args.out or root)
    write_manifest(root, dataset='vkitti2', counts=counts, sources=args.sources)


def main() -> None:
    args = parse_args()
    with joined_folder(args.sources, args.out) as root:
        finish(root, args)
    print(f'{args.out or args.sources[0]}: complete, see manifest.json')


if __name__ == '__main__':
    main()
