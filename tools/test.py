"""Test a checkpoint on labelled frames or on whole videos: print and save every metric, and draw panels."""

from __future__ import annotations

import argparse

from mmengine.config import Config
from mmengine.dist import is_main_process

from mmmtl import __version__
from mmmtl.apis import zoo_weights
from mmmtl.cli import add_common_arguments, check_cli_outputs, config_of, readable_errors
from mmmtl.config import dataset_configs
from mmmtl.engine import StreamTestLoop, build_runner
from mmmtl.engine.launch import name_lost_processes, set_launcher
from mmmtl.evaluation import MultiTaskMetric, class_table, delta_m_meta, metrics_table, write_metrics
from mmmtl.profiling import average_macs, build_on_meta
from mmmtl.tasks import build_tasks


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', nargs='?', help='weights (default: those of the named model)')
    parser.add_argument('--out', metavar='metrics.json', help='write the metrics there')
    parser.add_argument('--out-dir', help='write the predictions there, in files that VideoFolder and ImageFolder read')
    parser.add_argument('--npy', action='store_true', help='write them as .npy files, which hold every number')
    parser.add_argument('--show-dir', help='write panels of labels and predictions there')
    parser.add_argument(
        '--show-interval', type=int, default=10, help='draw every N-th sample (default: 10)', metavar='N'
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        '--stream',
        action='store_true',
        help='run over whole videos, frame by frame: adds temporal metrics and the cost of the key-frame policy',
    )
    how.add_argument(
        '--offsets',
        type=offsets,
        help="frames since the last key frame to test at: 'all', or numbers such as 0,4 (default: the config's)",
    )
    return parser.parse_args()


def offsets(text: str) -> str | list[int]:
    """Parse the argument of --offsets."""
    try:
        return text if text == 'all' else [int(number) for number in text.split(',')]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be 'all' or numbers such as 0,4, not {text!r}") from None


def stream(cfg: Config) -> None:
    """Change the config to a test on whole videos, with temporal metrics."""
    cfg.test_cfg = dict(type='StreamTestLoop')
    metrics = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    if not any(metric['type'] == 'TemporalConsistency' for metric in metrics):
        cfg.test_evaluator = [*metrics, dict(type='TemporalConsistency')]


def main() -> None:
    args = parse_args()
    cfg = config_of(args)
    checkpoint = args.checkpoint or zoo_weights(args.config)
    if checkpoint is None:
        raise SystemExit(f'{args.config}: give a checkpoint; no weights come with this config')
    check_cli_outputs(cfg, [args.out, args.out_dir, args.show_dir], inputs=[checkpoint])
    cfg.load_from = str(checkpoint)
    if args.show_dir:
        cfg.default_hooks.visualization.update(draw=True, out_dir=args.show_dir, interval=args.show_interval)
    if args.out_dir:
        hook = dict(type='MapWriterHook', out_dir=args.out_dir, npy=args.npy)
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
    elif args.npy:
        raise SystemExit('--npy: nothing to write; add --out-dir DIR')
    if args.offsets:
        clips = [dataset.get('clip') for dataset in dataset_configs(cfg.test_dataloader.dataset)]
        if not all(clip and not clip.get('single') for clip in clips):
            raise SystemExit(f'{args.config}: --offsets needs data sets of clips (test_dataloader.dataset.clip)')
        for clip in clips:
            clip.offsets = args.offsets
    if args.stream:
        stream(cfg)
    set_launcher(cfg, args.launcher, args.local_rank)
    with name_lost_processes(cfg):
        runner = build_runner(cfg)
        metrics = runner.test()
    if not is_main_process():
        return
    tasks = build_tasks(runner.cfg.tasks, 'the config')
    meta = dict(config=args.config, checkpoint=str(checkpoint), mmmtl=__version__)
    others, class_scores = {}, {}
    for metric in runner.test_loop.evaluator.metrics:
        if isinstance(metric, MultiTaskMetric):
            class_scores |= metric.class_scores
        if isinstance(metric, MultiTaskMetric) and metric.baseline is not None:
            others[f'baseline: {metric.baseline.name}'] = metric.baseline.metrics
            measured = {name: task for name, task in tasks.items() if f'{name}/{task.primary_metric}' in metrics}
            meta['delta_m'] = delta_m_meta(metric.baseline.name, measured)
    print(metrics_table(metrics, tasks, others))
    for name, scores in class_scores.items():
        print(class_table(scores, f'{name}: IoU in percent'))
    if isinstance(runner.test_loop, StreamTestLoop):
        metrics['stream/GMAC'] = average_macs(build_on_meta(cfg), runner.test_loop.frames) / 1e9
        ratio = metrics.get('stream/key_frame_ratio')
        kinds = '' if ratio is None else f', {100 * ratio:.1f} % of them key frames'
        print(f'{metrics["stream/frames"]} frames{kinds}; {metrics["stream/GMAC"]:.4g} GMAC per frame')
    if args.out_dir:
        print(f'predictions: {args.out_dir}')
    if args.out:
        write_metrics(args.out, metrics, meta, class_scores)
        print(f'metrics: {args.out}')


if __name__ == '__main__':
    with readable_errors():
        main()
