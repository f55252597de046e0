r"""Unpack the official archives of Cityscapes into one folder for the data set `Cityscapes`, or check such a folder.

Give all archives at once; stills need the first two, disparity and depth also the others, clips leftImg8bit_sequence:
    python tools/dataset_converters/cityscapes.py leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip \
        disparity_trainvaltest.zip camera_trainvaltest.zip --out data/cityscapes
    python tools/dataset_converters/cityscapes.py data/cityscapes
"""

from __future__ import annotations

from pathlib import Path

from mmmtl.cli.errors import readable_errors
from mmmtl.datasets.conversion.command import convert

SPLITS = dict(train=2975, val=500, test=1525)
FRAMES_PER_SNIPPET = 30
PATTERNS = dict(
    leftImg8bit='*_leftImg8bit.png',
    gtFine='*_gtFine_labelIds.png',
    disparity='*_disparity.png',
    camera='*_camera.json',
    leftImg8bit_sequence='*_leftImg8bit.png',
    disparity_sequence='*_disparity.png',
)


def count(root: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of files of each kind, and the expected numbers, of the kinds that exist."""
    counts: dict[str, int] = {}
    expected: dict[str, int] = {}
    for folder, pattern in PATTERNS.items():
        # Labels are never optional.
        if folder == 'gtFine' or (root / folder).is_dir():
            for split, number in SPLITS.items():
                counts[f'{folder}/{split}'] = sum(1 for _ in (root / folder / split).glob(f'*/{pattern}'))
                expected[f'{folder}/{split}'] = number * (FRAMES_PER_SNIPPET if folder.endswith('_sequence') else 1)
    return counts, expected


if __name__ == '__main__':
    with readable_errors():
        convert(__doc__, dataset='cityscapes', content=' or '.join(PATTERNS), count=count)
