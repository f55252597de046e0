"""Convert FlowNetPytorch's weights of FlowNet-S (`flownets`, without batch norm) to those of `FlowNetS`.

python tools/model_converters/flownet_s.py flownets_EPE1.951.pth.tar flownet_s.pth
"""

from __future__ import annotations

import argparse

import torch
from mmengine.runner import CheckpointLoader

from mmmtl.cli import readable_errors
from mmmtl.io import check_outputs, whole_file
from mmmtl.models.flow import FlowNetS
from mmmtl.models.flow.flownet_s import UNIT
from mmmtl.public_weights import FLOWNET_S, convert, public_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='the public checkpoint')
    parser.add_argument('out', help='the converted weights (.pth)')
    args = parser.parse_args()
    check_outputs([args.out], [args.source])
    checkpoint = CheckpointLoader.load_checkpoint(args.source, map_location='cpu', logger='silent')
    with torch.device('meta'):
        model = FlowNetS()
    try:
        if float(checkpoint.get('div_flow', UNIT)) != UNIT:
            raise ValueError(f'its flow has the unit {checkpoint["div_flow"]} (div_flow); `FlowNetS` needs {UNIT:.0f}')
        weights = convert(public_weights(checkpoint), model, FLOWNET_S)
    except ValueError as error:
        raise SystemExit(f'{args.source}: {error}') from None
    with whole_file(args.out) as partial:
        torch.save({'state_dict': weights}, partial)
    print(f'{args.out}: {len(weights)} weights')


if __name__ == '__main__':
    with readable_errors():
        main()
