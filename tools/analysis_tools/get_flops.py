"""What a model costs: multiply-accumulates and parameters of each component.

A video model is counted in the steady state: a key frame, another frame, and the average over the key-frame interval.
Counted are convolutions, linear layers, matrix products and attention. Nothing is computed and no weights are read.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mmmtl.utils import build_on_meta, cost_table, count_cost
from mmmtl.utils.cli import add_config_arguments, add_shape_argument, load_config
from mmmtl.utils.input_size import input_size


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    add_shape_argument(parser, '--shape', 'height and width of the picture (default: of Resize in the test pipeline)')
    parser.add_argument('--json', metavar='FILE', help='write the numbers there')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    shape = args.shape or input_size(cfg)
    if shape is None:
        raise SystemExit(f'{args.config}: its test pipeline has no Resize that says the size; say it with --shape H W')
    cost = count_cost(build_on_meta(cfg), shape)
    print(cost_table(cost))
    if args.json:
        path = Path(args.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({'config': args.config, **cost.to_dict()}, indent=2) + '\n')
        print(f'written: {path}')


if __name__ == '__main__':
    main()
