r"""Unpack the archives of Virtual KITTI 2 into one folder for the data set `VirtualKITTI2`, or check such a folder.

Give all archives at once; forwardFlow only serves metrics over time:
    python tools/dataset_converters/vkitti2.py vkitti_2.0.3_rgb.tar vkitti_2.0.3_depth.tar \
        vkitti_2.0.3_classSegmentation.tar vkitti_2.0.3_forwardFlow.tar --out data/vkitti2
    python tools/dataset_converters/vkitti2.py data/vkitti2
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mmmtl.cli.errors import readable_errors
from mmmtl.datasets.conversion.command import convert
from mmmtl.datasets.virtual_kitti2 import SCENES, VARIANTS

FRAMES = dict(zip(SCENES, (447, 233, 270, 339, 837), strict=True))
VIEWS = len(VARIANTS) * 2
KINDS = ('rgb', 'depth', 'classSegmentation')


def count(root: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of files of each kind, and the expected numbers, of the kinds that exist."""
    names = {kind.lower(): kind for kind in (*KINDS, 'forwardFlow')}
    found: Counter[str] = Counter()
    for scene in SCENES:
        for folder in (root / scene).glob('*/frames/*'):
            if (kind := names.get(folder.name.lower())) is not None:
                found[f'{scene}/{kind}'] += sum(1 for _ in folder.glob('[Cc]amera_[01]/*_[0-9]*.*'))
    kinds = {'rgb', *(name.partition('/')[2] for name in found)}
    expected = {f'{scene}/{kind}': FRAMES[scene] * VIEWS for scene in SCENES for kind in KINDS if kind in kinds}
    return dict(sorted(found.items())), expected


if __name__ == '__main__':
    with readable_errors():
        convert(__doc__, dataset='vkitti2', content=f'{SCENES[0]}, ...', count=count)
