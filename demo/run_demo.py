"""Run everything on embedded data: train a tiny video model, test it at all offsets, and stream it over a video.

Writes checkpoint, metrics.json, demo.mp4 and index.html to work_dirs/demo/. Takes a few minutes on two CPU cores.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from rich.progress import Progress, track

from mmmtl.apis import MultiTaskInferencer
from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import positive
from mmmtl.datasets.synthetic import make_scene, render
from mmmtl.datasets.synthetic.video import SEEDS
from mmmtl.engine import find_checkpoint
from mmmtl.evaluation import Baseline, metrics_table
from mmmtl.evaluation.delta_m import mean_gain, primary_metrics
from mmmtl.evaluation.metric_files import read_metrics
from mmmtl.io import VideoWriter, whole_file
from mmmtl.reporting import Run, read_run, write_report
from mmmtl.tasks import Task
from mmmtl.tasks.metric_keys import by_offset
from mmmtl.visualization import Painter, frame_title

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = {
    'MILA': 'configs/mila/mila_tiny-k5_1xb8-demo_synthetic-64x128.py',
    'fast only': 'configs/baselines/multi-task_tiny-fast_1xb8-demo_synthetic-64x128.py',
}
Metrics = dict[str, float]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=ROOT / 'work_dirs/demo', help='output folder')
    parser.add_argument('--frames', type=positive, default=40, help='frames of each half of the video')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    out: Path = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    (out / 'demo.log').unlink(missing_ok=True)
    start = time.perf_counter()
    scores = {name: train_and_test(out, name, config) for name, config in CONFIGS.items()}
    trivial = out / 'trivial' / 'metrics.json'
    run(out, 'tools/analysis_tools/trivial_baseline.py', CONFIGS['MILA'], '--out', str(trivial))
    scores['trivial'] = read_metrics(trivial)

    inferencer = MultiTaskInferencer(ROOT / CONFIGS['MILA'], out / 'checkpoint.pth', device='cpu')
    speed = write_video(out / 'demo.mp4', inferencer, args.frames)
    report = table(scores, inferencer.tasks)
    print(
        f'\nHeld-out synthetic videos; "trivial" is the majority class, the mean depth and the mean normal:\n{report}'
    )
    lines = verdict(scores, inferencer.tasks) + [f'{speed:.0f} frames/s streamed on this machine.']
    print('\n'.join(lines))
    write_page(out, scores, lines)
    print(f'\nDone in {time.perf_counter() - start:.0f} s. Look at {out / "index.html"}')


def train_and_test(out: Path, name: str, config: str) -> Metrics:
    """Run the commands that a user would type; MILA's results go to the top of the output folder."""
    work_dir = out / name.replace(' ', '-')
    top = out if name == 'MILA' else work_dir
    run(out, 'tools/train.py', config, '--work-dir', str(work_dir), '--no-validate', '--overwrite')
    newest = find_checkpoint(work_dir)
    assert newest is not None
    checkpoint = top / 'checkpoint.pth'
    with whole_file(checkpoint) as partial:
        partial.write_bytes(newest.read_bytes())
    metrics = top / 'metrics.json'
    run(out, 'tools/test.py', config, str(checkpoint), '--work-dir', str(work_dir), '--out', str(metrics), '--report')
    return read_metrics(metrics)


def run(out: Path, *command: str) -> None:
    """Run a tool with a progress bar; its log goes to the output folder."""
    print(f'$ python {" ".join(command)}', flush=True)
    start = time.perf_counter()
    log = out / 'demo.log'
    tail: deque[str] = deque(maxlen=30)
    with (
        log.open('a') as file,
        Progress(transient=True) as progress,
        subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        bar = progress.add_task(Path(command[0]).stem, total=None)
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            tail.append(line)
            if match := re.search(r'Iter\(\w+\) *\[ *(\d+)/(\d+)\]', line):
                progress.update(bar, completed=int(match[1]), total=int(match[2]))
    if process.returncode:
        sys.exit(f'{command[0]} failed; the end of {log}:\n{"".join(tail)}')
    print(f'  {time.perf_counter() - start:.0f} s', flush=True)


def table(scores: dict[str, Metrics], tasks: dict[str, Task]) -> str:
    """Return the metrics of MILA by offset, with the others beside them."""
    mila = scores['MILA']
    others = {'non-key frames': non_key(mila), 'fast only': scores['fast only'], 'trivial': scores['trivial']}
    return metrics_table(mila, tasks, others)


def non_key(metrics: Metrics) -> Metrics:
    """Return the means over the offsets of non-key frames."""
    groups: dict[str, list[float]] = {}
    for offset, scores in by_offset(metrics).items():
        if offset:
            for key, value in scores.items():
                groups.setdefault(key, []).append(value)
    return {key: sum(values) / len(values) for key, values in groups.items()}


def verdict(scores: dict[str, Metrics], tasks: dict[str, Task]) -> list[str]:
    """Return the gains of each task's primary metric, in words."""
    lines = []
    on_non_key = non_key(scores['MILA'])
    for key, up in primary_metrics(tasks).items():
        over_trivial = mean_gain(scores['MILA'], scores['trivial'], {key: up})
        over_fast = mean_gain(on_non_key, scores['fast only'], {key: up})
        lines.append(
            f'{key}: {over_trivial:+.0f} % against the trivial predictor, {over_fast:+.1f} % on non-key frames against '
            'the fast network alone.'
        )
    return lines


def write_video(path: Path, inferencer: MultiTaskInferencer, length: int) -> float:
    """Stream the model over two held-out videos of a length, a room and a street; return its frames per second."""
    busy = 0.0
    with VideoWriter(path, fps=12) as writer:
        # One painter for both videos: the panels of a file have one size.
        painter = Painter(inferencer.tasks, video=True)
        for name, seed in (('room', SEEDS['test']), ('street', SEEDS['test'] + 1)):
            scene = make_scene(seed)
            state, since_key = None, 0
            for t in track(range(length), 'streaming'):
                frame = render(scene, t, 256, 512).image
                start = time.perf_counter()
                seen, maps, is_key, state = inferencer.step(frame, state)
                busy += time.perf_counter() - start
                since_key = 0 if is_key else since_key + 1
                title = frame_title(name, t, since_key=since_key)
                writer.write(inferencer.panel(seen, maps, title=title, mark=is_key, painter=painter))
    return 2 * length / busy


def write_page(out: Path, scores: dict[str, Metrics], lines: list[str]) -> None:
    """Write the report of all runs, with the video."""
    runs = [
        read_run(out / 'MILA'),
        Run('MILA (non-key frames)', non_key(scores['MILA'])),
        read_run(out / 'fast-only', 'fast only'),
        Run('trivial', scores['trivial']),
    ]
    about = (
        'A tiny MILA, trained on synthetic videos on this machine: a slow network on every fifth frame, a fast one on '
        'the others, features propagated between them. "fast only" is the fast network, trained alone and run on every '
        'frame, with which Δm compares; "trivial" is the majority class, the mean depth and the mean normal.'
    )
    write_report(
        out / 'index.html',
        runs,
        title='mmmtl: one video model, three tasks',
        notes=[about, *lines],
        video=out / 'demo.mp4',
        baseline=Baseline('fast only', scores['fast only']),
    )


if __name__ == '__main__':
    with readable_errors():
        main()
