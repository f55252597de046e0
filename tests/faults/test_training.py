"""What happens to a training that is killed, stopped, starved or disturbed; docs/reliability.md has the table."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Training

pytestmark = pytest.mark.faults
WORKERS = {'train_dataloader.num_workers': 2, 'train_dataloader.persistent_workers': True}
GoesOn = Callable[..., None]


@pytest.mark.parametrize('options', [{}, WORKERS], ids=['alone', 'workers'])
def test_killed_in_training(training: Training, goes_on: GoesOn, options: dict[str, Any]) -> None:
    assert training.run(fault='train:5:SIGKILL', **options) == -signal.SIGKILL
    newest = training.newest()
    assert newest is not None and newest['meta']['iter'] == 4

    goes_on(training, **options)  # at once, with the workers of the killed run still there


def test_killed_at_an_operation_on_a_file(make_training: Callable[[str], Training], goes_on: GoesOn) -> None:
    """At every third one, until the run has no more."""
    for number in count(1, 3):
        training = make_training(str(number))
        if (status := training.run(fault=f'file:{number}:')) == 0:
            break
        assert status == -signal.SIGKILL, training.log
        training.newest()
        goes_on(training)
    assert number > 20


@pytest.mark.parametrize('iteration', [2, 6])
def test_killed_in_validation(training: Training, goes_on: GoesOn, iteration: int) -> None:
    assert training.run(fault=f'val:{iteration}:SIGKILL') == -signal.SIGKILL

    goes_on(training)
    assert 'does not contain the validation' in training.log


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT', 'SIGHUP'])
def test_asked_to_stop(training: Training, goes_on: GoesOn, name: str) -> None:
    assert training.run(fault=f'train:3:{name}') != 0

    goes_on(training)


def test_full_disk(training: Training, goes_on: GoesOn) -> None:
    assert training.run(fault='train:3:full') == 1
    assert 'iter_4.pth: not written (' in training.log
    newest = training.newest()
    assert newest is not None and newest['meta']['iter'] == 2
    assert not training.half_written

    goes_on(training)


def test_weights_that_are_not_finite(training: Training, goes_on: GoesOn) -> None:
    assert training.run(fault='train:4:nan') == 1
    assert 'weights are not finite' in training.log
    newest = training.newest()
    assert newest is not None and newest['meta']['iter'] == 2

    goes_on(training)


def test_dead_worker(training: Training, goes_on: GoesOn) -> None:
    assert training.run(fault='train:3:worker', **WORKERS) == 1
    assert 'DataLoader worker' in training.log

    goes_on(training)


def test_two_runs_in_one_folder(training: Training, goes_on: GoesOn) -> None:
    first = training.start(fault='train:3:sleep')
    for _ in range(600):
        if (training.work_dir / 'asleep').exists():
            break
        time.sleep(0.1)
    before = training.files

    assert training.run('--resume') == 1
    assert f'another run writes to this folder (process {first.pid} on ' in training.log
    assert training.files == before

    first.kill()
    first.wait()
    goes_on(training)
