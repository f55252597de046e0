"""What the public codes do, held without them: values of schedules, initialisation, losses and protocols."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import PolyLR

CONFIGS = Path(__file__).parents[1] / 'configs'


def learning_rates(config: str, steps: int) -> Iterator[float]:
    """Yield the learning rate of every epoch or iteration of a schedule of one scheduler."""
    cfg = Config.fromfile(CONFIGS / config)
    (scheduler_cfg,) = cfg.param_scheduler
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=cfg.optim_wrapper.optimizer.lr)
    assert scheduler_cfg.pop('type') == 'PolyLR'
    scheduler = PolyLR(optimizer, **scheduler_cfg)
    for _ in range(steps):
        yield optimizer.param_groups[0]['lr']
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    ('config', 'start', 'steps'),
    [
        ('_base_/schedules/adam_100e.py', 1e-4, 100),  # MTI-Net, PAD-Net and SCA-MTL: by epoch
        ('_base_/schedules/sgd_40k.py', 1e-2, 40000),  # ATRC: by iteration
        ('atrc/atrc-search_hrnet18_1xb8-40k_nyuv2-480x640.py', 1e-4, 40000),
    ],
)
def test_polynomial_decay(config: str, start: float, steps: int) -> None:
    """lr = start * (1 - t / steps) ** 0.9, so that the last step still learns."""
    for t, found in enumerate(learning_rates(config, min(steps, 200))):
        assert found == pytest.approx(start * (1 - t / steps) ** 0.9, rel=1e-10)
