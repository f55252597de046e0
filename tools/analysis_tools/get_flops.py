"""Count the cost of a model: multiply-accumulates and parameters of each component.

A video model is counted in the steady state: a key frame, a non-key frame, and the average over the key-frame interval.
Convolutions, linear layers, matrix products and attention count. Nothing is computed and no weights are read.
--paper-convention counts less, to give the figures of MILA's tables 1 and 2 (see configs/mila).
"""

from __future__ import annotations

import argparse
import json

from mmmtl.cli.arguments import add_config_arguments, add_shape_argument, check_cli_outputs, config_of
from mmmtl.cli.errors import readable_errors
from mmmtl.config import input_size
from mmmtl.io import write_text
from mmmtl.profiling import build_on_meta, cost_table, count_cost
from mmmtl.profiling.mila_convention import paper_macs


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    add_shape_argument(
        parser, '--shape', 'height and width of the image (default: the size of Resize in the test pipeline)'
    )
    parser.add_argument(
        '--paper-convention',
        action='store_true',
        help="also count as MILA's tables 1 and 2 do: thop, without decoders, fusion once for each set of slots",
    )
    parser.add_argument('--json', metavar='FILE', help='write the numbers there')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = config_of(args)
    check_cli_outputs(cfg, [args.json])
    shape = args.shape or input_size(cfg)
    if shape is None:
        raise SystemExit(f'{args.config}: its test pipeline has no Resize that sets the size; give --shape H W')
    model = build_on_meta(cfg)
    cost = count_cost(model, shape)
    print(cost_table(cost))
    result = {'config': args.config, **cost.to_dict()}
    if args.paper_convention:
        try:
            result['paper_convention'] = macs = paper_macs(model, shape)
        except ValueError as error:
            raise SystemExit(f'--paper-convention: {error}') from error
        shown = ', '.join(f'{kind.replace("_", "-")} {count / 1e9:.1f}' for kind, count in macs.items())
        print(f"in the paper's convention, GMAC: {shown}")
    if args.json:
        write_text(args.json, json.dumps(result, indent=2) + '\n')
        print(f'written: {args.json}')


if __name__ == '__main__':
    with readable_errors():
        main()
