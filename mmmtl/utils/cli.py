"""What the command lines share: their arguments and the config that these make."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import Config, DictAction

from .launch import LAUNCHERS


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """The config and its overrides."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override parts of the config, e.g. tasks.depth.loss_weight=2 key_frame_interval=10',
    )
    parser.add_argument('--tasks', help='use only these of the tasks of the config, e.g. semseg,depth')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the tools that run a runner."""
    add_config_arguments(parser)
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default: work_dirs/<name of the config>)')
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='how several processes were started')
    # torchrun sets the environment; some launchers pass the argument instead.
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)


def add_inferencer_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the demos that run a `MultiTaskInferencer`."""
    parser.add_argument('checkpoint', nargs='?', help='weights (default: untrained ones)')
    parser.add_argument('--device', help="'cpu', 'cuda', ... (default: a GPU where there is one)")
    add_shape_argument(parser, '--size', 'height and width for the model (default: of Resize in the test pipeline)')


def add_shape_argument(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """A height and a width."""
    parser.add_argument(name, nargs=2, type=int, metavar=('H', 'W'), help=text)


def load_config(args: argparse.Namespace) -> Config:
    """The config with the overrides of the command line, not resolved yet.

    Raises:
        SystemExit: there is no such file.
    """
    if not Path(args.config).is_file():
        raise SystemExit(f'{args.config}: no such config file')
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.tasks:
        cfg.use_tasks = args.tasks.split(',')
    if hasattr(args, 'work_dir'):
        cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(args.config).stem)
    return cfg
