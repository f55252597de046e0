"""Convert public weights of a part of models: of a backbone trained on ImageNet, or of FlowNet-S.

python tools/model_converters/network.py MobileNetV2 mobilenet_v2-b0353104.pth data/weights/mobilenet_v2_imagenet.pth
"""

from __future__ import annotations

import argparse

import torch
from mmengine.runner import CheckpointLoader

from mmmtl.cli.errors import readable_errors
from mmmtl.io import check_outputs, whole_file
from mmmtl.public_weights import NETWORKS, convert_checkpoint
from mmmtl.registry import MODELS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('network', choices=NETWORKS, help='what the weights are for')
    parser.add_argument('source', help='the public checkpoint, a file or a URL')
    parser.add_argument('out', help='the converted weights (.pth)')
    args = parser.parse_args()
    check_outputs([args.out], [args.source])
    checkpoint = CheckpointLoader.load_checkpoint(args.source, map_location='cpu', logger='silent')
    with torch.device('meta'):
        network = MODELS.build(dict(type=args.network))
    try:
        weights = convert_checkpoint(checkpoint, network, NETWORKS[args.network])
    except ValueError as error:
        raise SystemExit(f'{args.source}, for {args.network}: {error}') from None
    with whole_file(args.out) as partial:
        torch.save({'state_dict': weights}, partial)
    print(f'{args.out}: {len(weights)} weights')


if __name__ == '__main__':
    with readable_errors():
        main()
