r"""Make clips of NYU Depth v2 as a VideoFolder: the labelled frames with the raw frames before them.

    python tools/dataset_converters/nyud_video.py nyu_depth_v2_labeled.mat --raw nyu_depth_v2_raw --splits splits.mat \
        --classes classMapping40.mat --out data/nyuv2_video

The raw folder has one folder per scene, or per part of a scene (basement_0001a, basement_0001b). A labelled frame is
found by the file name in the official file, the frames before it by their times. If a scene is missing or begins too
late, the clip lacks frames; the data set's `clip.missing` handles such clips.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import cv2
import numpy as np
from rich.progress import track

from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import positive
from mmmtl.datasets import Clip
from mmmtl.datasets.conversion.archives import whole_folder
from mmmtl.datasets.conversion.manifest import check_counts, write_manifest
from mmmtl.datasets.conversion.normal_signs import DOUBTFUL, SAMPLES, find_normal_signs, report_signs
from mmmtl.datasets.conversion.nyu_labeled import SPLITS, LabeledFile, read_class_mapping, read_splits
from mmmtl.datasets.nyuv2 import classes_13
from mmmtl.datasets.readers import check_signs, list_stems, unit_normals
from mmmtl.datasets.samplers import evenly_spread
from mmmtl.io.arrays import read_npy
from mmmtl.io.files import read_text
from mmmtl.io.images import read_image, write_png
from mmmtl.io.labels import read_raw
from mmmtl.structures import Array
from mmmtl.tasks.base import IGNORE
from mmmtl.tasks.stored import decode_normals, encode_normals

NAME = re.compile(r'r-(\d+\.\d+)-(\d+)\.ppm')
PART = re.compile(r'(.+_\d{4})[a-z]')
# The colour camera, from the data set's toolbox (camera_params.m); labelled images are rectified, raw ones are not.
CAMERA = np.array([[518.85790117450188, 0, 325.58244941119034], [0, 519.46961112127485, 253.73616633400465], [0, 0, 1]])
DISTORTION = np.array(
    [0.20796615318809061, -0.58613825163911781, 7.2231363135888329e-4, 1.0479627195765181e-3, 0.49856986684705107]
)
INSIDE = (slice(45, 471), slice(41, 601))


class RawFrame(NamedTuple):
    """A frame of the raw data; without a path if the file is missing or empty. Frames sort by time."""

    stamp: float
    counter: int
    name: str
    path: Path | None


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='nyu_depth_v2_labeled.mat')
    parser.add_argument('--raw', type=Path, required=True, help='folder of the raw scenes')
    parser.add_argument('--splits', type=Path, required=True, help='splits.mat')
    parser.add_argument(
        '--classes', type=Path, required=True, help='classMapping40.mat; its 40 classes are merged into 13'
    )
    parser.add_argument('--out', type=Path, required=True, help='the new data set')
    parser.add_argument(
        '--normals', type=Path, help='folder of 0001.png (RGB) or 0001.npy, ..., of the labelled frames'
    )
    parser.add_argument(
        '--normal-signs', type=int, nargs=3, default=(1, 1, 1), metavar='S', help='1 or -1 for their x, y and z'
    )
    parser.add_argument('--key-frame-interval', type=positive, default=5, help='the longest interval of the clips')
    parser.add_argument('--rate', type=float, help='frames per second of the clips; by default all raw frames')
    parser.add_argument('--max-gap', type=float, default=0.5, help='a longer pause, in seconds, ends the clip')
    parser.add_argument('--raw-depth', action='store_true', help='the measured depth, without in-painting')
    parser.add_argument('--no-rectify', action='store_true', help='keep the distortion of the raw frames')
    parser.add_argument('--allow-partial', action='store_true', help='accept a number of images other than 795 / 654')
    return parser.parse_args()


def find_scenes(raw: Path) -> dict[str, list[Path]]:
    """Return {scene name without its part letter: folders}, one or two levels below `raw`."""
    scenes: dict[str, list[Path]] = {}
    for folder in sorted([*raw.glob('*'), *raw.glob('*/*')]):
        if '.' not in folder.name and folder.is_dir():
            scenes.setdefault(without_part(folder.name), []).append(folder)
    if not scenes:
        raise FileNotFoundError(f'{raw}: contains no folders of scenes; check --raw')
    return scenes


def without_part(scene: str) -> str:
    """Return basement_0001 of basement_0001a."""
    match = PART.fullmatch(scene)
    return scene if match is None else match[1]


def read_timeline(folders: Sequence[Path]) -> list[RawFrame]:
    """Return the colour frames of a scene's parts by time, with those that only INDEX.txt has."""
    frames = {}
    for folder in folders:
        index = folder / 'INDEX.txt'
        listed = read_text(index).split() if index.is_file() else []
        for name in {*listed, *(path.name for path in folder.glob('r-*.ppm'))}:
            if (match := NAME.fullmatch(name)) is not None:
                path = folder / name
                whole = path.is_file() and path.stat().st_size > 0
                if whole or name not in frames:  # another part of the scene may have the file
                    frames[name] = RawFrame(float(match[1]), int(match[2]), name, path if whole else None)
    return sorted(frames.values(), key=lambda frame: frame[:3])


