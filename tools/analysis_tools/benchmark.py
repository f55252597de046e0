"""Measure how long a model takes and how much memory: latency of each kind of frame, throughput, peak.

The time covers the way from normalised pixels to decoded maps. A video model is measured in the steady state of its
streams, a key frame and a non-key frame in turns (--mode clip: three frames per prediction, as in testing).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from functools import partial

import torch
from rich.progress import track

from mmmtl.apis import MultiTaskInferencer
from mmmtl.cli.arguments import (
    add_config_arguments,
    add_inferencer_arguments,
    add_timing_arguments,
    check_cli_outputs,
    config_of,
    inferencer_options,
    start_clock,
)
from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import positive
from mmmtl.config import input_size
from mmmtl.io import write_text
from mmmtl.profiling.latency import default_mode, latency_table, measure_latency, prediction_steps, report
from mmmtl.profiling.measure import describe_machine


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    add_inferencer_arguments(parser, size='--shape')
    parser.add_argument(
        '--mode', choices=('image', 'stream', 'clip'), help='(default: stream for a video model, else image)'
    )
    parser.add_argument('--batch', type=positive, default=1, help='images, clips, or parallel streams (default: 1)')
    parser.add_argument('--rounds', type=positive, default=50, help='measurements of each kind of frame (default: 50)')
    parser.add_argument('--warmup', type=positive, default=5, help='rounds before those that count (default: 5)')
    add_timing_arguments(parser)
    parser.add_argument('--json', metavar='FILE', help='write the numbers there')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    clock = start_clock(args)
    if args.mode == 'clip' and args.optimize == 'compile':
        raise SystemExit('--mode clip: only the frames of streams can be compiled; give --optimize fuse')
    cfg = config_of(args)
    check_cli_outputs(cfg, [args.json], inputs=[args.checkpoint])
    shape = args.shape or input_size(cfg)
    if shape is None:
        raise SystemExit(f'{args.config}: its test pipeline has no Resize that sets the size; give --shape H W')
    try:
        inferencer = MultiTaskInferencer(cfg, **inferencer_options(args))
        steps = prediction_steps(inferencer.model, shape, batch=args.batch, mode=args.mode)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'{args.config}: {error}') from error
    device = inferencer.device
    shown: partial[Iterable[int]] = partial(track, description='rounds', disable=not sys.stdout.isatty())
    found = measure_latency(
        steps, device=device, batch=args.batch, rounds=args.rounds, warmup=args.warmup, clock=clock, track=shown
    )
    mode = args.mode or default_mode(inferencer.model)
    print(latency_table(found, inferencer.model.key_frame_interval))
    threads = f', {torch.get_num_threads()} threads' if device.type == 'cpu' else ''
    how = f'optimize={args.optimize}, {args.dtype or "float32"}'
    print(f'{mode}, {shape[0]}x{shape[1]} pixels (height x width), batch {args.batch}, {device.type}{threads}, {how}')
    if args.json:
        asked = ('config', 'checkpoint', 'optimize', 'dtype', 'batch', 'rounds', 'warmup', 'clock')
        head = {name: getattr(args, name) for name in asked} | {'mode': mode, 'shape': list(shape)}
        machine = {'device': device.type, **describe_machine(device)}
        write_text(
            args.json, json.dumps({**head, 'machine': machine, **report(found, inferencer.model)}, indent=2) + '\n'
        )
        print(f'written: {args.json}')


if __name__ == '__main__':
    with readable_errors():
        main()
