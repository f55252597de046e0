"""Early stopping of a run that was killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

from mmmtl.engine import build_runner, find_checkpoint


class Scores(Hook):
    """A hook that gives each validation its score and notes at which iterations there was one."""

    priority = 'VERY_HIGH'

    def __init__(self, scores: dict[int, float]) -> None:
        self.scores = scores
        self.seen: list[int] = []

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        assert metrics is not None
        self.seen.append(runner.iter)
        metrics['depth/abs_err'] = self.scores[runner.iter]


def test_a_resumed_run_stops_where_the_whole_one_does(tmp_path: Path, make_config: Any) -> None:
    def train(folder: str, **options: Any) -> tuple[Any, list[int]]:
        cfg = make_config('tiny_image', **options)
        cfg.work_dir = str(tmp_path / folder)
        cfg.train_cfg.update(max_iters=6, val_interval=1)
        cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1, save_best='depth/abs_err')
        hook = dict(type='EarlyStoppingHook', monitor='depth/abs_err', patience=2, min_delta=0)
        cfg.custom_hooks = [hook, dict(type='EarlyStoppingHook', monitor='depth/rmse', rule='less', patience=9)]
        runner, scores = build_runner(cfg), Scores({1: 3.0, 2: 2.0, 3: 2.5, 4: 2.5, 5: 1.0, 6: 1.0})
        runner.register_hook(scores)
        runner.train()
        return runner, scores.seen

    runner, seen = train('whole')
    assert runner.iter == 4 and seen == [1, 2, 3, 4]
    # The validation of a checkpoint that was not the best is repeated.
    for killed, again in ((1, [2, 3, 4]), (2, [3, 4]), (3, [3, 4])):
        checkpoint = str(tmp_path / 'whole' / f'iter_{killed}.pth')
        runner, seen = train(f'killed_{killed}', resume=True, load_from=checkpoint)
        assert runner.iter == 4 and seen == again


def test_a_stopped_run_keeps_its_weights_and_stays_stopped(tmp_path: Path, make_config: Any) -> None:
    def train(patience: int, resume: bool, **limits: float) -> tuple[Any, list[int]]:
        cfg = make_config('tiny_image', 'run', resume=resume)
        cfg.train_cfg.update(max_iters=6, val_interval=1)
        cfg.default_hooks.checkpoint.update(interval=10)
        cfg.custom_hooks = [dict(type='EarlyStoppingHook', monitor='depth/abs_err', patience=patience, **limits)]
        runner, scores = build_runner(cfg), Scores({1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0, 5: 0.5, 6: 0.1})
        runner.register_hook(scores)
        runner.train()
        return runner, scores.seen

    runner, _ = train(patience=1, resume=False)
    path = find_checkpoint(tmp_path / 'run')
    assert path is not None and path.name == 'iter_2.pth'
    stored = torch.load(path, weights_only=True)['state_dict']
    assert len(stored) > 10 and all(torch.equal(stored[key], value) for key, value in runner.model.state_dict().items())
    written = path.stat().st_mtime_ns
    runner, seen = train(patience=1, resume=True)
    assert runner.iter == 2 and seen == [] and path.stat().st_mtime_ns == written
    runner, seen = train(patience=3, resume=True)
    assert runner.iter == 4 and seen == [3, 4]
    runner, seen = train(patience=9, resume=True, stopping_threshold=0.6)
    assert runner.iter == 5 and seen == [5]
    runner, seen = train(patience=9, resume=True, stopping_threshold=0.6)
    assert runner.iter == 5 and seen == []
    runner, seen = train(patience=9, resume=True, stopping_threshold=0.2)
    assert runner.iter == 6 and seen == [6]
