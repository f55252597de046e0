"""Search of contexts: its schedule, its file, and a resumed run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmmtl.engine import build_runner
from mmmtl.models.decode_heads.atrc import read_genotype

from .conftest import MakeConfig

TASKS = ('semseg', 'depth', 'normals')


def search_config(make_config: MakeConfig, work_dir: str, **options: Any) -> Config:
    cfg = make_config(
        'tiny_image',
        work_dir,
        **{
            'train_cfg.max_iters': 4,
            'default_hooks.checkpoint.interval': 2,
            'train_dataloader.dataset.num_videos': 1,
            # So that a pair can be decided in two steps.
            'optim_wrapper.optimizer.weight_decay': 1e-4,
            'optim_wrapper.paramwise_cfg': dict(custom_keys={'.alpha': dict(lr_mult=500.0, decay_mult=0.0)}),
            **options,
        },
    )
    cfg.model.decode_head = dict(type='ATRCSearchHead', in_channels=(8,), channels=4)
    return cfg


class Watch(Hook):
    """A hook that records the temperature and the weight of the entropy of each step."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float]] = []

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        head = runner.model.decode_head
        self.seen.append((head.choices['depth', 'depth'].temperature, head.entropy_weight_now))


def train(cfg: Config) -> tuple[Runner, list[tuple[float, float]]]:
    runner, watch = build_runner(cfg), Watch()
    runner.register_hook(watch)
    runner.train()
    return runner, watch.seen


@pytest.mark.slow
def test_a_resumed_search_is_the_same(make_config: MakeConfig, tmp_path: Path) -> None:
    whole, seen = train(search_config(make_config, 'whole'))
    checkpoint = str(tmp_path / 'whole' / 'iter_2.pth')
    resumed, later = train(search_config(make_config, 'resumed', resume=True, load_from=checkpoint))

    assert [value for step in seen for value in step] == pytest.approx(
        [1.0, -0.02, 0.7625, 0.0, 0.525, 0.02, 0.2875, 0.04], abs=1e-12
    )
    assert later == seen[2:]
    state = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, state[name]), name
    alphas = [value for name, value in state.items() if name.endswith('.alpha')]
    assert len(alphas) == 9 and all(value.any() for value in alphas)
    decided = [bool(value) for name, value in state.items() if name.endswith('.decided')]
    assert any(decided), 'the test is to see decided pairs'

    path = tmp_path / 'whole' / 'genotype.json'
    assert path.read_text() == (tmp_path / 'resumed' / 'genotype.json').read_text()
    found = whole.model.decode_head.genotype()
    assert json.loads(path.read_text()) == read_genotype(str(path), TASKS) == found
    assert [p.name for p in path.parent.iterdir() if 'genotype' in p.name] == ['genotype.json']

    fixed = make_config('tiny_image', 'fixed', **{'train_cfg.max_iters': 1})
    fixed.model.decode_head = dict(type='ATRCHead', in_channels=(8,), channels=4, contexts=str(path))
    build_runner(fixed).train()
    assert not (tmp_path / 'fixed' / 'genotype.json').exists()


def test_the_log_has_the_entropy(make_config: MakeConfig) -> None:
    runner, _ = train(search_config(make_config, 'log', **{'train_cfg.max_iters': 1}))
    scalars = runner.message_hub.log_scalars
    assert scalars['train/search.entropy'].current() == pytest.approx((3 * 1.386294 + 6 * 1.609438) / 9, rel=1e-4)
    assert scalars['train/search.open'].current() == 1
