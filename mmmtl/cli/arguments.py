"""Arguments that the command lines share, and the config that they name."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmmtl.apis import zoo_weights
from mmmtl.config import LOADERS, dataset_configs, load_config
from mmmtl.config.options import parse_value
from mmmtl.config.variables import read_config_file
from mmmtl.engine.launch import LAUNCHERS
from mmmtl.io import check_outputs

from .values import device, positive

DTYPES = ('float32', 'bfloat16', 'float16')

WEIGHTS_HELP = 'weights (default: those of the named model, or untrained ones)'


class _Options(argparse.Action):
    """The option --cfg-options: KEY=VALUE pairs as a dict, which may be given several times."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Parse the pairs; exit if one has no equals sign."""
        options = dict(getattr(namespace, self.dest) or {})
        for pair in values:
            key, equals, value = pair.partition('=')
            if not key.strip() or not equals:
                parser.error(f'{option} takes KEY=VALUE, not {pair!r}; quote a value that has spaces')
            options[key.strip()] = parse_value(value)
        setattr(namespace, self.dest, options)


def add_config_arguments(parser: argparse.ArgumentParser, *, option: str | None = None) -> None:
    """Add the config, as an argument or as an option of another name, and its overrides."""
    text = 'config file, or the name of a model (`mmmtl models` lists them)'
    if option is None:
        parser.add_argument('config', help=text)
    else:
        parser.add_argument(option, dest='config', required=True, metavar='NAME|CONFIG', help=text)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_Options,
        metavar='KEY=VALUE',
        help='override parts of the config, e.g. tasks.depth.loss_weight=2 key_frame_interval=10; values are Python '
        "literals, such as 1e-3, [1,2] or \"{'type': 'SGD', 'lr': 0.1}\", or plain text",
    )
    parser.add_argument('--tasks', help='tasks of the config to use, e.g. semseg,depth (default: all)')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the tools that run a runner."""
    add_config_arguments(parser)
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default: work_dirs/<name of the config>)')
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='how several processes were started')
    # torchrun sets the environment; some launchers pass the argument instead.
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)


def add_inferencer_arguments(
    parser: argparse.ArgumentParser, *, size: str = '--size', weights: str | None = None
) -> None:
    """Add the arguments of programs that run a `MultiTaskInferencer`.

    Args:
        parser: gets the arguments.
        size: the name of the option for the size.
        weights: the name of an option for the weights; None makes them an argument.
    """
    if weights is None:
        parser.add_argument('checkpoint', nargs='?', help=WEIGHTS_HELP)
    else:
        parser.add_argument(weights, dest='checkpoint', metavar='FILE', help=WEIGHTS_HELP)
    add_device_arguments(parser)
    add_shape_argument(
        parser, size, 'height and width for the model and its maps (default: the size of Resize in the test pipeline)'
    )


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where a `MultiTaskInferencer` runs, and in which form."""
    parser.add_argument('--device', type=device, help="'cpu', 'cuda', ... (default: a GPU if available)")
    parser.add_argument(
        '--optimize',
        choices=('fuse', 'compile'),
        help='fold batch norm and use channels last, or also compile a graph for each kind of frame (default: neither)',
    )
    parser.add_argument('--dtype', choices=DTYPES, help='number type of an optimised model (default: float32)')


def add_fit_argument(parser: argparse.ArgumentParser) -> None:
    """Add the `size` of a `MultiTaskInferencer` by name."""
    parser.add_argument(
        '--fit',
        choices=('input', 'letterbox', 'model'),
        help="how images are fitted to the model's size. input (default): scale them, and return maps at the image's "
        "size; letterbox: the same, but pad with bars; model: stretch them, and return maps at the model's size "
        '(--size does the same for another size)',
    )


def chosen_size(args: argparse.Namespace) -> Any:
    """Return the `size` of a `MultiTaskInferencer`; raise ValueError for both --size and --fit."""
    if args.size and args.fit:
        raise ValueError(f'--size and --fit {args.fit}: images are stretched to --size; give one of them')
    return args.size or args.fit or 'input'


