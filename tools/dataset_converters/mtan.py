"""Unpack or check NYU Depth v2 or Cityscapes in the form of MTAN, for the data sets `MTANNYUv2` and `MTANCityscapes`.

From an archive, or only check an existing folder:
    python tools/dataset_converters/mtan.py nyuv2 nyuv2.zip --out data/mtan_nyuv2
    python tools/dataset_converters/mtan.py cityscapes data/mtan_cityscapes
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmmtl.cli.errors import readable_errors
from mmmtl.datasets import MTANCityscapes, MTANNYUv2
from mmmtl.datasets.conversion.archives import checked_folder
from mmmtl.datasets.conversion.manifest import check_counts, write_manifest
from mmmtl.datasets.conversion.normal_signs import find_normal_signs, report_signs, sample_labels
from mmmtl.datasets.readers import list_stems

SPLITS = dict(nyuv2=dict(train=795, val=654), cityscapes=dict(train=2975, val=500))
CLASSES = dict(nyuv2=MTANNYUv2, cityscapes=MTANCityscapes)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('dataset', choices=sorted(SPLITS))
    parser.add_argument('source', type=Path, help='an archive, or a folder to check')
    parser.add_argument('--out', type=Path, help='the new data set; not for a folder')
    parser.add_argument('--allow-partial', action='store_true', help='accept another number of images')
    return parser.parse_args()


def count(root: Path, dataset: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of files of each kind, and the expected numbers."""
    labels = {folder for folders in CLASSES[dataset].folders.values() for folder in folders}
    # Copies have different labels, but each folder must be complete.
    present = {folder for folder in labels if any((root / split / folder).is_dir() for split in SPLITS[dataset])}
    folders = sorted({'image', 'depth', *present})
    pairs = [(split, folder, number) for split, number in SPLITS[dataset].items() for folder in folders]
    counts = {f'{split}/{folder}': len(list_stems(root / split / folder)) for split, folder, _ in pairs}
    return counts, {f'{split}/{folder}': number for split, folder, number in pairs}


def main() -> None:
    args = parse_args()
    with checked_folder(args.source, args.out, marker='train') as root:
        counts, expected = count(root, args.dataset)
        if not args.allow_partial:
            check_counts(counts, expected, where=args.source)
        if args.dataset == 'nyuv2':
            tasks = dict(depth=dict(type='DepthEstimation', max_depth=10.0), normals=dict(type='SurfaceNormals'))
            labels = sample_labels(MTANNYUv2(root, split='train', metainfo=dict(tasks=tasks)))
            print(report_signs(find_normal_signs(labels)))
        write_manifest(root, dataset=f'mtan_{args.dataset}', counts=counts, sources=[args.source])
    print(f'{args.out or args.source}: complete, see manifest.json')


if __name__ == '__main__':
    with readable_errors():
        main()
