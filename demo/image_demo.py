"""Predict every task of your own images and draw the maps side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.progress import track

from mmmtl.apis import MultiTaskInferencer
from mmmtl.cli import add_config_arguments, add_inferencer_arguments, config_of, inferencer_options
from mmmtl.io.images import IMAGE_SUFFIXES, read_image, write_png


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('image', help='image, or a folder of images')
    add_config_arguments(parser)
    add_inferencer_arguments(parser)
    parser.add_argument('--out-dir', required=True, metavar='DIR', help='write <name of the image>.png there')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    paths = find_images(Path(args.image))
    options = inferencer_options(args)
    inferencer = MultiTaskInferencer(config_of(args), args.checkpoint, size=args.size or 'config', **options)
    folder = Path(args.out_dir)
    for path in track(paths, 'images'):
        image = read_image(path)
        write_png(folder / f'{path.stem}.png', inferencer.panel(image, inferencer(image))[..., ::-1])
    print(f'{len(paths)} drawings: {folder}')


def find_images(path: Path) -> list[Path]:
    """Return the image, or those in a folder."""
    if not path.is_dir():
        return [path]
    paths = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise SystemExit(f'{path}: no images in this folder ({", ".join(IMAGE_SUFFIXES)})')
    return paths


if __name__ == '__main__':
    main()
