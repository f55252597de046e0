r"""Make or check PASCAL-Context in the layout `PASCAL_MT`, which the data set `PASCALContext` reads.

From the archive of ASTMT and MTI-Net, or that of InvPT; or only check an existing folder:
    python tools/dataset_converters/pascal_context.py PASCAL_MT.tgz --out data/pascal_context
    python tools/dataset_converters/pascal_context.py data/pascal_context
From the originals, which have no saliency or normals, and whose semantic labels are those of PASCAL-Context:
    python tools/dataset_converters/pascal_context.py VOCtrainval_03-May-2010.tar --context context.tar.gz \
        --parts parts.tar.gz --out data/pascal_context
Missing lists in ImageSets/Parts, which tell the images that show people, are added.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from rich.progress import track

from mmmtl.cli.errors import readable_errors
from mmmtl.datasets.conversion.archives import checked_folder, extract, whole_folder
from mmmtl.datasets.conversion.manifest import check_counts, write_manifest
from mmmtl.datasets.conversion.normal_signs import SAMPLES, report_facing
from mmmtl.datasets.pascal.labels import VOC_OF_CONTEXT
from mmmtl.datasets.pascal.parts import read_objects
from mmmtl.datasets.readers import list_stems, read_names
from mmmtl.datasets.samplers import evenly_spread
from mmmtl.io.arrays import read_mat
from mmmtl.io.child import ChildReader
from mmmtl.io.images import write_png
from mmmtl.io.labels import read_raw
from mmmtl.io.outputs import write_text
from mmmtl.structures import Array
from mmmtl.tasks.stored import decode_normals

SPLITS = dict(train=4998, val=5105)
NUM_LABELS = 459
FOLDERS = dict(
    images=('JPEGImages',),
    semseg=('semseg/VOC12', 'semseg/pascal-context'),
    human_parts=('human_parts',),
    saliency=('sal_distill',),
    normals=('normals_distill',),
    labels=('pascal-context/trainval',),
    edge=('edge',),
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='an archive, a folder to check, or the archive of VOC 2010')
    parser.add_argument('--out', type=Path, help='the new data set; not for a folder')
    parser.add_argument('--context', type=Path, help='with VOC 2010: annotations of PASCAL-Context, {name}.mat')
    parser.add_argument('--parts', type=Path, help='with VOC 2010: annotations of PASCAL-Part, {name}.mat')
    parser.add_argument('--allow-partial', action='store_true', help='accept a number of images other than 4998 / 5105')
    return parser.parse_args()


def convert(args: argparse.Namespace, root: Path, child: ChildReader) -> None:
    """Write images, lists and labels of VOC 2010, PASCAL-Context and PASCAL-Part."""
    unpacked = {name: root.with_name(f'{root.name}.{name}') for name in ('voc', 'context', 'parts')}
    for folder, archive in zip(unpacked.values(), (args.source, args.context, args.parts), strict=True):
        extract(archive, folder)
    found = {name: {path.stem: path for path in unpacked[name].rglob('*.mat')} for name in ('context', 'parts')}
    voc = next((path.parent for path in unpacked['voc'].rglob('JPEGImages')), None)
    if voc is None:
        raise FileNotFoundError(f'{args.source}: contains no JPEGImages; check that it is the archive of VOC 2010')
    for new in (
        'ImageSets/Context',
        'JPEGImages',
        'semseg/pascal-context',
        'pascal-context/trainval',
        'human_parts',
    ):
        (root / new).mkdir(parents=True)
    for split in SPLITS:
        names = [name for name in read_names(voc / f'ImageSets/Main/{split}.txt') if name in found['context']]
        (root / f'ImageSets/Context/{split}.txt').write_text(''.join(f'{name}\n' for name in names))
        for name in track(names, description=f'Converting {split}', transient=True):
            shutil.copyfile(voc / f'JPEGImages/{name}.jpg', root / f'JPEGImages/{name}.jpg')
            shutil.copyfile(found['context'][name], root / f'pascal-context/trainval/{name}.mat')
            if name in found['parts']:
                shutil.copyfile(found['parts'][name], root / f'human_parts/{name}.mat')
            labels = to_voc(child(read_mat, found['context'][name], 'LabelMap'), found['context'][name])
            write_png(root / f'semseg/pascal-context/{name}.png', labels)


def to_voc(labels: Array, where: Path) -> Array:
    """Return classes of `pascal_21`, (H, W) uint8, of the labels of PASCAL-Context; all others become background."""
    if labels.ndim != 2 or labels.dtype.kind not in 'iu' or labels.min() < 0 or labels.max() > NUM_LABELS:
        raise ValueError(
            f'{where}: LabelMap is {labels.dtype} of shape {labels.shape}, not labels 0 to {NUM_LABELS}; get it again'
        )
    table = np.zeros(NUM_LABELS + 1, dtype=np.uint8)
    table[list(VOC_OF_CONTEXT)] = list(VOC_OF_CONTEXT.values())
    classes: Array = table[labels]
    return classes


def names_of(root: Path, split: str) -> list[str]:
    """Return the names of the images of a split."""
    return read_names(root / 'ImageSets' / 'Context' / f'{split}.txt')


def list_parts(root: Path, child: ChildReader) -> None:
    """Write the missing lists of the classes of the objects of every image, -1 for an empty one."""
    for split in SPLITS:
        path = root / 'ImageSets' / 'Parts' / f'{split}.txt'
        if path.exists() or not (root / 'human_parts').is_dir():
            continue
        files = list_stems(root / 'human_parts')
        classes = {
            name: [kind if mask.any() else -1 for kind, mask, _ in child(read_objects, files[name])]
            for name in track(names_of(root, split), description=f'Looking for people in {split}', transient=True)
            if name in files
        }
        write_text(path, json.dumps(classes, indent=1) + '\n')


def count(root: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of files of each kind, and the expected numbers, of the kinds that exist."""
    files = {
        kind: set[str]().union(*(list_stems(root / folder) for folder in folders))
        for kind, folders in FOLDERS.items()
        if kind == 'images' or any((root / folder).is_dir() for folder in folders)
    }
    counts: dict[str, int] = {}
    expected: dict[str, int] = {}
    for split, number in SPLITS.items():
        names = set(names_of(root, split))
        found = {split: len(names)} | {f'{kind}/{split}': len(names & stems) for kind, stems in files.items()}
        counts |= found
        expected |= dict.fromkeys(found, number)
    return counts, expected


