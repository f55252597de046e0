"""What a model costs: multiply-accumulates and parameters of each component.

A video model is counted in the steady state: a key frame, another frame, and the average over the key-frame interval.
Counted are convolutions, linear layers, matrix products and attention. Nothing is computed and no weights are read.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmmtl.utils import build_on_meta, cost_table, count_cost
from mmmtl.utils.cli import add_config_arguments, add_shape_argument, load_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    add_shape_argument(parser, '--shape', 'height and width of the picture (default: of Resize in the test pipeline)')
    parser.add_argument('--json', metavar='FILE', help='write the numbers there')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    shape = args.shape or test_size(cfg)
    if shape is None:
        raise SystemExit(f'{args.config}: its test pipeline has no Resize that says the size; say it with --shape H W')
    cost = count_cost(build_on_meta(cfg), shape)
    print(cost_table(cost))
    if args.json:
        path = Path(args.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({'config': args.config, **cost.to_dict()}, indent=2) + '\n')
        print(f'written: {path}')


def test_size(cfg: Config) -> tuple[int, int] | None:
    """(height, width) that the last Resize of the test pipeline makes, or None."""
    sizes = [tuple(transform['size']) for transform in transforms(cfg.get('test_dataloader') or {})]
    return sizes[-1] if sizes else None


def transforms(cfg: Any) -> Iterator[dict[str, Any]]:
    """The Resize transforms anywhere in the config of a data loader."""
    if isinstance(cfg, dict):
        if str(cfg.get('type', '')).rpartition('.')[2] == 'Resize' and 'size' in cfg:
            yield cfg
        cfg = list(cfg.values())
    if isinstance(cfg, (list, tuple)):
        for item in cfg:
            yield from transforms(item)


if __name__ == '__main__':
    main()
