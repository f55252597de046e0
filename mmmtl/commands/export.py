"""Export a model to ONNX graphs and a runner for them, which need no mmmtl, and compare them with PyTorch.

An image model becomes one graph, a video model a graph for key frames and one for the others; the state of the stream
goes in and out as tensors. Nothing is written if a task differs by more than the tolerance.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

from mmmtl._output import counted
from mmmtl.apis import MultiTaskInferencer, read_frames, zoo_weights
from mmmtl.cli.arguments import WEIGHTS_HELP, add_config_arguments, add_shape_argument, config_of
from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import choices, positive
from mmmtl.datasets.synthetic import make_scene, render
from mmmtl.export import export_model
from mmmtl.export.exporting import FORMATS, TOLERANCE, check_packages
from mmmtl.io import check_new_folder, check_outputs
from mmmtl.structures import Array

from .inputs import check_exist


def parse_args(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_arguments(parser)
    parser.add_argument('checkpoint', nargs='?', help=WEIGHTS_HELP)
    parser.add_argument('--out', required=True, type=Path, metavar='DIR', help='a new or an empty folder')
    parser.add_argument(
        '--frames',
        metavar='VIDEO',
        help='video or folder to compare and calibrate int8 with (default: synthetic)',
    )
    parser.add_argument(
        '--max-frames',
        type=positive,
        default=12,
        metavar='N',
        help='frames of the video (default: 12; take 100 for int8)',
    )
    add_shape_argument(
        parser, '--size', 'height and width for the model (default: the size of Resize in the test pipeline)'
    )
    parser.add_argument('--dynamic-size', action='store_true', help='graphs take frames of any size')
    parser.add_argument(
        '--formats', type=choices(*FORMATS), default=['onnx'], help='onnx, torch (programs of torch.export) or both'
    )
    parser.add_argument('--int8', action='store_true', help='also write graphs with int8 convolutions to DIR/int8')
    parser.add_argument(
        '--tolerance', type=float, default=TOLERANCE, help='largest error of a task, relative (default: %(default)s)'
    )
    return parser.parse_args(arguments)


@readable_errors()
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the command."""
    args = parse_args(arguments, prog)
    cfg = config_of(args)
    weights = args.checkpoint or zoo_weights(args.config)
    check_outputs([args.out], [cfg.filename, weights, args.frames])
    if args.frames is not None:
        check_exist([args.frames])
    check_new_folder(args.out)
    check_packages(args.formats)
    inferencer = MultiTaskInferencer(cfg, weights, device='cpu')
    size = tuple(args.size) if args.size else inferencer.model_size
    frames = synthetic_video(args.max_frames, size) if args.frames is None else read_frames(args.frames)
    done = export_model(
        inferencer,
        args.out,
        itertools.islice(frames, args.max_frames),
        name=Path(args.config).stem,
        size=size,
        dynamic_size=args.dynamic_size,
        formats=args.formats,
        int8=args.int8,
        tolerance=args.tolerance,
    )
    print(done.table())
    print(f'{counted(done.frames, "frame")} compared; written: {done.folder}')


def synthetic_video(count: int, size: tuple[int, int] | None) -> list[Array]:
    """Return frames (H, W, 3) uint8 BGR of a rendered room; none without a size, which `export_model` refuses."""
    scene = make_scene(0)
    return [] if size is None else [render(scene, time, *size).image for time in range(count)]
