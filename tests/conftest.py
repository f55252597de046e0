"""What every test shares: one thread, no window, and no `gpu` test where there is no GPU."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault('MPLBACKEND', 'Agg')  # before anything imports matplotlib

import torch

torch.set_num_threads(1)  # more of them stall one another where cores are shared


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker('gpu'):
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))
