"""trivial_baseline.py: the scores of constants on rendered frames, against sums over the same frames."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config

from mmmtl.datasets.synthetic import make_scene, render
from mmmtl.datasets.synthetic.video import SEEDS

TOOL = 'tools/analysis_tools/trivial_baseline.py'
VIDEO = Path(__file__).resolve().parents[1] / 'configs' / 'tiny_video.py'
MAX_DEPTH, NONE_BELOW = 20.0, 1e-3
Frames = list[tuple[np.ndarray, np.ndarray]]

RunOn = Callable[..., tuple[dict[str, float], str]]


def frames_of(split: str, videos: int, times: Sequence[int]) -> Frames:
    """(labels, depths that count) of each frame."""
    found = []
    for number in range(videos):
        scene = make_scene(SEEDS[split] + number)
        for time in times:
            frame = render(scene, time, 32, 64)
            depth = frame.depth.astype(np.float64)
            found.append((frame.semseg, depth[(depth > NONE_BELOW) & (depth <= MAX_DEPTH)]))
    return found


def expected(train: Frames, test: Frames) -> dict[str, float]:
    """Scores on `test` of the most frequent class and of the mean depth in `train`."""
    classes = np.concatenate([labels.ravel() for labels, _ in train])
    majority = np.bincount(classes).argmax()
    mean = np.concatenate([depth for _, depth in train]).mean()
    labels = np.concatenate([labels.ravel() for labels, _ in test])
    depth = np.concatenate([depth for _, depth in test])
    share = (labels == majority).mean()
    # The majority class is predicted everywhere, so its union is every pixel; all other classes have IoU 0.
    present = len(set(labels.tolist()) | {int(majority)})
    return {
        'semseg/pixel_acc': 100 * share,
        'semseg/mIoU': 100 * share / present,
        'depth/abs_err': np.abs(depth - mean).mean(),
        'depth/rmse': ((depth - mean) ** 2).mean() ** 0.5,
        'depth/delta1': 100 * (np.maximum(depth / mean, mean / depth) < 1.25).mean(),
    }


@pytest.fixture
def run_on(run_tool: Callable[..., str], tmp_path: Path) -> RunOn:
    """Run the tool on a config, with options; return the metrics and the output."""

    def run(config: Config | Path, *arguments: object) -> tuple[dict[str, float], str]:
        path = config
        if isinstance(config, Config):
            path = tmp_path / 'config.py'
            config.dump(path)
        out = tmp_path / 'metrics.json'
        printed = run_tool(TOOL, path, '--tasks', 'semseg,depth', '--out', out, *arguments)
        metrics = json.loads(out.read_text())
        assert metrics.pop('meta')['predictor'] == 'constant'
        return metrics, printed

    return run


def check(metrics: dict[str, float], wanted: dict[str, float]) -> None:
    assert {name: metrics[name] for name in wanted} == pytest.approx(wanted, rel=1e-5)


# Of 15 frames every third is labelled: 0, 3, 6, 9 and 12, the last three of which have the four frames before them.
TRAIN = ('train', 4, (6, 9, 12))
TEST = ('val', 1, (6, 9, 12))


def test_of_a_video_model(run_on: RunOn) -> None:
    metrics, printed = run_on(VIDEO)
    wanted = expected(frames_of(*TRAIN), frames_of(*TEST))
    check(metrics, wanted)
    assert not [key for key in metrics if key.startswith(('offset_', 'pooled'))], 'each frame is scored once'
    assert f'{wanted["depth/abs_err"]:.4g}' in printed and 'normals' not in printed


def test_of_a_frame_per_labelled_frame_without_clips(run_on: RunOn) -> None:
    cfg = Config.fromfile(VIDEO)
    cfg.train_dataloader.dataset.clip = cfg.test_dataloader.dataset.clip = None
    cfg.model.key_frame_policy = None
    every = (0, 3, 6, 9, 12)
    check(run_on(cfg)[0], expected(frames_of('train', 4, every), frames_of('val', 1, every)))


def test_the_interval_of_the_config_counts(run_on: RunOn) -> None:
    # With an interval of 3 frame 3 has its two frames before it.
    metrics, _ = run_on(VIDEO, '--cfg-options', 'key_frame_interval=3')
    check(metrics, expected(frames_of('train', 4, (3, 6, 9, 12)), frames_of('val', 1, (3, 6, 9, 12))))


def test_of_stills(run_on: RunOn) -> None:
    cfg = Config.fromfile(VIDEO)
    dataset = cfg.train_dataloader.dataset
    dataset.clip = dict(offsets='random', still=True, no_history=0.1)
    dataset.pipeline.insert(2, dict(type='StillToClip', max_speed=1.0, max_turn=0.0))  # the current frame does not move
    metrics, _ = run_on(cfg)
    check(metrics, expected(frames_of('train', 4, (0, 3, 6, 9, 12)), frames_of(*TEST)))


def test_of_wrapped_data_sets(run_on: RunOn) -> None:
    cfg = Config.fromfile(VIDEO)
    train, test = (cfg[f'{split}_dataloader'].dataset.to_dict() for split in ('train', 'test'))
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=train)
    other = dict(test, split='test', num_videos=2, clip=dict(offsets='all', missing='repeat'))
    cfg.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[test, other])
    metrics, _ = run_on(cfg)
    check(metrics, expected(frames_of(*TRAIN), [*frames_of(*TEST), *frames_of('test', 2, (0, 3, 6, 9, 12))]))


def test_samples_limits_what_is_fitted(run_on: RunOn) -> None:
    # Of the 12 labelled frames the first and the last.
    train: Any = [*frames_of('train', 1, (6,)), frames_of('train', 4, (12,))[-1]]
    check(run_on(VIDEO, '--samples', 2)[0], expected(train, frames_of(*TEST)))
