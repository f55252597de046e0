r"""Convert the official files of CamVid for the data set `CamVid`: 11 classes, 960x720, and frames of the videos.

    python tools/dataset_converters/camvid.py 701_StillsRaw_full.zip LabeledApproved_full.zip --out data/camvid_960x720
    python tools/dataset_converters/camvid.py 701_StillsRaw_full.zip LabeledApproved_full.zip \
        --films 0005VD.MXF 0006R0.MXF 0016E5.MXF 01TP_extract.avi --out data/camvid_960x720

With the videos, the frames before each labelled one are also written: read them with `frame_step=1`, and set
`clip.missing` for frames that a video lacks. The labelled frames serve to check how a video numbers its frames.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from rich.progress import track

from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import positive
from mmmtl.datasets import Clip
from mmmtl.datasets.camvid import VOID
from mmmtl.datasets.conversion.archives import extract, whole_folder
from mmmtl.datasets.conversion.manifest import check_counts, write_manifest
from mmmtl.datasets.readers import labels_of_colours, read_stored
from mmmtl.io.images import read_image, resize_image, write_png
from mmmtl.io.video import read_frames
from mmmtl.structures import Array

SPLITS = dict(train=367, val=101, test=233)
# SegNet's eleven classes of the official 32.
COLOURS: dict[tuple[int, int, int], int] = {
    (128, 128, 128): 0,  # sky
    (128, 0, 0): 1, (0, 128, 64): 1, (64, 192, 0): 1, (64, 0, 64): 1, (192, 0, 128): 1,  # building, bridge, wall, ...
    (192, 192, 128): 2, (0, 0, 64): 2,  # column or pole, traffic cone
    (128, 64, 128): 3, (128, 0, 192): 3, (192, 0, 64): 3,  # road, lane markings
    (0, 0, 192): 4, (64, 192, 128): 4, (128, 128, 192): 4,  # sidewalk, parking block, road shoulder
    (128, 128, 0): 5, (192, 192, 0): 5,  # tree, other vegetation
    (192, 128, 128): 6, (128, 128, 64): 6, (0, 64, 64): 6,  # sign, text, traffic light
    (64, 64, 128): 7,  # fence
    (64, 0, 128): 8, (64, 128, 192): 8, (192, 128, 192): 8, (192, 64, 128): 8, (128, 64, 64): 8,  # car, SUV, truck, ...
    (64, 64, 0): 9, (192, 128, 64): 9, (64, 0, 192): 9, (64, 128, 64): 9,  # pedestrian, child, luggage, animal
    (0, 128, 192): 10, (192, 0, 192): 10,  # bicyclist, motorcycle
    (0, 0, 0): VOID,
}  # fmt: skip


class Film(NamedTuple):
    """The pattern of the names of a video's frames, and the number of its first."""

    name: str
    first: int


FILMS = {
    '0005VD': Film('Seq05VD_f{:05d}', -1),
    '0006R0': Film('0006R0_f{:05d}', -1),
    '0016E5': Film('0016E5_{:05d}', -1),
    '01TP_extract': Film('0001TP_{:06d}', 6660),
}
SHIFTS = range(-3, 4)
CHECKED = 8


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('stills', type=Path, help='701_StillsRaw_full, an archive or a folder')
    parser.add_argument('labels', type=Path, help='LabeledApproved_full, an archive or a folder')
    parser.add_argument('--out', type=Path, required=True, help='the new data set')
    parser.add_argument('--films', type=Path, nargs='+', default=[], help=f'some of {", ".join(FILMS)}, any suffix')
    parser.add_argument('--key-frame-interval', type=positive, default=5, help='the longest interval of the clips')
    parser.add_argument('--allow-partial', action='store_true', help='accept a number of labels other than 701')
    return parser.parse_args()


def split_of(stem: str) -> str:
    """Return the usual split, by sequence and frame number."""
    sequence, number = stem.split('_')
    time = int(number.lstrip('f'))
    if sequence == '0001TP':
        return 'train' if time <= 8520 else 'test'
    if sequence == '0016E5':
        # The part labelled at 15 Hz has odd numbers, the rest multiples of 30.
        return 'val' if 7959 <= time <= 8159 and time % 2 else 'train'
    return 'train' if sequence == '0006R0' else 'test'


def convert_labels(stills: Path, labels: Path, root: Path) -> dict[str, Path]:
    """Write images and labels of the stills; return {name: image}."""
    images = {path.stem: path for path in stills.rglob('[!.]*.png')}
    written = {}
    for split in SPLITS:
        for folder in (split, f'{split}annot'):
            (root / folder).mkdir()
    for path in track(sorted(labels.rglob('[!.]*_L.png')), description='Labels', transient=True):
        stem = path.stem.removesuffix('_L')
        if stem not in images:
            raise FileNotFoundError(f'{stills}: lacks {stem}.png, the image of {path.name}')
        split = split_of(stem)
        colours = read_stored(path, np.uint8, channels=3)
        write_png(root / f'{split}annot' / f'{stem}.png', labels_of_colours(colours, COLOURS, path))
        written[stem] = root / split / f'{stem}.png'
        write_png(written[stem], read_image(images[stem]))
    return written