def frames_before(
    timeline: Sequence[RawFrame], name: str, *, count: int, rate: float | None, max_gap: float
) -> list[Path | None]:
    """Return the last `count` frames before the named one, the oldest first; None for a missing frame.

    Args:
        timeline: result of `read_timeline`.
        name: file name of the labelled frame.
        count: how many.
        rate: take the nearest frames at this number per second; None takes every frame.
        max_gap: a longer pause, in seconds, means that the camera stopped.
    """
    names = [frame.name for frame in timeline]
    if name not in names:
        return [None] * count
    here = names.index(name)
    first = here
    while first and timeline[first].stamp - timeline[first - 1].stamp <= max_gap:
        first -= 1
    earlier = timeline[first:here]
    if rate is None:
        found = [frame.path for frame in earlier[max(0, len(earlier) - count) :]]
        return [None] * (count - len(found)) + found
    now = timeline[here].stamp
    clip: list[Path | None] = []
    for steps in range(count, 0, -1):
        target = now - steps / rate
        nearest = min(earlier, key=lambda frame: abs(frame.stamp - target), default=None)
        near = nearest is not None and abs(nearest.stamp - target) < 0.5 / rate
        clip.append(nearest.path if nearest is not None and near else None)
    return clip


def rectify(image: Array) -> Array:
    """Remove the distortion of the lens from a raw 640x480 frame; the outside is white, as in the labelled images."""
    if image.shape[:2] != (480, 640):
        raise ValueError(f'a raw frame has (width, height) {image.shape[1::-1]}, not (640, 480); give --no-rectify')
    columns, rows = cv2.initUndistortRectifyMap(CAMERA, DISTORTION, np.eye(3), CAMERA, (640, 480), cv2.CV_32FC1)
    return cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderValue=(255, 255, 255))


def read_normals(path: Path, signs: tuple[int, ...], size: tuple[int, ...]) -> Array:
    """Return the normals (H, W, 3) of a file, with the signs of the camera frame."""
    normals = unit_normals(read_npy(path)) if path.suffix == '.npy' else decode_normals(read_raw(path, lossy=True))
    if normals.shape != (*size, 3):
        raise ValueError(f'{path}: normals of shape {normals.shape}, not {(*size, 3)}; resize them first')
    turned: Array = normals * np.array(signs, dtype=np.float32)
    return turned


