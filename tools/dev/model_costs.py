"""Write the cost of models into `metafile.yml`, where `mmmtl models` finds it: multiply-accumulates and parameters.

Models that have a cost keep it; remove its two lines to count it again. MACs of a video model are an average per frame.
"""

from __future__ import annotations

import argparse
from fnmatch import fnmatch

from rich.progress import track

from mmmtl.config import input_size, load_config
from mmmtl.io import read_text, write_text
from mmmtl.models.segmentors.frame_kinds import IMAGE
from mmmtl.profiling import build_on_meta, count_cost
from mmmtl.profiling.average import AVERAGE
from mmmtl.zoo import models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pattern', nargs='?', default='*', help="only these names, such as 'mila*'")
    args = parser.parse_args()
    chosen = [name for name, one in models().items() if fnmatch(name, args.pattern) and one.gmac is None]
    for name in track(chosen, 'models'):
        try:
            macs, parameters = cost_of(name)
        except ValueError as error:
            print(f'{name}: {error}')
            continue
        store(name, macs, parameters)


def store(name: str, macs: int, parameters: int) -> None:
    """Add the cost to the entry of a model."""
    path = models()[name].config.parent / 'metafile.yml'
    text = read_text(path)
    entry = text.index(f'- Name: {name}\n')
    place = text.index('\n', text.index('      Training Data:', entry)) + 1
    write_text(path, f'{text[:place]}      FLOPs: {macs}\n      Parameters: {parameters}\n{text[place:]}')


def cost_of(name: str) -> tuple[int, int]:
    """Return the multiply-accumulates of an image, or of a frame on average, and the number of parameters."""
    cfg = load_config(name)
    shape = input_size(cfg)
    if shape is None:
        raise ValueError('its test pipeline has no Resize that sets the size')
    cost = count_cost(build_on_meta(cfg), shape).to_dict()
    macs = cost['macs']
    return round(macs[AVERAGE if AVERAGE in macs else IMAGE]), cost['params']


if __name__ == '__main__':
    main()
