"""Train a model from a config."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import Config

from mmmtl.apis import zoo_weights
from mmmtl.cli.arguments import add_common_arguments, config_of
from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import positive
from mmmtl.config.options import merge_options
from mmmtl.engine import build_runner, change_length
from mmmtl.engine.build import resumes_newest
from mmmtl.engine.checkpoint_files import check_free
from mmmtl.engine.folder_lock import own_work_dir
from mmmtl.engine.hooks.overwrite_hook import OverwriteHook
from mmmtl.engine.launch import name_lost_processes, set_launcher
from mmmtl.zoo import is_name


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='continue from a checkpoint, by default the newest one in the work directory',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='remove the checkpoints of an earlier run in the work directory'
    )
    length = parser.add_mutually_exclusive_group()
    scaled = 'length of the training; the schedule, and the intervals of validation and checkpoints, scale with it'
    length.add_argument('--iterations', type=positive, metavar='N', help=scaled)
    length.add_argument('--epochs', type=positive, metavar='N', help='the same for configs that train by epochs')
    parser.add_argument('--amp', action='store_true', help='mixed precision: float16 on a GPU, else bfloat16')
    parser.add_argument('--auto-scale-lr', action='store_true', help="scale the learning rate to the run's batch size")
    parser.add_argument('--no-validate', action='store_true', help='do not validate while training')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = config_of(args)
    if args.iterations or args.epochs:
        cfg = with_length(cfg, args)
    if is_name(cfg.get('load_from')) and not Path(cfg.load_from).is_file():
        cfg.load_from = str(zoo_weights(cfg.load_from) or cfg.load_from)
    if args.resume == 'auto':
        cfg.resume = 'auto'
    elif args.resume is not None:
        cfg.resume, cfg.load_from = True, args.resume
    if args.overwrite and cfg.get('resume'):
        raise SystemExit('--overwrite removes what --resume continues; give one of them')
    if args.amp:
        use_amp(cfg)
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise SystemExit(
                f'{args.config}: --auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config'
            )
        cfg.auto_scale_lr.enable = True
    if args.no_validate:
        leave_out_validation(cfg)
    set_launcher(cfg, args.launcher, args.local_rank)
    with name_lost_processes(cfg), own_work_dir(cfg) as is_first:
        if is_first and not args.overwrite and not resumes_newest(cfg):
            check_free(cfg.work_dir, cfg.load_from if cfg.get('resume') else None)
        runner = build_runner(cfg)
        if args.overwrite:
            runner.register_hook(OverwriteHook())
        runner.train()


def with_length(cfg: Config, args: argparse.Namespace) -> Config:
    """Return the config with the length of --iterations or --epochs; --cfg-options are not scaled."""
    try:
        cfg = change_length(cfg, iterations=args.iterations, epochs=args.epochs)
    except ValueError as error:
        raise SystemExit(f'{args.config}: {error}') from None
    length = cfg.train_cfg.copy()
    merge_options(cfg, args.cfg_options or {})
    for key in ('max_iters', 'max_epochs'):
        if cfg.train_cfg.get(key) != length.get(key):
            raise SystemExit(f'--cfg-options train_cfg.{key}: --iterations or --epochs sets the length; give one')
    return cfg


def use_amp(cfg: Config) -> None:
    """Let every optimiser train in mixed precision."""
    # A constructor has several optimisers, by name.
    named = 'constructor' in cfg.optim_wrapper and 'optimizer' not in cfg.optim_wrapper
    wrappers = [v for v in cfg.optim_wrapper.values() if isinstance(v, dict)] if named else [cfg.optim_wrapper]
    for wrapper in wrappers:
        wrapper['type'] = 'AmpOptimWrapper'


def leave_out_validation(cfg: Config) -> None:
    """Take validation out of the training, and the best checkpoint, which needs it."""
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.train_cfg.pop('val_interval', None)
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if checkpoint.pop('save_best', None) is not None:
        print('--no-validate: no best checkpoint is kept (default_hooks.checkpoint.save_best)')


if __name__ == '__main__':
    with readable_errors():
        main()
