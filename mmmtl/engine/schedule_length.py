"""The length of a training run, changed together with everything that is measured along it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from mmengine.config import Config

from mmmtl.config.checks import scheduler_configs

SCALED = ('begin', 'end', 'T_max', 'step_size', 'milestones', 'periods', 'total_steps')
"""Arguments of schedulers that are times."""

ENTRIES = 10
"""The log of a training run has at least as many."""


def change_length(cfg: Config, *, iterations: int | None = None, epochs: int | None = None) -> Config:
    """Return a copy of a config whose training takes this many iterations or epochs.

    Schedulers, and the intervals of validation and checkpoints, keep their share of the training: a warm-up of a tenth
    stays one, and four validations stay four. A scheduler that ends after the training does so by as much as before, if
    it counts in the same unit.
    Entries of the log get closer where the training has few iterations.

    Raises:
        ValueError: the config trains by the other unit, or not at all.

    Examples:
        >>> cfg = Config({'train_cfg': {'max_iters': 1000, 'val_interval': 500}, 'checkpoint_interval': 250})
        >>> change_length(cfg, iterations=20).to_dict()
        {'train_cfg': {'max_iters': 20, 'val_interval': 10}, 'checkpoint_interval': 5}
    """
    unit, number = ('max_iters', iterations) if iterations is not None else ('max_epochs', epochs)
    train = cfg.get('train_cfg') or {}
    if unit not in train:
        other = {'max_iters': '--iterations', 'max_epochs': '--epochs'}
        instead = [f'use {option}' for key, option in other.items() if key in train] or ['it does not train']
        raise ValueError(f'the config has no train_cfg.{unit}; {instead[0]}')
    assert number is not None and number >= 1
    cfg = copy.deepcopy(cfg)
    length = train[unit]
    if type(length) is not int or length < 1:
        raise ValueError(f'train_cfg.{unit} must be a whole number of at least 1 to be changed, not {length!r}')
    share = number / length
    cfg.train_cfg[unit] = number
    schedulers = list(scheduler_configs(cfg))
    before = [_span(scheduler) for scheduler in schedulers]
    for place, key in _times(cfg):
        if key == 'end' and place[key] > length and place.get('by_epoch', True) == (unit == 'max_epochs'):
            place[key] += number - length
        else:
            place[key] = (_scaled_periods if key == 'periods' else _scaled)(place[key], share)
    _keep_two_steps(schedulers, before, {unit == 'max_epochs': number})
    if unit == 'max_iters':
        weighting = (cfg.get('model') or {}).get('weighting') or {}
        if weighting.get('interval') is not None:  # the iterations that count as an epoch
            weighting['interval'] = _scaled(weighting['interval'], share)
        for place, key in ((cfg, 'log_interval'), ((cfg.get('default_hooks') or {}).get('logger') or {}, 'interval')):
            if key in place:
                place[key] = max(1, min(place[key], number // ENTRIES))
    return cfg


def _times(cfg: Config) -> Iterator[tuple[Any, str]]:
    """Yield (dict, key) of everything that is a time in the training."""
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    places = [
        (cfg, ('checkpoint_interval',)),
        (cfg.train_cfg, ('val_interval', 'val_begin', 'dynamic_intervals')),
        (checkpoint, ('interval', 'save_begin')),
        *((scheduler, SCALED) for scheduler in scheduler_configs(cfg)),
    ]
    for place, keys in places:
        yield from ((place, key) for key in keys if place.get(key) is not None)


class _Span(NamedTuple):
    """When a scheduler acts.

    Args:
        by_epoch: it counts epochs, not iterations.
        begin: its first step.
        end: the step after its last; may be infinite.
        whole_period: its `T_max` is the time between.
    """

    by_epoch: bool
    begin: int
    end: float
    whole_period: bool


def _span(scheduler: Mapping[str, Any]) -> _Span:
    begin, end = scheduler.get('begin', 0), scheduler.get('end')
    whole_period = end is not None and scheduler.get('T_max') == end - begin
    return _Span(scheduler.get('by_epoch', True), begin, math.inf if end is None else end, whole_period)


def _keep_two_steps(schedulers: Sequence[dict[str, Any]], before: Sequence[_Span], last: Mapping[bool, int]) -> None:
    """Let a scheduler that had two steps keep them if the training has them; the next one still begins at its end.

    With a single step a warm-up would stay at its first rate, and the next scheduler would go on from there.

    Args:
        schedulers: scaled already, and changed here.
        before: the span of each before that.
        last: {whether it counts epochs: length of the training}.
    """
    ends: dict[tuple[bool, float], int] = {}
    for scheduler, was in sorted(zip(schedulers, before, strict=True), key=lambda pair: pair[1].begin):
        start = scheduler.get('begin', 0)
        if (was.by_epoch, was.begin) in ends:
            start = scheduler['begin'] = ends[was.by_epoch, was.begin]
        if was.end == math.inf:
            continue
        # An epoch has steps of its own where a scheduler counts iterations in the end.
        steps = 1 if scheduler.get('convert_to_iter_based') else min(2, int(was.end) - was.begin)
        scheduler['end'] = max(scheduler['end'], start + 1, min(start + steps, last.get(was.by_epoch, start + steps)))
        if was.whole_period:
            scheduler['T_max'] = scheduler['end'] - start
        ends[was.by_epoch, was.end] = max(scheduler['end'], ends.get((was.by_epoch, was.end), 0))


def _scaled(time: Any, share: float) -> Any:
    """Return a time, or a list of them, at the same share of another training run, at least 1; 0 and infinity stay."""
    if isinstance(time, (list, tuple)):
        return type(time)(_scaled(item, share) for item in time)
    return max(1, round(time * share)) if 0 < time < math.inf else time


def _scaled_periods(periods: Sequence[int], share: float) -> list[int]:
    """Return lengths that follow one another, at least 1 each, whose sum is scaled too."""
    ends = [0]
    for end in accumulate(periods):
        ends.append(max(ends[-1] + 1, round(end * share)))
    return [after - before for before, after in pairwise(ends)]