class _ShownRange(argparse.Action):
    """The option --shown-range, which may be given for several tasks: an override of the config."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Add the override; exit if the ends are not numbers."""
        task, *ends = values
        try:
            shown = [float(end) for end in ends]
        except ValueError:
            parser.error(f'{option} takes a task and two numbers, not {" ".join(values)}')
        namespace.cfg_options = {**(namespace.cfg_options or {}), f'tasks.{task}.shown_range': shown}


def add_shown_range_argument(parser: argparse.ArgumentParser) -> None:
    """Add the `shown_range` of tasks to a parser with the arguments of `add_config_arguments`."""
    parser.add_argument(
        '--shown-range',
        nargs=3,
        action=_ShownRange,
        default=argparse.SUPPRESS,
        metavar=('TASK', 'MIN', 'MAX'),
        help='fix the scale of drawings of depth (metres) or disparity, e.g. depth 0.5 10 (default: the range of the '
        'picture, or of the video so far)',
    )


def parse_curve_arguments(description: str, option: str) -> argparse.Namespace:
    """Parse the command line of a tool that draws curves of metrics, which `tools/test.py` writes with `option`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('files', nargs='+', metavar='[NAME=]METRICS', help=f'metrics.json of tools/test.py {option}')
    parser.add_argument('--metrics', nargs='+', help='only these, such as semseg/mIoU depth/abs_err (default: all)')
    parser.add_argument('--out', metavar='FILE', help='write the figure there (.png, .svg, .pdf)')
    return parser.parse_args()


def inferencer_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return keywords of `MultiTaskInferencer` from the arguments of `add_inferencer_arguments`."""
    return dict(weights=args.checkpoint or zoo_weights(args.config), **device_options(args))


def device_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return keywords of `MultiTaskInferencer` from the arguments of `add_device_arguments`."""
    dtype = None if args.dtype is None else getattr(torch, args.dtype)
    return dict(device=args.device, optimize=args.optimize, dtype=dtype)


def add_shape_argument(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """Add an option that takes a height and a width."""
    parser.add_argument(name, nargs=2, type=positive, metavar=('H', 'W'), help=text)


def add_timing_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of programs that measure time; their parser also has `--device`."""
    parser.add_argument('--threads', type=positive, help='PyTorch threads on the CPU (default: all cores)')
    clock = 'cpu: process time, fairer on a shared machine; needs --device cpu --threads 1'
    parser.add_argument('--clock', default='wall', choices=('wall', 'cpu'), help=clock)


def start_clock(args: argparse.Namespace) -> Callable[[], float]:
    """Set the number of PyTorch threads and return the clock, in seconds.

    Process time is refused with several threads or on a GPU, where it is not the time of a step.
    """
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.clock == 'wall':
        return time.perf_counter
    kind = torch.device(args.device or ('cuda' if torch.cuda.is_available() else 'cpu')).type
    if kind != 'cpu' or torch.get_num_threads() != 1:
        raise SystemExit('--clock cpu needs --device cpu --threads 1')
    return time.process_time


def check_cli_outputs(
    cfg: Config, outputs: Sequence[str | Path | None], *, inputs: Sequence[str | Path | None] = ()
) -> None:
    """Refuse an output of a program that is an input, its config or a base of it, or may be a file of a data set."""
    sources = [file.path for file in read_config_file(cfg.filename) or ()]
    datasets = [dataset for name in LOADERS for dataset in dataset_configs((cfg.get(name) or {}).get('dataset'))]
    check_outputs(
        outputs, [*inputs, *sources], folders={root for dataset in datasets if (root := dataset.get('data_root'))}
    )


def config_of(args: argparse.Namespace) -> Config:
    """Return the config that the arguments name, with overrides, not resolved yet."""
    tasks = [name.strip() for name in args.tasks.split(',')] if args.tasks is not None else None
    cfg = load_config(args.config, options=args.cfg_options, tasks=tasks)
    if hasattr(args, 'work_dir'):
        cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(args.config).stem)
    return cfg
