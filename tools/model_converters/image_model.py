"""Convert a public checkpoint of SCA-MTL, MTI-Net or PAD-Net to one for a config here.

python tools/model_converters/image_model.py \
    configs/mti_net/mti-net_hrnet18_1xb10-100e_nyuv2-480x640.py best_model.pth.tar mti-net.pth
"""

from __future__ import annotations

import argparse

import torch
from mmengine.runner import CheckpointLoader

from mmmtl.cli.arguments import add_config_arguments, check_cli_outputs, config_of
from mmmtl.cli.errors import readable_errors
from mmmtl.config import resolve
from mmmtl.io import whole_file
from mmmtl.profiling import build_on_meta
from mmmtl.public_weights import IMAGE_MODELS, convert_checkpoint
from mmmtl.tasks.build import to_plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument('source', help='the public checkpoint')
    parser.add_argument('out', help='the converted checkpoint (.pth)')
    args = parser.parse_args()
    cfg = config_of(args)
    check_cli_outputs(cfg, [args.out], inputs=[args.source])
    cfg = resolve(cfg)
    if (head := cfg.model.decode_head.type) not in IMAGE_MODELS:
        raise SystemExit(f'{args.config}: has a {head}; public checkpoints are known for {", ".join(IMAGE_MODELS)}')
    checkpoint = CheckpointLoader.load_checkpoint(args.source, map_location='cpu', logger='silent')
    try:
        weights = convert_checkpoint(checkpoint, build_on_meta(cfg), IMAGE_MODELS[head])
    except ValueError as error:
        raise SystemExit(f'{args.source}: {error}; use the config of its method, tasks and backbone') from None
    tasks = to_plain(cfg.model.tasks)
    with whole_file(args.out) as partial:
        torch.save(
            {'state_dict': weights, 'meta': {'dataset_meta': {'tasks': tasks}, 'task_order': sorted(tasks)}}, partial
        )
    print(f'{args.out}: {len(weights)} weights for the tasks {", ".join(tasks)}')


if __name__ == '__main__':
    with readable_errors():
        main()