def finish(root: Path, args: argparse.Namespace, sources: list[Path], child: ChildReader) -> None:
    """Count and check the files, list the people, report on the normals and write the manifest."""
    counts, expected = count(root)
    if not args.allow_partial:
        check_counts(counts, expected, where=args.source)
    list_parts(root, child)
    if files := sorted((root / 'normals_distill').glob('*.png')):
        some = [decode_normals(read_raw(files[place])) for place in evenly_spread(len(files), SAMPLES)]
        print(report_facing(np.concatenate([normals.reshape(-1, 3) for normals in some])))
    write_manifest(root, dataset='pascal_context', counts=counts, sources=sources)


def main() -> None:
    args = parse_args()
    if args.context is None and args.parts is None:
        with checked_folder(args.source, args.out, marker='ImageSets') as root, ChildReader() as child:
            finish(root, args, [args.source], child)
    elif None in (args.context, args.parts, args.out):
        raise SystemExit(f'{args.source}: the archive of VOC 2010 needs --context, --parts and --out')
    else:
        with whole_folder(args.out) as root, ChildReader() as child:
            convert(args, root, child)
            finish(root, args, [args.source, args.context, args.parts], child)
    print(f'{args.out or args.source}: complete, see manifest.json')


if __name__ == '__main__':
    with readable_errors():
        main()
