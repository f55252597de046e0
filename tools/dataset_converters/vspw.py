"""Unpack or check VSPW in its 480p form, for the data set `VSPW`.

From the archive, or only check an existing folder:
    python tools/dataset_converters/vspw.py VSPW_480p.tar --out data/vspw
    python tools/dataset_converters/vspw.py data/vspw
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmmtl.cli.errors import readable_errors
from mmmtl.datasets.conversion.archives import checked_folder
from mmmtl.datasets.conversion.manifest import check_counts, write_manifest
from mmmtl.datasets.readers import list_video, read_names

VIDEOS = dict(train=2806, val=343, test=387)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='an archive, or a folder to check')
    parser.add_argument('--out', type=Path, help='the new data set; not for a folder')
    parser.add_argument('--allow-partial', action='store_true', help='accept another number of videos')
    return parser.parse_args()


def count(root: Path) -> tuple[dict[str, int], list[Path]]:
    """Return the number of videos with frames, of frames and of masks of each split, and the empty files."""
    counts: dict[str, int] = {}
    empty: list[Path] = []
    for split in VIDEOS:
        names = root / f'{split}.txt'
        videos = read_names(names) if names.is_file() else []
        counts |= {split: 0, f'{split}/origin': 0, f'{split}/mask': 0}
        for video in videos:
            place = root / 'data' / video
            files = {folder: list(list_video(place / folder, video).values()) for folder in ('origin', 'mask')}
            counts[split] += bool(files['origin'])
            for folder, paths in files.items():
                counts[f'{split}/{folder}'] += len(paths)
                empty += [path for path in paths if not path.stat().st_size]
    return counts, empty


def main() -> None:
    args = parse_args()
    with checked_folder(args.source, args.out, marker='train.txt') as root:
        counts, empty = count(root)
        if not args.allow_partial:
            check_counts(counts, VIDEOS, where=args.source)
        write_manifest(root, dataset='vspw', counts=counts, sources=[args.source])
        # The official archive has empty files.
        if empty:
            videos = sorted({path.parents[1].name for path in empty})
            print(f'{len(empty)} empty files will be left out, in {len(videos)} videos: {", ".join(videos[:5])}')
    print(f'{args.out or args.source}: complete, see manifest.json')


if __name__ == '__main__':
    with readable_errors():
        main()
