"""Trainings of another length: what is scaled with it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn, optim

from mmmtl.config import resolve
from mmmtl.engine import change_length

CONFIGS = sorted((Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'schedules').glob('*.py'))


def lengths(cfg: Config) -> tuple[str, int]:
    return next((key, value) for key, value in cfg.train_cfg.items() if key.startswith('max_'))


@pytest.mark.parametrize('number', [1, 7, 30, 100_000])
@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_schedule_of_ours_runs_to_its_new_end(path: Path, number: int) -> None:
    cfg = Config.fromfile(path)
    unit, _ = lengths(cfg)
    changed = change_length(cfg, **{'iterations' if unit == 'max_iters' else 'epochs': number})

    assert lengths(changed) == (unit, number)
    wrapper = OptimWrapper(optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0))
    schedulers = [
        PARAM_SCHEDULERS.build(dict(one), default_args={'optimizer': wrapper}) for one in changed.param_scheduler
    ]
    beyond = max((scheduler['end'] - lengths(cfg)[1] for scheduler in cfg.param_scheduler), default=0)
    assert all(scheduler.end <= max(number, 2) + max(beyond, 0) for scheduler in schedulers)
    assert (
        max((scheduler.end for scheduler in schedulers), default=0) - number == beyond or number == 1 or not schedulers
    )
    assert max((scheduler.end for scheduler in schedulers), default=number) >= number
    assert 1 <= changed.train_cfg.val_interval <= max(number, 1)
    assert 1 <= changed.checkpoint_interval <= max(number, 1)
    assert lengths(cfg) != lengths(changed) or cfg.train_cfg == changed.train_cfg
    for first, second in zip(schedulers, schedulers[1:], strict=False):
        assert first.end <= second.begin or number == 1, 'they follow one another as before'


@pytest.mark.parametrize('number', [3, 7, 30, 100, 149, 150])
@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_a_short_training_reaches_the_rate_of_the_whole(path: Path, number: int) -> None:
    """A warm-up of a single step would never end, and leave all others at its rate."""
    cfg = Config.fromfile(path)
    unit, _ = lengths(cfg)
    changed = change_length(cfg, **{'iterations' if unit == 'max_iters' else 'epochs': number})
    wrapper = OptimWrapper(optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0))
    schedulers = [
        PARAM_SCHEDULERS.build(dict(one), default_args={'optimizer': wrapper}) for one in changed.param_scheduler
    ]
    rates = []
    for _ in range(number):
        rates.append(wrapper.get_lr()['lr'][0])
        wrapper.optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert max(rates) == pytest.approx(1.0)


def test_a_warm_up_by_iterations_in_a_training_by_epochs() -> None:
    warm_up = dict(type='LinearLR', by_epoch=False, begin=0, end=500)
    cfg = Config(dict(train_cfg=dict(max_epochs=100), param_scheduler=[warm_up, dict(type='PolyLR', end=101)]))

    assert [one['end'] for one in change_length(cfg, epochs=10).param_scheduler] == [50, 11]


def test_the_epochs_of_a_weighting_keep_their_share_of_the_iterations() -> None:
    model = dict(weighting=dict(type='DWA', interval=100))
    by_iterations = Config(dict(train_cfg=dict(max_iters=1000), model=model))
    by_epochs = Config(dict(train_cfg=dict(max_epochs=10), model=model))

    assert change_length(by_iterations, iterations=50).model.weighting.interval == 5
    assert change_length(by_epochs, epochs=5).model.weighting.interval == 100


@pytest.mark.parametrize('length', [0, float('inf'), '100', True, None])
def test_a_length_that_is_none_is_refused(length: Any) -> None:
    with pytest.raises(ValueError, match=r'train_cfg\.max_iters'):
        change_length(Config(dict(train_cfg=dict(max_iters=length))), iterations=10)


def test_a_training_of_thirty_iterations() -> None:
    cfg = Config(
        dict(
            tasks=dict(depth=dict(type='DepthEstimation', max_depth=10.0)),
            train_cfg=dict(max_iters=1000, val_interval=500, dynamic_intervals=[(0, 500), (800, 100)]),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
                dict(type='PolyLR', by_epoch=False, begin=100, end=1000),
            ],
            default_hooks=dict(checkpoint=dict(type='CheckpointHook'), logger=dict(type='LoggerHook')),
            log_interval=20,
            checkpoint_interval=500,
        )
    )
    changed = resolve(change_length(cfg, iterations=30))

    assert changed.train_cfg == dict(max_iters=30, val_interval=15, dynamic_intervals=[(0, 15), (24, 3)])
    assert [(one.begin, one.end) for one in changed.param_scheduler] == [(0, 3), (3, 30)]
    assert changed.default_hooks.checkpoint.interval == 15
    assert changed.default_hooks.logger.interval == 3
    assert cfg.train_cfg.max_iters == 1000, 'the config that was handed in is left alone'


@pytest.mark.parametrize(
    ('scheduler', 'expected'),
    [
        (dict(type='MultiStepLR', milestones=[300, 600]), dict(milestones=[3, 6])),
        (dict(type='CosineRestartLR', periods=[333, 333, 334], eta_min=0), dict(periods=[3, 4, 3])),
        (dict(type='CosineRestartLR', periods=[4, 996], eta_min=0), dict(periods=[1, 9])),
        (dict(type='CosineAnnealingLR', T_max=1000), dict(T_max=10)),
        (dict(type='OneCycleLR', total_steps=1000, eta_max=1.0), dict(total_steps=10)),
        (dict(type='StepLR', step_size=1), dict(step_size=1)),
        (dict(type='LinearLR', begin=10, end=20), dict(begin=1, end=3)),
    ],
)
@pytest.mark.parametrize('several', [False, True])
def test_every_kind_of_time_is_scaled(scheduler: dict[str, Any], expected: dict[str, Any], several: bool) -> None:
    schedule = dict(model=[scheduler], other=scheduler) if several else [scheduler]
    cfg = Config(dict(train_cfg=dict(max_iters=1000), param_scheduler=schedule))
    changed = change_length(cfg, iterations=10).param_scheduler

    found = [changed.model[0], changed.other] if several else changed
    assert all({**scheduler, **expected} == dict(one) for one in found)


def test_validations_and_checkpoints_begin_at_the_same_share() -> None:
    checkpoint = dict(type='CheckpointHook', interval=100, save_begin=400)
    cfg = Config(dict(train_cfg=dict(max_iters=1000, val_begin=600), default_hooks=dict(checkpoint=checkpoint)))
    changed = change_length(cfg, iterations=10)

    assert changed.train_cfg == dict(max_iters=10, val_begin=6)
    assert changed.default_hooks.checkpoint == dict(type='CheckpointHook', interval=1, save_begin=4)


def test_what_never_comes_still_never_comes() -> None:
    cfg = Config(dict(train_cfg=dict(max_iters=1000, val_interval=math.inf), param_scheduler=[]))
    assert change_length(cfg, iterations=10).train_cfg == dict(max_iters=10, val_interval=math.inf)


@pytest.mark.parametrize(
    ('train', 'argument', 'words'),
    [
        (dict(max_epochs=5), {'iterations': 3}, 'no train_cfg.max_iters; use --epochs'),
        (dict(max_iters=5), {'epochs': 3}, 'no train_cfg.max_epochs; use --iterations'),
        (None, {'epochs': 3}, 'does not train'),
    ],
)
def test_the_other_unit_is_refused(train: dict[str, int] | None, argument: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        change_length(Config(dict(train_cfg=train)), **argument)


def test_a_warm_up_by_epochs_that_counts_iterations_needs_no_second_epoch() -> None:
    by_epoch = dict(by_epoch=True, convert_to_iter_based=True)
    schedule = [
        dict(type='LinearLR', begin=0, end=5, **by_epoch),
        dict(type='CosineAnnealingLR', begin=5, end=100, T_max=95, **by_epoch),
    ]
    found = change_length(Config(dict(train_cfg=dict(max_epochs=100), param_scheduler=schedule)), epochs=10)
    assert [(one.begin, one.end) for one in found.param_scheduler] == [(0, 1), (1, 10)]


def test_a_cosine_behind_a_longer_warm_up_still_ends_with_the_training() -> None:
    schedule = [
        dict(type='LinearLR', by_epoch=False, begin=0, end=50),
        dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=1000, T_max=950),
    ]
    changed = change_length(Config(dict(train_cfg=dict(max_iters=1000), param_scheduler=schedule)), iterations=10)
    cosine = changed.param_scheduler[1]
    assert (cosine.begin, cosine.end, cosine.begin + cosine.T_max) == (2, 10, 10)
