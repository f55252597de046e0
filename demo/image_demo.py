"""Predict every task of your own images and draw the maps side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from mmmtl._output import counted
from mmmtl.apis import MultiTaskInferencer
from mmmtl.cli.arguments import (
    add_config_arguments,
    add_fit_argument,
    add_inferencer_arguments,
    add_shown_range_argument,
    chosen_size,
    config_of,
    inferencer_options,
)
from mmmtl.cli.errors import readable_errors
from mmmtl.commands.results import write_panel
from mmmtl.io import check_outputs, distinct_names
from mmmtl.io.image_sources import find_images, is_one_image, is_url

SHOWN = 10
"""The largest number of skipped files that are printed by name."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('image', help="image, URL of one, folder of images, or pattern such as 'photos/*.jpg'")
    add_config_arguments(parser)
    add_inferencer_arguments(parser)
    add_fit_argument(parser)
    add_shown_range_argument(parser)
    parser.add_argument('--out-dir', required=True, metavar='DIR', help='write <name of the image>.png there')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    folder = Path(args.out_dir)
    sources, others = choose(args.image)
    outputs = [folder / f'{name}.png' for name in distinct_names(sources)]
    if folder.exists() and not folder.is_dir():
        raise ValueError(f'--out-dir {folder}: is a file, not a folder')
    files = [path for path in sources if not is_url(path)]
    # Other images in the folder of an input are safe too.
    check_outputs([folder], {Path(path).parent for path in files})
    check_outputs(outputs, [*files, args.config, args.checkpoint])
    inferencer = MultiTaskInferencer(config_of(args), size=chosen_size(args), **inferencer_options(args))
    failed = []
    predictions = inferencer.predict_each(sources)
    for path, result in zip(outputs, track(predictions, 'images', total=len(sources)), strict=True):
        if result.image is None or result.maps is None:
            failed.append(f'{result.name}: {result.error}')
        else:
            write_panel(path, inferencer, result)
    print(f'{counted(len(sources) - len(failed), "drawing")}: {folder}')
    report('no images by their names', [str(path) for path in others])
    report('could not be read', failed)
    if len(failed) == len(sources):
        raise SystemExit(1)


def choose(image: str) -> tuple[list[str], list[Path]]:
    """Return the images that the argument stands for, and the other files beside them."""
    if is_one_image(image):
        return [image], []
    found = find_images(image)
    return [str(path) for path in found.images], found.others


def report(what: str, names: Sequence[str]) -> None:
    """Print what was left out and why."""
    if names:
        more = [f'... and {len(names) - SHOWN} more'] if len(names) > SHOWN else []
        print('\n  '.join([f'left out, {what}: {len(names)}', *names[:SHOWN], *more]))


if __name__ == '__main__':
    with readable_errors():
        main()
