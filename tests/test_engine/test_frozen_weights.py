"""Weights with `lr_mult=0`: no gradient, no change, and no place in the optimizer."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot  # noqa: F401  (what every runner imports, before the forks)
import mmseg.models  # noqa: F401
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmmtl.engine import build_runner
from mmmtl.engine.frozen_weights import frozen_weights
from mmmtl.engine.launch import set_launcher

# The scheduler raises all learning rates to its eta_min.
FROZEN: dict[str, Any] = {
    'optim_wrapper.paramwise_cfg': dict(custom_keys={'backbone.backbone': dict(lr_mult=0.0)}),
    'param_scheduler': [dict(type='PolyLR', power=0.9, eta_min=1e-3, by_epoch=False, begin=0, end=2)],
    'train_cfg.max_iters': 2,
    'default_hooks.checkpoint.interval': 1,
}


class Weights(Hook):
    """A hook that keeps a copy of the weights from before training."""

    def before_train(self, runner: Runner) -> None:
        self.before = {name: weight.detach().clone() for name, weight in runner.model.named_parameters()}


def check_run(cfg: Config) -> Runner:
    """Train, and compare what changes with what is frozen."""
    runner, weights = build_runner(cfg), Weights()
    runner.register_hook(weights)
    runner.train()
    changed = {name: not torch.equal(weight, weights.before[name]) for name, weight in runner.model.named_parameters()}
    assert all(changed[name] == ('backbone.backbone' not in name) for name in changed)
    assert changed == {name: weight.requires_grad for name, weight in runner.model.named_parameters()}
    return runner


def test_frozen_weights_have_no_gradient(make_config: Callable[..., Config]) -> None:
    runner = check_run(make_config('tiny_image', **FROZEN))
    stored = torch.load(f'{runner.work_dir}/iter_1.pth', weights_only=True)['optimizer']
    trained = [weight for weight in runner.model.parameters() if weight.requires_grad]
    assert 0 < len(stored['param_groups']) == len(stored['state']) == len(trained)
    end = {name: value.clone() for name, value in runner.model.state_dict().items()}
    again = build_runner(make_config('tiny_image', load_from=f'{runner.work_dir}/iter_1.pth', resume=True, **FROZEN))
    again.train()
    assert all(torch.equal(value, end[name]) for name, value in again.model.state_dict().items())


@pytest.mark.skipif(torch.cuda.is_available(), reason='mmengine joins processes that have GPUs')
def test_two_processes_do_not_wait_for_frozen_weights(
    make_config: Callable[..., Config], in_processes: Callable[..., list[Any]]
) -> None:
    def run(rank: int) -> bool:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
        torch.set_num_threads(1)
        cfg = make_config('tiny_image', **FROZEN)
        set_launcher(cfg, 'pytorch')
        return bool(check_run(cfg).model.find_unused_parameters)

    assert in_processes(run) == [False, False]


def test_the_longest_key_applies() -> None:
    model = nn.ModuleDict({'backbone': nn.ModuleDict({'stem': nn.Linear(1, 1), 'rest': nn.Linear(1, 1)})})
    keys = {'backbone': dict(lr_mult=0.0), 'backbone.stem': dict(lr_mult=0.1), 'bias': dict(decay_mult=0.0)}
    frozen = frozen_weights(model, dict(custom_keys=keys))
    assert [id(weight) for weight in frozen] == [id(weight) for weight in model['backbone']['rest'].parameters()]
    assert frozen_weights(model, None) == frozen_weights(model, dict(norm_decay_mult=0.0)) == []
