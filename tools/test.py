"""Test a checkpoint on labelled frames or on whole videos: print and save every metric, and draw panels."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from torch.utils.data import Dataset

from mmmtl import __version__
from mmmtl.apis import zoo_weights
from mmmtl.cli.arguments import add_common_arguments, check_cli_outputs, config_of
from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import positive
from mmmtl.config import dataset_configs, input_size
from mmmtl.engine import StreamTestLoop, build_runner
from mmmtl.engine.launch import name_lost_processes, set_launcher
from mmmtl.evaluation import Baseline, MultiTaskMetric, class_table, delta_m_meta, metrics_table, write_metrics
from mmmtl.evaluation.delta_m import primary_metrics
from mmmtl.evaluation.metric_files import better
from mmmtl.io.outputs import check_new_folder, file_key
from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.segmentors.frame_kinds import IMAGE
from mmmtl.profiling import average_macs, build_on_meta, count_cost
from mmmtl.profiling.average import AVERAGE
from mmmtl.registry import type_name
from mmmtl.reporting import read_run, write_report
from mmmtl.tasks import Task, build_tasks, metric_directions


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', nargs='?', help='weights (default: those of the named model)')
    parser.add_argument('--out', metavar='metrics.json', help='write the metrics there')
    parser.add_argument('--out-dir', help='write the predictions there, in files that VideoFolder and ImageFolder read')
    parser.add_argument('--npy', action='store_true', help='write them as .npy files, which hold every number')
    parser.add_argument('--show-dir', help='write panels of labels and predictions there')
    parser.add_argument('--show-interval', type=positive, help='draw every N-th sample (default: 10)', metavar='N')
    parser.add_argument(
        '--report', action='store_true', help='write metrics.json, samples/ and report.html to the work folder'
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


def main() -> None:
    args = parse_args()
    cfg = config_of(args)
    checkpoint = args.checkpoint or zoo_weights(args.config)
    if checkpoint is None:
        raise SystemExit(f'{args.config}: give a checkpoint; no weights come with this config')
    work_dir = Path(cfg.work_dir)
    metric_files = [args.out] if args.out else []
    if args.report and not (args.out and file_key(args.out) == file_key(work_dir / 'metrics.json')):
        metric_files.append(work_dir / 'metrics.json')
    report_files = [work_dir / 'report.html', work_dir / 'samples'] if args.report else []
    check_cli_outputs(cfg, [*metric_files, args.out_dir, args.show_dir, *report_files], inputs=[checkpoint])
    cfg.load_from = str(checkpoint)
    add_outputs(cfg, args)
    choose_frames(cfg, args)
    set_launcher(cfg, args.launcher, args.local_rank)
    with name_lost_processes(cfg):
        runner = build_runner(cfg)
        streams = isinstance(runner.test_loop, StreamTestLoop)
        # Counted before the test, which would be lost if this failed.
        on_meta = build_on_meta(cfg) if is_main_process() and (streams or args.report) else None
        cost = cost_of(on_meta, cfg, runner.test_dataloader.dataset) if on_meta is not None else {}
        metrics = runner.test()
    if not is_main_process():
        return
    tasks = build_tasks(runner.cfg.tasks, 'the config')
    of_tasks = [metric for metric in runner.test_loop.evaluator.metrics if isinstance(metric, MultiTaskMetric)]
    class_scores = {name: scores for metric in of_tasks for name, scores in metric.class_scores.items()}
    confusion = {name: counts for metric in of_tasks for name, counts in metric.confusion.items()}
    baselines = [metric.baseline for metric in of_tasks if metric.baseline is not None]
    lines = [metrics_table(metrics, tasks, {f'baseline: {one.name}': one.metrics for one in baselines})]
    lines += [class_table(scores, f'{name}: IoU in percent') for name, scores in class_scores.items()]
    if on_meta is not None and streams:
        metrics['stream/GMAC'] = average_macs(on_meta, runner.test_loop.frames) / 1e9
        lines.append(stream_summary(metrics))
    if args.out_dir:
        lines.append(f'predictions: {args.out_dir}')
    meta = dict(config=args.config, checkpoint=str(checkpoint), mmmtl=__version__)
    meta |= meanings(metrics, tasks, baselines)
    if args.report:
        meta |= cost
    try:
        for path in metric_files:
            write_metrics(path, metrics, meta, class_scores, confusion)
            lines.append(f'metrics: {path}')
    finally:  # whichever of file and output cannot be written, the other has the metrics
        print(*lines, sep='\n')
    if args.report:
        write_report(work_dir / 'report.html', [read_run(work_dir)])
        print(f'report: {work_dir / "report.html"}')


def add_outputs(cfg: Config, args: argparse.Namespace) -> None:
    """Add the hooks that write panels, predictions, and the samples of the report."""
    added = []
    if args.show_dir:
        check_new_folder(args.show_dir)  # panels of several tests could not be told apart
        hooks = cfg.get('default_hooks') or {}
        hook = hooks.get('visualization') or dict(type='MultiTaskVisualizationHook')
        panels = dict(draw=True, out_dir=args.show_dir, interval=args.show_interval or 10)
        cfg.default_hooks = {**hooks, 'visualization': {**hook, **panels}}
    elif args.show_interval:
        raise SystemExit('--show-interval: nothing to draw; add --show-dir DIR')
    if args.out_dir:
        added.append(dict(type='MapWriterHook', out_dir=args.out_dir, npy=args.npy))
    elif args.npy:
        raise SystemExit('--npy: nothing to write; add --out-dir DIR')
    if args.report:
        added.append(dict(type='ExtremeSamplesHook', out_dir=str(Path(cfg.work_dir) / 'samples')))
    if added:
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), *added]


def choose_frames(cfg: Config, args: argparse.Namespace) -> None:
    """Set the offsets of --offsets, or, for --stream, whole videos and temporal metrics."""
    if args.offsets:
        clips = [dataset.get('clip') for dataset in dataset_configs(cfg.test_dataloader.dataset)]
        if not cfg.model.get('key_frame_policy') or not all(clip and not clip.get('single') for clip in clips):
            raise SystemExit(f'{args.config}: --offsets needs a video model and clips (test_dataloader.dataset.clip)')
        for clip in clips:
            clip.offsets = args.offsets
    if args.stream:
        cfg.test_cfg = dict(type='StreamTestLoop')
        metrics = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
        if not any(type_name(metric) == 'TemporalConsistency' for metric in metrics):
            cfg.test_evaluator = [*metrics, dict(type='TemporalConsistency')]


def meanings(metrics: Mapping[str, float], tasks: Mapping[str, Task], baselines: Iterable[Baseline]) -> dict[str, Any]:
    """Return which metrics are primary, which direction is better, and what delta_m is relative to."""
    measured = {name: task for name, task in tasks.items() if f'{name}/{task.primary_metric}' in metrics}
    found: dict[str, Any] = {
        key: better({metric: up for metric, up in directions.items() if metric in metrics})
        for key, directions in (('primary', primary_metrics(tasks)), ('better', metric_directions(tasks)))
    }
    for baseline in baselines:
        found['delta_m'] = delta_m_meta(baseline.name, measured)
    return found


def stream_summary(metrics: Mapping[str, float]) -> str:
    """Describe the frames of whole videos and their cost."""
    ratio = metrics.get('stream/key_frame_ratio')
    kinds = '' if ratio is None else f', {100 * ratio:.1f} % of them key frames'
    return f'{metrics["stream/frames"]} frames{kinds}; {metrics["stream/GMAC"]:.4g} GMAC per frame'


def cost_of(model: MultiTaskSegmentor, cfg: Config, dataset: Dataset[Any]) -> dict[str, float]:
    """Return the GMAC of a model, and its parameters in millions, at the size of its test pipeline.

    If the pipeline sets none, it is the size of the first image.
    """
    shape = input_size(cfg) or dataset[0]['inputs'].shape[-2:]
    cost = count_cost(model, shape).to_dict()
    macs = cost['macs'].get(AVERAGE) or cost['macs'].get(IMAGE)
    return {'parameters in millions': cost['params'] / 1e6, **({'GMAC': macs / 1e9} if macs else {})}


if __name__ == '__main__':
    with readable_errors():
        main()
