"""The log of a training run: what mmengine writes to `scalars.json`, as series of numbers over iterations or epochs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmmtl.evaluation.metric_files import direction
from mmmtl.io import read_text
from mmmtl.tasks.metric_keys import MetricKey

Series = dict[str, dict[int, float]]
"""{key: {step: value}}, steps ascending."""

LOGS = '*/vis_data/scalars.json'
"""Where the logs of a work folder are: a file for each start, in a folder named after its time."""


def read_logs(folder: Path) -> Series:
    """Return the series in the logs of the last training run in a work folder, with all its starts.

    Where a resumed run repeats a step, its value applies.

    Raises:
        ValueError: a line of a log is not a JSON object.
    """
    starts: list[Path] = []
    for path in find_starts(folder, 'scalars.json'):
        starts = [*starts, path] if is_resumed(path) else [path]
    return join(read_log(path) for path in starts)


def find_starts(folder: Path, name: str) -> list[Path]:
    """Return the files `TIME/vis_data/<name>` of a work folder in the order of their runs.

    TIME is local time, which goes back when summer time ends, so runs are sorted by `started` in the config beside the
    file. Older runs have no `started` and come first.
    """
    return sorted(folder.glob(f'*/vis_data/{name}'), key=lambda path: (_moment(path), path))


def _moment(path: Path) -> str:
    """Return when the run that wrote a file started, in UTC; '' if its config does not say."""
    return _setting(path, 'started').strip("'")


def is_resumed(path: Path) -> bool:
    """Return whether the run that wrote a log has resumed, by the config beside it; True if there is none."""
    return not path.with_name('config.py').is_file() or _setting(path, 'resume') == 'True'


def _setting(path: Path, name: str) -> str:
    """Return the text of a value at the top of the config beside a file, or ''."""
    config = path.with_name('config.py')
    found = re.search(rf'^{name} *= *(.+)$', read_text(config), re.MULTILINE) if config.is_file() else None
    return found[1].strip() if found else ''


def read_log(path: Path) -> Series:
    """Return the series in a `scalars.json`; a last line that a killed run left unfinished does not count."""
    lines = read_text(path).splitlines()
    series: Series = {}
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise ValueError(f'{path}: line {number} is not JSON ({error}); remove it') from None
        if not isinstance(record, dict):
            raise ValueError(f'{path}: line {number} is not a JSON object; remove it')
        step = record.get('step')
        if not isinstance(step, int):
            continue
        # Those of a validation also have times, which are not those of training.
        ignored = {'step', 'iter', 'epoch', *(() if 'iter' in record else ('time', 'data_time'))}
        for key, value in record.items():
            if key not in ignored and _is_number(value) and math.isfinite(value):
                series.setdefault(key, {})[step] = float(value)
    return series


def join(parts: Iterable[Series]) -> Series:
    """Return series joined; the values of later parts replace those of earlier ones."""
    joined: Series = {}
    for part in parts:
        for key, values in part.items():
            joined.setdefault(key, {}).update(values)
    return {key: dict(sorted(values.items())) for key, values in joined.items()}


def is_loss(key: str) -> bool:
    """Return whether a key of a log names a loss: `loss`, `depth.loss_l1`, `loss_total`."""
    return key.rpartition('.')[2].startswith('loss')


def is_metric(key: str) -> bool:
    """Return whether a key of a log names a metric of a validation, other than one of a single offset."""
    return '/' in key and not MetricKey.parse(key).is_detail and direction(key) is not None


def is_cosine(key: str) -> bool:
    """Return whether a key of a log names the cosine of two tasks' gradients."""
    return key.startswith('grad_cosine/')


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