def convert(args: argparse.Namespace, root: Path) -> Counter[str]:
    """Write clips and labels of the official file, and return their counts."""
    mapping = read_class_mapping(args.classes)
    signs = check_signs(args.normal_signs)
    normals = {} if args.normals is None else numbered(args.normals)
    scenes = find_scenes(args.raw)
    timelines: dict[str, list[RawFrame]] = {}
    before = Clip(interval=args.key_frame_interval).length - 1
    videos: dict[str, dict[str, Any]] = {}
    counts: Counter[str] = Counter()
    differences = []
    with LabeledFile(args.source) as file:
        depths = 'rawDepths' if args.raw_depth else 'depths'
        if args.normals is not None:
            check_normals(file, normals, signs)
        names = [PurePosixPath(name) for name in file.strings('rawRgbFilenames')]
        splits = read_splits(args.splits, file.count(depths))
        numbers = {number: 'test' if split == 'val' else split for split, found in splits.items() for number in found}
        for number in track(sorted(numbers), description='Converting', transient=True):
            video, index, split = f'{number:04d}', number - 1, numbers[number]
            scene = without_part(names[index].parent.name)
            if scene not in timelines:
                timelines[scene] = read_timeline(scenes.get(scene, ()))
            clip = frames_before(
                timelines[scene], names[index].name, count=before, rate=args.rate, max_gap=args.max_gap
            )
            for folder in ('frames', 'semseg', 'depth', *(('normals',) if video in normals else ())):
                (root / folder / video).mkdir(parents=True)
            labelled = np.ascontiguousarray(file.read('images', index)[..., ::-1])
            for time, path in enumerate(clip):
                if path is not None:
                    frame = read_image(path)
                    write_png(root / 'frames' / video / f'{time:06d}.png', frame if args.no_rectify else rectify(frame))
            label = f'{before:06d}.png'
            write_png(root / 'frames' / video / label, labelled)
            labels = mapping[file.read('labels', index)]
            write_png(root / 'semseg' / video / label, classes_13(np.where(labels == 0, IGNORE, labels - 1)))
            write_png(
                root / 'depth' / video / label,
                (file.read(depths, index) * 1000).round().clip(0, 65535).astype(np.uint16),
            )
            if video in normals:
                counts[f'{split}/normals'] += 1
                rgb = encode_normals(read_normals(normals[video], signs, labelled.shape[:2]))
                write_png(root / 'normals' / video / label, rgb[..., ::-1])
            videos[video] = dict(split=split, length=before + 1, raw=str(names[index]))
            counts[split] += 1
            counts[f'{split}/complete'] += None not in clip
            own = next((frame.path for frame in timelines[scene] if frame.name == names[index].name), None)
            if own is not None and labelled.shape[:2] == (480, 640):
                raw = read_image(own)
                differences.append(
                    [np.abs(image[INSIDE] * 1.0 - labelled[INSIDE]).mean() for image in (rectify(raw), raw)]
                )
    (root / 'videos.json').write_text(json.dumps(videos, indent=1) + '\n')
    if differences:
        rectified, plain = np.median(differences, axis=0)
        print(f'raw and labelled images differ by {rectified:.1f} with rectification, by {plain:.1f} without')
    return counts


def numbered(folder: Path) -> dict[str, Path]:
    """Return {number of four digits: file} of normals that are named after the official images: 0001.png or 1.png."""
    found = {f'{int(stem):04d}': path for stem, path in list_stems(folder).items() if stem.isdecimal()}
    if not found:
        raise ValueError(f'{folder}: no normals there; name them after the numbers of the images, such as 0001.png')
    return found


def check_normals(file: LabeledFile, normals: dict[str, Path], signs: tuple[int, ...]) -> None:
    """Refuse normals whose axes, by the depth of some images, are not the package's."""
    videos = sorted(normals)

    def labels() -> Iterator[tuple[Array, Array]]:
        for place in evenly_spread(len(videos), SAMPLES):
            depth = file.read('depths', int(videos[place]) - 1)
            yield read_normals(normals[videos[place]], signs, depth.shape), depth

    found = find_normal_signs(labels())
    if found is not None and found.signs != (1, 1, 1) and found.angle <= DOUBTFUL:
        raise ValueError(
            f'normals: fit the depth with other signs: add --normal-signs {" ".join(map(str, found.signs))}'
        )
    print(report_signs(found))


def main() -> None:
    args = parse_args()
    if args.rate is not None and args.rate <= 0:
        raise SystemExit(f'--rate must be positive, not {args.rate}')
    with whole_folder(args.out) as root:
        counts = convert(args, root)
        if not args.allow_partial:
            check_counts(counts, dict(train=SPLITS['train'], test=SPLITS['val']), where=args.source)
        sources = [args.source, args.raw, args.splits, args.classes, *([] if args.normals is None else [args.normals])]
        write_manifest(root, dataset='nyuv2_video', counts=counts, sources=sources)
    for split in ('train', 'test'):
        print(f'{split}: {counts[f"{split}/complete"]} of {counts[split]} labels have all frames of their clips')
    print(f'{args.out}: complete, see manifest.json')


if __name__ == '__main__':
    with readable_errors():
        main()
