r"""Add images and labels to the depth of Cityscapes-DVPS or SemKITTI-DVPS, for `CityscapesDVPS` or `SemKITTIDVPS`.

The published archive, folder video_sequence, has the depth (and SemKITTI's labels). Cityscapes' images come from
leftImg8bit_sequence and its labels from Cityscapes-VPS; KITTI's images come from the odometry benchmark:
    python tools/dataset_converters/dvps.py cityscapes video_sequence.zip --images cityscapes/leftImg8bit_sequence \
        --labels cityscapes_vps --out data/cityscapes_dvps
    python tools/dataset_converters/dvps.py semkitti video_sequence.zip --images kitti/sequences \
        --out data/semkitti_dvps
    python tools/dataset_converters/dvps.py cityscapes data/cityscapes_dvps     # only check a folder
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from rich.progress import track

from mmmtl.cli.errors import readable_errors
from mmmtl.datasets.conversion.archives import checked_folder
from mmmtl.datasets.conversion.manifest import check_counts, write_manifest

FRAMES = dict(cityscapes=dict(train=2400, val=300), semkitti=dict(train=19130, val=4071))
PATTERNS = dict(
    cityscapes=dict(image='*_leftImg8bit.png', semseg='*_gtFine_instanceTrainIds.png', depth='*_depth.png'),
    semkitti=dict(image='*_leftImg8bit.png', semseg='*_gtFine_class.png', depth='*_depth_*.png'),
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('dataset', choices=sorted(FRAMES))
    parser.add_argument('source', type=Path, help='the archive with video_sequence, or a folder to check')
    parser.add_argument('--out', type=Path, help='the new data set; not for a folder')
    parser.add_argument(
        '--images', type=Path, help="leftImg8bit_sequence of Cityscapes, or sequences of KITTI's odometry"
    )
    parser.add_argument('--labels', type=Path, help='Cityscapes-VPS, which has {split}/panoptic_inst')
    parser.add_argument('--allow-partial', action='store_true', help='accept another number of frames')
    args = parser.parse_args()
    if args.out is not None and (args.images is None or (args.labels is None) == (args.dataset == 'cityscapes')):
        parser.error('--out needs --images, and for cityscapes (alone) --labels')
    return args


def fill(root: Path, args: argparse.Namespace) -> None:
    """Copy the image of each depth map, and for Cityscapes its labels, into the same folder."""
    for split in FRAMES[args.dataset]:
        folder = root / 'video_sequence' / split
        labels = {} if args.labels is None else labels_by_frame(args.labels / split / 'panoptic_inst')
        for depth in track(sorted(folder.glob(PATTERNS[args.dataset]['depth'])), description=split, transient=True):
            stem = depth.name.partition('_depth')[0]
            shutil.copyfile(find_image(args, stem), folder / f'{stem}_leftImg8bit.png')
            if args.labels is not None:
                frame = stem.split('_', 2)[2]
                if frame not in labels:
                    raise FileNotFoundError(f'{args.labels / split / "panoptic_inst"}: lacks labels of {frame}')
                shutil.copyfile(labels[frame], folder / f'{stem}_gtFine_instanceTrainIds.png')


def labels_by_frame(folder: Path) -> dict[str, Path]:
    """Return {city_sequence_frame: file} of names like 0001_0005_lindau_000000_000024_final_mask.png."""
    return {'_'.join(path.name.split('_')[2:5]): path for path in folder.glob('*.png')}


def find_image(args: argparse.Namespace, stem: str) -> Path:
    """Return the original image of a frame."""
    if args.dataset == 'semkitti':
        sequence, number = stem.split('_')
        candidates = [args.images / f'{int(sequence):02d}' / 'image_2' / f'{number}.png']
    else:
        _, _, city, sequence, number = stem.split('_')
        name = f'{city}_{sequence}_{number}_leftImg8bit.png'
        candidates = [args.images / split / city / name for split in ('val', 'train', 'test')]
    found: Path | None = next((path for path in candidates if path.exists()), None)
    if found is None:
        raise FileNotFoundError(f'{candidates[0]}: no such image of {stem}; check --images and that it is complete')
    return found


def count(root: Path, dataset: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of files of each kind, and the expected numbers."""
    pairs = [(split, kind) for split in FRAMES[dataset] for kind in PATTERNS[dataset]]
    folder = root / 'video_sequence'
    counts = {f'{s}/{kind}': sum(1 for _ in (folder / s).glob(PATTERNS[dataset][kind])) for s, kind in pairs}
    return counts, {f'{split}/{kind}': FRAMES[dataset][split] for split, kind in pairs}


def main() -> None:
    args = parse_args()
    with checked_folder(args.source, args.out, marker='video_sequence') as root:
        if args.out is not None:
            fill(root, args)
        counts, expected = count(root, args.dataset)
        if not args.allow_partial:
            check_counts(counts, expected, where=args.source)
        sources = [path for path in (args.source, args.images, args.labels) if path is not None]
        write_manifest(root, dataset=f'{args.dataset}_dvps', counts=counts, sources=sources)
    print(f'{args.out or args.source}: complete, see manifest.json')


if __name__ == '__main__':
    with readable_errors():
        main()
