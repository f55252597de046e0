r"""Make or check NYU Depth v2 in the layout `NYUD_MT`, which the data set `NYUD` reads.

From the official file, which has no normals or edges, and needs a mapping for 40 classes:
    python tools/dataset_converters/nyud.py nyu_depth_v2_labeled.mat --splits splits.mat --classes classMapping40.mat \
        --out data/nyud
From an archive NYUD_MT.tgz or NYUDv2.tar.gz; or only check an existing folder:
    python tools/dataset_converters/nyud.py NYUD_MT.tgz --out data/nyud
    python tools/dataset_converters/nyud.py data/nyud
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.progress import track

from mmmtl.cli.errors import readable_errors
from mmmtl.datasets import NYUD
from mmmtl.datasets.conversion.archives import checked_folder, whole_folder
from mmmtl.datasets.conversion.manifest import check_counts, write_manifest
from mmmtl.datasets.conversion.normal_signs import find_normal_signs, report_signs, sample_labels
from mmmtl.datasets.conversion.nyu_labeled import SPLITS, LabeledFile, read_class_mapping, read_splits
from mmmtl.datasets.nyud import READABLE
from mmmtl.datasets.readers import list_stems, read_names
from mmmtl.io.images import write_png


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='nyu_depth_v2_labeled.mat, an archive, or a folder to check')
    parser.add_argument('--out', type=Path, help='the new data set; not for a folder')
    parser.add_argument('--splits', type=Path, help='splits.mat, needed for the official file')
    parser.add_argument('--classes', type=Path, help='classMapping40.mat, needed for segmentation')
    parser.add_argument('--raw-depth', action='store_true', help='the measured depth, without in-painting')
    parser.add_argument('--allow-partial', action='store_true', help='accept a number of images other than 795 / 654')
    return parser.parse_args()


def convert(args: argparse.Namespace, root: Path) -> None:
    """Write the images, depths and labels of the official file."""
    mapping = None if args.classes is None else read_class_mapping(args.classes)
    with LabeledFile(args.source) as file:
        depths = 'rawDepths' if args.raw_depth else 'depths'
        numbers = read_splits(args.splits, file.count(depths))
        for folder in ('gt_sets', 'images', 'depth', *(() if mapping is None else ('segmentation',))):
            (root / folder).mkdir()
        for split, found in numbers.items():
            (root / 'gt_sets' / f'{split}.txt').write_text(''.join(f'{n:04d}\n' for n in found))
        for number in track(sorted(sum(numbers.values(), [])), description='Converting', transient=True):
            name, index = f'{number:04d}', number - 1
            write_png(root / 'images' / f'{name}.png', file.read('images', index)[..., ::-1])
            np.save(root / 'depth' / f'{name}.npy', np.ascontiguousarray(file.read(depths, index).astype(np.float32)))
            if mapping is not None:
                write_png(root / 'segmentation' / f'{name}.png', mapping[file.read('labels', index)])


def count(root: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of files of each kind, and the expected numbers, of the kinds that exist."""
    counts: dict[str, int] = {}
    expected: dict[str, int] = {}
    for split, number in SPLITS.items():
        names = set(read_names(root / 'gt_sets' / f'{split}.txt'))
        counts[split], expected[split] = len(names), number
        for folder in READABLE:
            if folder == 'images' or (root / folder).is_dir():
                counts[f'{folder}/{split}'] = len(names & set(list_stems(root / folder)))
                expected[f'{folder}/{split}'] = number
    return counts, expected


def finish(root: Path, args: argparse.Namespace, sources: list[Path]) -> None:
    """Count, check, describe the normals and write the manifest."""
    counts, expected = count(root)
    if not args.allow_partial:
        check_counts(counts, expected, where=args.source)
    if (root / 'normals').is_dir() and (root / 'depth').is_dir():
        tasks = dict(depth=dict(type='DepthEstimation', max_depth=10.0), normals=dict(type='SurfaceNormals'))
        labels = sample_labels(NYUD(root, split='train', metainfo=dict(tasks=tasks)))
        print(report_signs(find_normal_signs(labels)))
    write_manifest(root, dataset='nyud', counts=counts, sources=sources)


def main() -> None:
    args = parse_args()
    if args.source.suffix != '.mat':
        with checked_folder(args.source, args.out, marker='gt_sets') as root:
            finish(root, args, [args.source])
    elif args.out is None or args.splits is None:
        raise SystemExit(f'{args.source}: the official file needs --out and --splits')
    else:
        with whole_folder(args.out) as root:
            convert(args, root)
            finish(root, args, [path for path in (args.source, args.splits, args.classes) if path is not None])
    print(f'{args.out or args.source}: complete, see manifest.json')


if __name__ == '__main__':
    with readable_errors():
        main()
