"""Predict every task of your own images and draw the maps side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.progress import track

from mmmtl.apis import MultiTaskInferencer
from mmmtl.cli import (
    add_config_arguments,
    add_fit_argument,
    add_inferencer_arguments,
    choices,
    config_of,
    inferencer_options,
)
from mmmtl.io import MapWriter, check_new_folder, check_outputs, distinct_names, write_png
from mmmtl.io.image_sources import find_images, is_one_image, is_url

SHOWN = 10
"""The largest number of skipped files that are printed by name."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('image', help="image, URL of one, folder of images, or pattern such as 'photos/*.jpg'")
    add_config_arguments(parser)
    add_inferencer_arguments(parser)
    add_fit_argument(parser)
    parser.add_argument('--out-dir', required=True, metavar='DIR', help='write <name of the image>.png there')
    parser.add_argument(
        '--save',
        type=choices('panels', 'raw', 'npy'),
        default=['panels'],
        metavar='KINDS',
        help='what to write: panels, and the maps as PNG (raw) or .npy files (npy) in an ImageFolder DIR/raw, such as '
        "'panels,raw' (default: panels)",
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    folder = Path(args.out_dir)
    try:
        sources, others = choose(args.image)
        outputs = [folder / f'{name}.png' for name in distinct_names(sources)]
        if folder.exists() and not folder.is_dir():
            raise ValueError(f'--out-dir {folder}: is a file, not a folder')
        files = [path for path in sources if not is_url(path)]
        # Other images in the folder of an input are safe too.
        check_outputs([folder], {Path(path).parent for path in files})
        check_outputs(outputs, [*files, args.config, args.checkpoint])
        raw = folder / 'raw' if {'raw', 'npy'} & set(args.save) else None
        if raw:
            check_new_folder(raw)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    options = inferencer_options(args)
    inferencer = MultiTaskInferencer(config_of(args), args.checkpoint, size=args.size or args.fit, **options)
    failed = []
    results = zip(outputs, track(inferencer.predict_each(sources), 'images', total=len(sources)), strict=True)
    with ExitStack() as stack:
        writer = None
        if raw:
            writer = stack.enter_context(MapWriter(raw, inferencer.tasks, stills=True, npy='npy' in args.save))
        for path, result in results:
            if result.image is None or result.maps is None:
                failed.append(f'{result.name}: {result.error}')
                continue
            if writer is not None:
                writer.write(path.stem, 0, result.image, result.maps)
            if 'panels' not in args.save:
                continue
            title = result.name if is_url(result.name) else Path(result.name).name
            write_png(path, inferencer.panel(result.image, result.maps, title=title)[..., ::-1])
    number = len(sources) - len(failed)
    if 'panels' in args.save:
        print(f'{number} drawings: {folder}')
    if raw:
        print(f'maps of {number} images: {raw}')
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
    main()
