"""Draw `docs/images/tasks.jpg`: a frame of house_video's rendered rooms, and what mila-indoor predicts for it."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from mmmtl.apis import MultiTaskInferencer
from mmmtl.cli.errors import readable_errors
from mmmtl.io import write_jpeg

VIDEO, FRAME = 'val_01_kitchen', 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, default=Path('data/house_video'), help='default: %(default)s')
    parser.add_argument('--out', type=Path, default=Path('docs/images/tasks.jpg'), help='default: %(default)s')
    args = parser.parse_args()
    inferencer = MultiTaskInferencer('mila-indoor')
    image, maps = next(islice(inferencer.stream(args.data / 'frames' / VIDEO), FRAME, None))
    write_jpeg(args.out, inferencer.panel(image, maps)[..., ::-1])


if __name__ == '__main__':
    with readable_errors():
        main()
