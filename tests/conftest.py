"""What every test shares: one thread, configs as they come, no window, and no `gpu` test where there is no GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault('MPLBACKEND', 'Agg')  # before anything imports matplotlib

import torch
import yapf.yapflib.yapf_api

torch.set_num_threads(1)  # more of them stall one another where cores are shared


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker('gpu'):
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))


@pytest.fixture(autouse=True, scope='session')
def _configs_as_they_come() -> Iterator[None]:
    """Runners print their config; beautifying it takes longer than the runs of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf.yapflib.yapf_api, 'FormatCode', lambda text, **_: (text, True))
        yield
