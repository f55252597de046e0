"""The log of a training run: what mmengine writes to `scalars.json`, as series of numbers over iterations or epochs."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from mmmtl.evaluation.metric_files import direction
from mmmtl.io import read_text
from mmmtl.tasks.metric_keys import MetricKey

Series = dict[str, dict[int, float]]
"""{key: {step: value}}, steps ascending."""


def read_logs(folder: Path) -> Series:
    """Return the series in the logs of the last training run in a work folder, with all its starts.

    A resumed start replaces what earlier ones logged after the steps that it resumed from. Older logs do not say these;
    there, it replaces the steps that it repeats.

    Raises:
        ValueError: a line of a log is not a JSON object.
    """
    records: list[dict[str, Any]] = []
    for path in find_starts(folder, 'scalars.json'):
        training, validation = _resumed_steps(path)
        known = [one for one in records if one['step'] <= (training if 'iter' in one else validation)]
        records = [*known, *read_log(path)]
    series: Series = {}
    for record in records:
        # Those of a validation also have times, which are not those of training.
        ignored = {'step', 'iter', 'epoch', *(() if 'iter' in record else ('time', 'data_time'))}
        for key, value in record.items():
            if key not in ignored and _is_number(value) and math.isfinite(value):
                series.setdefault(key, {})[record['step']] = float(value)
    return {key: dict(sorted(values.items())) for key, values in series.items()}


def find_starts(folder: Path, name: str) -> list[Path]:
    """Return the files `TIME/vis_data/<name>` of a work folder in the order of their runs.

    TIME is local time, which goes back when summer time ends, so runs are sorted by `started` in the config beside the
    file. Older runs have no `started` and come first.
    """
    return sorted(folder.glob(f'*/vis_data/{name}'), key=lambda path: (_moment(path), path))


def _moment(path: Path) -> str:
    """Return when the run that wrote a file started, in UTC; '' if its config does not say."""
    return _setting(path, 'started').strip("'")


def _resumed_steps(path: Path) -> tuple[float, float]:
    """Return the steps of training and of validation after which the run that wrote a log resumed.

    Both are minus infinity if the run did not resume, and infinity if they are unknown, because no config lies beside
    the log or it does not say them.
    """
    if path.with_name('config.py').is_file() and _setting(path, 'resume') != 'True':
        return -math.inf, -math.inf
    training, validation = (_setting(path, name) for name in ('resumed_step', 'resumed_validation_step'))
    return float(training or math.inf), float(validation or math.inf)


def _setting(path: Path, name: str) -> str:
    """Return the text of a value at the top of the config beside a file, or ''."""
    config = path.with_name('config.py')
    found = re.search(rf'^{name} *= *(.+)$', read_text(config), re.MULTILINE) if config.is_file() else None
    return found[1].strip() if found else ''


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the records of a `scalars.json` with a step.

    A last line that a killed run left unfinished does not count. Records of training have `iter`, those of validation
    do not.
    """
    lines = read_text(path).splitlines()
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise ValueError(f'{path}: line {number} is not JSON ({error}); remove it') from None
        if not isinstance(record, dict):
            raise ValueError(f'{path}: line {number} is not a JSON object; remove it')
        if isinstance(record.get('step'), int):
            records.append(record)
    return records


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
