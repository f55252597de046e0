"""Time and memory of steps with a known cost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from mmmtl.profiling.measure import describe_machine, peak_memory, step_seconds


def test_seconds_are_those_of_the_clock() -> None:
    ticks = iter([10.0, 12.5])
    ran = []
    assert step_seconds(lambda: ran.append(1), 'cpu', lambda: next(ticks)) == 2.5
    assert ran == [1]


def test_the_peak_is_what_a_step_held_at_once() -> None:
    # Much larger than what the process otherwise allocates meanwhile, so that the bounds can be wide.
    size = 512 << 20

    def step() -> None:
        for _ in range(2):  # one after the other: held once
            np.ones(size, dtype=np.uint8)

    assert 0.75 * size < peak_memory(step, 'cpu') < 1.5 * size
    assert peak_memory(lambda: None, 'cpu') < 0.25 * size


def test_the_machine_is_described() -> None:
    machine = describe_machine('cpu')
    assert machine['torch'] == torch.__version__
    assert machine['threads'] == torch.get_num_threads()
    assert not [key for key in machine if 'gpu' in key]


def test_the_machine_is_described_without_a_load(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 'load' in describe_machine('cpu')
    monkeypatch.delattr('os.getloadavg')  # Windows has none
    assert 'load' not in describe_machine('cpu')


@pytest.mark.gpu
def test_the_peak_on_a_gpu() -> None:
    sizes = itertools.cycle([64 << 20])
    assert peak_memory(lambda: torch.empty(next(sizes), dtype=torch.uint8, device='cuda'), 'cuda') == 64 << 20