def labelled_numbers(film: Film, stills: dict[str, Path]) -> dict[int, Path]:
    """Return {frame number: still} of a video's labelled frames."""
    sequence = film.name.partition('_')[0]
    return {int(stem.split('_')[1].lstrip('f')): still for stem, still in stills.items() if stem.startswith(sequence)}


def find_shift(path: Path, film: Film, labelled: dict[int, Path]) -> int:
    """Return how far a video's frame numbers are off: decoders find different numbers of frames at its beginning."""
    times = sorted(labelled)
    compared: dict[int, list[tuple[int, int]]] = {}
    for time in times[:: max(1, len(times) // CHECKED)]:
        for shift in SHIFTS:
            compared.setdefault(time + shift, []).append((time, shift))
    errors: dict[int, list[float]] = {}
    for number, frame in enumerate(
        track(read_frames(path), description=f'Checking {path.name}', transient=True), film.first
    ):
        for time, shift in compared.get(number, ()):
            errors.setdefault(shift, []).append(
                float(np.abs(thumbnail(frame) - thumbnail(read_image(labelled[time]))).mean())
            )
    if not errors:
        raise ValueError(f'{path}: lacks all labelled frames ({times[:3]}, ...); get the video again')
    return min(errors, key=lambda shift: (np.mean(errors[shift]), abs(shift)))


def thumbnail(image: Array) -> Array:
    """Return an image at 96x72, to compare videos and stills."""
    return cv2.resize(image, (96, 72), interpolation=cv2.INTER_AREA).astype(np.float32)


def write_film_frames(path: Path, stills: dict[str, Path], *, before: int) -> None:
    """Write the frames before each labelled frame of a video."""
    if path.stem not in FILMS:
        raise ValueError(f'{path}: not one of the videos {", ".join(FILMS)}; do not rename them')
    film = FILMS[path.stem]
    labelled = labelled_numbers(film, stills)
    shift = find_shift(path, film, labelled)
    print(f'{path.name}: frame numbers as published' + (f', moved by {-shift:+d}' if shift else ''))
    wanted: dict[int, set[Path]] = {}
    for time, still in labelled.items():
        for number in range(time - before, time):
            wanted.setdefault(number, set()).add(still.parent)
    height, width = read_image(next(iter(labelled.values()))).shape[:2]
    first = film.first - shift
    for number, frame in enumerate(track(read_frames(path), description=path.name, transient=True), first):
        for folder in wanted.get(number, ()):
            target = folder / f'{film.name.format(number)}.png'
            # Do not overwrite a still.
            if not target.exists():
                write_png(target, resize_image(frame, (height, width)))


def count(root: Path, before: int) -> Counter[str]:
    """Return how many labels each split has, and how many of them have all frames of their clips."""
    counts: Counter[str] = Counter()
    for split in SPLITS:
        labels = [path.stem for path in (root / f'{split}annot').iterdir()]
        counts[split] = len(labels)
        for stem in labels:
            sequence, number = stem.split('_')
            f, digits = ('f' if number[0] == 'f' else ''), number.lstrip('f')
            names = [f'{sequence}_{f}{int(digits) - back:0{len(digits)}d}.png' for back in range(1, before + 1)]
            counts[f'{split}/complete'] += all((root / split / name).exists() for name in names)
    return counts


def unpacked(source: Path, root: Path) -> Path:
    """Return a folder as it is, or the one beside `root` that an archive is unpacked to."""
    if source.is_dir():
        return source
    folder = root.with_name(f'unpacked-{source.name}')
    extract(source, folder)
    return folder


def main() -> None:
    args = parse_args()
    before = Clip(interval=args.key_frame_interval).length - 1
    with whole_folder(args.out) as root:
        stills = convert_labels(unpacked(args.stills, root), unpacked(args.labels, root), root)
        for film in args.films:
            write_film_frames(film, stills, before=before)
        counts = count(root, before)
        if not args.allow_partial:
            check_counts(counts, SPLITS, where=args.out)
        write_manifest(root, dataset='camvid', counts=counts, sources=[args.stills, args.labels, *args.films])
    for split in SPLITS if args.films else ():
        print(f'{split}: {counts[f"{split}/complete"]} of {counts[split]} labels have all frames of their clips')
    print(f'{args.out}: complete, see manifest.json')


if __name__ == '__main__':
    with readable_errors():
        main()
